"""Grids: four formats, and columns that line up with Hangul."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.tables import (
    Column,
    Grid,
    as_table,
    fitting,
    interval_text,
    render,
    score_text,
    signed_text,
    sparkline,
)

TEAMS = (
    "요약왕",
    unicodedata.normalize("NFD", "에이블 3조"),
    "team 7",
    "[/]",
    "=cmd|' /C calc'!A0",
    "가" * 70,
    "a|b*c",
)


def board(teams: Sequence[str] = TEAMS) -> Grid:
    """A board of made-up figures."""
    return Grid(
        columns=[
            Column("rank", "#", "right"),
            Column("team", "팀"),
            Column("f1", "R-1", "right", write=score_text),
            Column("interval", "95% interval", drop=1, write=interval_text, only="people"),
            Column("entries", "entries", "right", drop=2),
            Column("low", "low", only="programs"),
        ],
        rows=[
            {
                "rank": n,
                "team": team,
                "f1": 0.4312 - n / 100,
                "interval": (0.41, 0.45),
                "entries": n,
                "low": 0.41,
            }
            for n, team in enumerate(teams, start=1)
        ],
        title="한국어 요약",
        notes=["note"],
        facts={"contest": "mini"},
        rows_key="standings",
    )


def printed(grid: Grid, width: int) -> list[str]:
    """The lines a terminal of ``width`` cells shows."""
    console = Console(
        width=width, file=io.StringIO(), markup=False, highlight=False, emoji=False, color_system=None
    )
    console.print(as_table(grid, width))
    output: Any = console.file
    return [line for line in output.getvalue().splitlines() if line.strip()]


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_every_line_fits_the_terminal(width: int) -> None:
    """Whatever a team calls itself, no line is wider than the screen."""
    assert max(cell_len(line) for line in printed(board(), width)) <= width


def test_columns_line_up_with_hangul_composed_or_not() -> None:
    """The score's decimal points stand in one column of cells, under NFC, NFD and Latin names alike."""
    lines = [line for line in printed(board(TEAMS[:5]), 120) if " .4" in line or " .3" in line]
    assert len(lines) == 5
    assert len({cell_len(line[: line.index(" .")]) for line in lines}) == 1


def test_columns_are_dropped_by_priority_not_wrapped() -> None:
    """The least important go first; those without a priority never go."""
    everything = [column.key for column in fitting(board(TEAMS[:3]), 200)]
    assert everything == ["rank", "team", "f1", "interval", "entries"]
    assert [column.key for column in fitting(board(TEAMS[:3]), 35)] == ["rank", "team", "f1", "interval"]
    assert [column.key for column in fitting(board(TEAMS[:3]), 10)] == ["rank", "team", "f1"]


def test_a_pipe_keeps_every_column() -> None:
    """Without a width nothing is dropped."""
    assert len(fitting(board(), None)) == 5


def test_csv_neutralises_formulas_and_keeps_numbers() -> None:
    """Every row can be read back; a formula has become text."""
    rows = list(csv.DictReader(io.StringIO(render(board(), "csv"))))
    assert [row["team"] for row in rows][4] == "'=cmd|' /C calc'!A0"
    assert float(rows[0]["f1"]) == pytest.approx(0.4212)
    assert list(rows[0]) == ["rank", "team", "f1", "entries", "low"]


def test_json_has_the_facts_and_every_value() -> None:
    """JSON holds the rows whole, and what holds for all of them."""
    document = json.loads(render(board(), "json"))
    assert document["contest"] == "mini"
    assert document["standings"][1]["team"] == TEAMS[1]
    assert document["standings"][0]["interval"] == [0.41, 0.45]


def test_markdown_cannot_be_broken_out_of() -> None:
    """A bar or a star in a name stays in its cell."""
    lines = render(board(), "markdown").splitlines()
    row = next(line for line in lines if "a\\|b" in line)
    assert row.count(" | ") == 4
    assert "\\*c" in row


def test_an_empty_grid_says_so() -> None:
    """No table without rows, but a sentence."""
    assert any("Nothing here yet" in line for line in printed(Grid(columns=[], rows=[]), 80))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.43124, ".4312"), (1.0, "1.0000"), (0.0, ".0000"), (None, "-"), (0.99999, "1.0000")],
)
def test_scores_have_four_decimals(value: float | None, shown: str) -> None:
    """As in the field's papers, without the leading zero."""
    assert score_text(value) == shown


def test_differences_carry_their_sign() -> None:
    """Gains and losses are told apart at a glance."""
    assert signed_text(0.0059) == "+.0059"
    assert signed_text(-0.01) == "-.0100"
    assert signed_text(0.0) == "+.0000"


def test_intervals_have_three_decimals() -> None:
    """An interval down to 0 or up to 1 is readable too."""
    assert interval_text((0.4111, 0.4523)) == ".411 - .452"
    assert interval_text((0.0, 1.0)) == ".000 - 1.000"
    assert interval_text(None) == ""


def test_a_sparkline_shows_the_last_values_between_their_extremes() -> None:
    """Lowest, middle, highest."""
    assert sparkline([0.1, 0.2, 0.3]) == "▁▅█"
    assert sparkline([0.5]) == ""
    assert sparkline([0.5, 0.5]) == "▄▄"
    assert len(sparkline([float(n) for n in range(30)])) == 8
