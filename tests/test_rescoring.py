"""Scoring again: new figures beside the old ones, nothing lost, boards never mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import write_predictions

from harness import Board, Contest, submit
from harness.rescoring import rescore
from harness.scoring import score

NOW = datetime(2026, 3, 20, 3, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def board(home: Path) -> Iterator[Board]:
    """A board with two teams."""
    with Board.open(home / "leaderboard.db") as opened:
        yield opened


@pytest.fixture
def files(home: Path, ours: Contest, board: Board, answers: dict[str, str]) -> list[Path]:
    """Two submissions, of teams 하나 and 둘, scored as the contest was first scored."""
    paths = [
        write_predictions(home / "a.csv", answers),
        write_predictions(home / "b.csv", {name: text[:8] for name, text in answers.items()}),
    ]
    for path, team in zip(paths, ("하나", "둘"), strict=True):
        submit(path, ours, board, team=team, now=NOW)
    return paths


@pytest.fixture
def changed(ours: Contest, files: list[Path]) -> Contest:
    """The contest, scored by syllables from now on."""
    return replace(ours, metric=replace(ours.metric, preset="syllable"))


def test_every_submission_gets_the_new_figures(changed: Contest, board: Board, files: list[Path]) -> None:
    """They are those of scoring the file now, and the board shows them all."""
    found = rescore(changed, board, now=LATER)
    assert (found.scored, found.left_out) == ((1, 2), ())
    assert board.current_signature(changed) == found.signature
    standings = board.standings(changed)
    assert [(item.team, item.scores["mean"].f1) for item in standings] == [
        ("하나", 1.0),
        ("둘", score(files[1], changed).get("mean", "public").f1),
    ]


def test_the_old_figures_stay(ours: Contest, changed: Contest, board: Board) -> None:
    """The board of the old signature is what it was."""
    old = board.current_signature(ours)
    before = board.standings(ours, old)
    rescore(changed, board, now=LATER)
    assert board.standings(ours, old) == before


def test_a_second_time_there_is_nothing_to_do(changed: Contest, board: Board) -> None:
    """What has been scored under a signature is not scored under it again."""
    rescore(changed, board, now=LATER)
    assert rescore(changed, board, now=LATER).scored == ()


def test_until_then_the_board_counts_what_is_missing(ours: Contest, changed: Contest, board: Board) -> None:
    """A third submission, scored anew, stands alone; the other two are counted as scored otherwise."""
    path = write_predictions(ours.root.parent / "c.csv", dict.fromkeys(ours.test_ids, "시장"))
    receipt = submit(path, changed, board, team="셋", now=LATER)
    assert [item.team for item in board.standings(changed)] == ["셋"]
    assert board.scored_otherwise(changed, receipt.card.signature) == 2
    rescore(changed, board, now=LATER)
    assert board.scored_otherwise(changed, receipt.card.signature) == 0


def test_a_missing_or_altered_file_is_left_out(changed: Contest, board: Board) -> None:
    """The others are scored, and each that is not is named with the reason."""
    archived = sorted(board.archive.glob("*.csv"))
    archived[0].unlink()
    archived[1].write_bytes(archived[1].read_bytes() + b"\n")
    found = rescore(changed, board, now=LATER)
    assert found.scored == ()
    assert {why.split("….csv ")[1].split(" in ")[0] for _, why in found.left_out} == {
        "has been altered",
        "is not",
    }


def test_a_file_that_fits_no_more_is_left_out(changed: Contest, board: Board, home: Path) -> None:
    """After test.csv has gained a row, old files lack it, and the reason says so."""
    table = changed.root / "test.csv"
    table.write_text(table.read_text(encoding="utf-8") + "new_row,새 문서이다.\n", encoding="utf-8")
    found = rescore(replace(Contest.load(changed.root), metric=changed.metric), board, now=LATER)
    assert [number for number, _ in found.left_out] == [1, 2]
    assert "new_row" in found.left_out[0][1]
