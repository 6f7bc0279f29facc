"""docs/submission-format.md keeps its word: every code stands in it, and every example does what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.errors import InvalidSubmission, Problem
from harness.submission import CODES, Predictions

PAGE = Path("docs/submission-format.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GOOD = next(block[1] for block in _BLOCK.findall(PAGE) if block[0] == "csv")
IDS = ("xAqIHdvEZG", "007", "Tb3mRk91Qw")


class Section(NamedTuple):
    """What the page says about one code."""

    title: str
    meaning: str
    blocks: list[tuple[str, str]]
    message: str
    fix: str


def _sections() -> Mapping[str, Section]:
    found = {}
    for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        code, _, title = heading.partition(" ")
        fix = re.search(r"^\*\*Fix\.\*\* (.*)$", body, re.MULTILINE)
        message = re.search(r"^> (.*)$", body, re.MULTILINE)
        found[code] = Section(
            title,
            body.strip().splitlines()[0],
            _BLOCK.findall(body),
            message[1] if message else "",
            fix[1].replace("`", "") if fix else "",
        )
    return found


SECTIONS = _sections()
SHOWN = [code for code, section in SECTIONS.items() if section.message]


def test_every_code_has_a_section_in_the_checker_s_order() -> None:
    """The page and ``CODES`` name the same codes, titles, meanings and fixes."""
    assert list(SECTIONS) == list(CODES)
    for code, section in SECTIONS.items():
        assert (section.title, section.meaning, section.fix) == (
            CODES[code].title,
            CODES[code].meaning,
            CODES[code].fix,
        )


def _example(kind: str, text: str) -> tuple[bytes, tuple[str, ...]]:
    if kind == "csv":
        return text.encode(), IDS
    names: dict[str, Any] = {"good": GOOD.encode()}
    exec(text, names)  # noqa: S102 - our own page
    return names["content"], tuple(names.get("ids", IDS))


def _found(path: Path, ids: tuple[str, ...]) -> tuple[Problem, ...]:
    try:
        return Predictions.read(path, ids).notices
    except InvalidSubmission as fault:
        return (*fault.problems, *fault.notices)


def _told(problem: Problem) -> str:
    if problem.row:
        return f"Row {problem.row} (line {problem.line}): {problem.message}"
    return f"Line {problem.line}: {problem.message}" if problem.line else problem.message


@pytest.mark.parametrize("code", SHOWN)
def test_an_example_has_the_fault_it_is_for(code: str, tmp_path: Path) -> None:
    """The checker finds the code in the example file, and says what the page says."""
    content, ids = _example(*SECTIONS[code].blocks[0])
    path = tmp_path / "preds.csv"
    path.write_bytes(content)
    found = {problem.code: problem for problem in reversed(_found(path, ids))}
    assert _told(found[code]) == SECTIONS[code].message
    if not code.startswith("E"):
        assert not any(problem.is_error for problem in found.values())


@pytest.mark.parametrize("code", [code for code in SHOWN if len(SECTIONS[code].blocks) == 2])
def test_the_mended_example_has_no_fault(code: str, tmp_path: Path) -> None:
    """What the page gives as the mended file is read without a word."""
    path = tmp_path / "preds.csv"
    path.write_bytes(SECTIONS[code].blocks[1][1].encode())
    assert _found(path, IDS) == ()


def test_only_faults_of_the_path_have_no_example_file(tmp_path: Path) -> None:
    """No such file, and a folder: the two that the page shows as commands."""
    assert set(CODES) - set(SHOWN) == {"E101", "E102"}
    assert [problem.code for problem in _found(tmp_path / "pred.csv", IDS)] == ["E101"]
    assert [problem.code for problem in _found(tmp_path, IDS)] == ["E102"]


def test_the_good_file_is_good(tmp_path: Path) -> None:
    """The page's first example is read without a word, and holds the three summaries."""
    path = tmp_path / "preds.csv"
    path.write_text(GOOD, encoding="utf-8")
    predictions = Predictions.read(path, IDS)
    assert predictions.notices == ()
    assert predictions.summaries["007"] == "물가, 금리, 환율이 함께 올랐다."
