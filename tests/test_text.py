"""Text from outside cannot reach a terminal or a spreadsheet as anything but text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.text import safe, without_formula


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_steers_a_terminal_survives(text: str) -> None:
    """No control, line-breaking, bidi or surrogate character is left, and UTF-8 can write the rest."""
    shown = safe(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff\u200b")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m빨강\x1b[0m", "[31m빨강[0m"),
        ("\x1b]52;c;aGk=\x07팀", "]52;c;aGk=팀"),
        ("[/]", "[/]"),
        ("[bold]팀[/bold]", "[bold]팀[/bold]"),
        ("\u202e팀\u202c", "팀"),
        ("우리\u200b팀", "우리팀"),
        ("하나\n둘\r\n셋\t넷", "하나 둘 셋 넷"),
        ("\ud800x", "x"),
        (unicodedata.normalize("NFD", "한글"), "한글"),
        ("👩\u200d🔬 팀", "👩\u200d🔬 팀"),
        ("   ", ""),
    ],
)
def test_hostile_names_are_shown_plainly(text: str, shown: str) -> None:
    """Escape sequences lose their escape; markup, emoji and Hangul stay as they were typed."""
    assert safe(text) == shown


def test_long_text_is_cut_to_its_width() -> None:
    """The cut is marked, and the mark counts."""
    assert safe("가나다라마", 4) == "가나다…"
    assert safe("가나다라", 4) == "가나다라"


@pytest.mark.parametrize("text", ["=1+1", "+82", "-3", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_become_text(text: str) -> None:
    """A spreadsheet shows what was typed instead of calculating it."""
    assert without_formula(text) == f"'{text}"


def test_ordinary_text_is_left_alone() -> None:
    """Nothing is quoted without need."""
    assert without_formula("에이블 3조") == "에이블 3조"
    assert without_formula("") == ""
