"""The one way in, from Python: check, score, archive, record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import write_predictions

from harness import Board, Contest, check, score, submit
from harness.contest import Answer, Rules, Split
from harness.errors import HarnessError, InvalidSubmission, Refused, UsageError
from harness.run import Run, card_path
from harness.scoring import METRICS, score_summaries
from harness.screens import receipt_facts, report_facts

NOW = datetime(2026, 3, 20, 3, tzinfo=UTC)


@pytest.fixture
def board(home: Path) -> Iterator[Board]:
    """The board of the home."""
    with Board.open(home / "leaderboard.db") as opened:
        yield opened


@pytest.fixture
def perfect(home: Path, answers: dict[str, str]) -> Path:
    """A file of perfect predictions."""
    return write_predictions(home / "preds.csv", answers)


def test_a_perfect_file_scores_one(perfect: Path, ours: Contest, board: Board) -> None:
    """Precision, recall and F1 of every metric on both splits, with an interval of no width."""
    receipt = submit(perfect, ours, board, team="우리팀", now=NOW)
    for split in ("public", "private"):
        for metric in METRICS:
            found = receipt.card.get(metric, split)
            assert (found.precision, found.recall, found.f1, found.low, found.high) == (1, 1, 1, 1, 1)
    assert (receipt.rank, receipt.teams, receipt.duplicate) == (1, 1, False)


def test_the_score_is_that_of_the_rows_by_hand(ours: Contest, answers: dict[str, str]) -> None:
    """Half of the public rows perfect, the others empty: recall, precision and F1 are the share of rows."""
    public = [answer.id for answer in ours.answers if answer.split == "public"]
    half = set(public[: len(public) // 2])
    card = score({name: text if name in half else "" for name, text in answers.items()}, ours)
    for metric in METRICS:
        found = card.get(metric, "public")
        assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)
        assert found.low < 0.5 < found.high


def test_the_board_s_score_is_the_score_at_home(perfect: Path, ours: Contest, board: Board) -> None:
    """score() and submit() give one figure with one signature."""
    receipt = submit(perfect, ours, board, team="가", now=NOW)
    card = score(perfect, ours)
    assert card.signature == receipt.card.signature
    assert card.get("mean", "public").f1 == receipt.card.get("mean", "public").f1


def test_other_references_make_another_signature(ours: Contest, answers: dict[str, str]) -> None:
    """One changed reference, one changed split, another preset: never ranked together."""
    original = list(ours.answers)
    first = original[0]
    other_split: Split = "private" if first.split == "public" else "public"
    versions = [
        original,
        [replace(first, references=("다른 요약",)), *original[1:]],
        [Answer(first.id, first.references, other_split), *original[1:]],
        [replace(first, references=(*first.references, "또 하나")), *original[1:]],
    ]
    signatures = {score_summaries(answers, version, ours.metric).signature for version in versions}
    signatures.add(score_summaries(answers, original, replace(ours.metric, preset="eojeol")).signature)
    assert len(signatures) == 5


def test_the_archive_holds_the_bytes_handed_in(perfect: Path, ours: Contest, board: Board) -> None:
    """Under the name of their hash, and nothing else."""
    content = perfect.read_bytes()
    receipt = submit(perfect, ours, board, team="가", now=NOW)
    assert [path.name for path in board.archive.iterdir()] == [f"{hashlib.sha256(content).hexdigest()}.csv"]
    assert (board.archive / f"{receipt.sha256}.csv").read_bytes() == content


def test_the_same_file_twice_is_one_submission(perfect: Path, ours: Contest, board: Board) -> None:
    """The second receipt is the first one's and says so, with the day's count unchanged."""
    limited = replace(ours, rules=Rules(daily_limit=3))
    first = submit(perfect, limited, board, team="가", now=NOW)
    again = submit(perfect, limited, board, team="가", now=NOW + timedelta(hours=1))
    assert (again.submission_id, again.created_at, again.duplicate) == (
        first.submission_id,
        first.created_at,
        True,
    )
    assert again.quota.left == first.quota.left == 2


def test_a_faulty_file_is_recorded_with_its_faults_and_costs_nothing(
    home: Path, ours: Contest, board: Board
) -> None:
    """No score, no slot, no archive; the history shows it."""
    limited = replace(ours, rules=Rules(daily_limit=1))
    path = write_predictions(home / "bad.csv", {"x": "요약"})
    with pytest.raises(InvalidSubmission) as caught:
        submit(path, limited, board, team="가", now=NOW)
    assert caught.value.problems
    (row,) = board.submissions(limited)
    assert (row.state, row.f1) == ("invalid", {})
    assert board.get(row.submission_id).problems == caught.value.problems
    assert board.quota(limited, "가", now=NOW).left == 1
    assert not board.archive.exists()


def test_a_gain_is_told_from_noise(home: Path, ours: Contest, board: Board, answers: dict[str, str]) -> None:
    """Against the team's best so far: one better row of many is noise, all of them are not."""
    poor = write_predictions(home / "a.csv", {name: text[:6] for name, text in answers.items()})
    first = submit(poor, ours, board, team="가", now=NOW)
    assert first.best_before is None
    public = next(answer.id for answer in ours.answers if answer.split == "public")
    slightly = {name: text if name == public else text[:6] for name, text in answers.items()}
    second = submit(write_predictions(home / "b.csv", slightly), ours, board, team="가", now=NOW)
    assert second.best_before is not None
    assert second.best_before.submission_id == first.submission_id
    assert second.best_before.comparison.difference > 0
    assert not second.best_before.comparison.told_apart
    third = submit(write_predictions(home / "c.csv", answers), ours, board, team="가", now=NOW)
    assert third.best_before is not None
    assert third.best_before.comparison.told_apart


def test_nothing_a_participant_is_given_holds_a_hidden_reference_or_a_row_s_score(
    home: Path, ours: Contest, board: Board, answers: dict[str, str]
) -> None:
    """Receipt, report and refusal are searched for every reference; the receipt has no private figure."""
    predictions = {name: text[:7] for name, text in answers.items()}
    receipt = submit(write_predictions(home / "p.csv", predictions), ours, board, team="가", now=NOW)
    broken = dict(list(predictions.items())[3:])
    with pytest.raises(InvalidSubmission) as caught:
        submit(write_predictions(home / "q.csv", broken), ours, board, team="가", now=NOW)
    report = check(home / "q.csv", ours)
    shown = json.dumps([receipt_facts(receipt, ours), report_facts(report)], ensure_ascii=False, default=str)
    shown += str(caught.value) + repr(caught.value.problems)
    assert not [text for text in answers.values() if text in shown]
    assert "private" not in json.dumps(receipt_facts(receipt, ours), default=str)
    assert "per_row" not in shown


def test_the_card_beside_the_file_is_stored(perfect: Path, ours: Contest, board: Board) -> None:
    """And joined by what -p and --params say."""
    Run({"r": 8}, baseline="lora", seconds=12.0).save(card_path(perfect))
    settings = perfect.with_name("more.yaml")
    settings.write_text("learning_rate: 2e-4\n", encoding="utf-8")
    receipt = submit(
        perfect, ours, board, team="가", parameters={"optimizer": "AdamW"}, parameter_files=[settings], now=NOW
    )
    detail = board.get(receipt.submission_id)
    assert detail.hyperparameters == {"r": 8, "learning_rate": 2e-4, "optimizer": "AdamW"}
    assert detail.run["baseline"] == "lora"


@pytest.mark.parametrize("where", ["message", "parameters", "card", "team"])
def test_a_secret_is_refused_before_anything_is_stored(
    perfect: Path, ours: Contest, board: Board, where: str
) -> None:
    """Wherever it hides, the board and the archive stay empty."""
    secret = "ghp_" + "aBcdefghijklmnopqrstuvwxyzABCDEF0123"
    Run({"token_of": secret} if where == "card" else {}).save(card_path(perfect))
    with pytest.raises(Refused, match="looks like a secret"):
        submit(
            perfect, ours, board, team=secret if where == "team" else "가",
            message=f"with {secret}" if where == "message" else "",
            parameters={"key": secret} if where == "parameters" else {}, now=NOW,
        )  # fmt: skip
    assert board.submissions(ours) == []
    assert not board.archive.exists()


def test_contradicting_settings_are_refused(perfect: Path, ours: Contest, board: Board) -> None:
    """The card says 8, the command line 4."""
    Run({"r": 8}).save(card_path(perfect))
    with pytest.raises(UsageError, match="r is 8 in the run card but 4 in -p"):
        submit(perfect, ours, board, team="가", parameters={"r": 4}, now=NOW)


@pytest.mark.parametrize("team", ["", "  ", "\u200b", "\x1b", "가" * 65])
def test_a_team_needs_a_name_that_can_be_shown(perfect: Path, ours: Contest, board: Board, team: str) -> None:
    """Nothing, white space, invisible characters, control characters, too long."""
    with pytest.raises(UsageError, match="name"):
        submit(perfect, ours, board, team=team, now=NOW)


def test_an_archive_that_cannot_be_written_records_nothing(perfect: Path, ours: Contest, board: Board) -> None:
    """A file stands where the folder should be: one message, no submission."""
    board.archive.write_text("", encoding="utf-8")
    with pytest.raises(HarnessError, match="could not be archived"):
        submit(perfect, ours, board, team="가", now=NOW)
    assert board.submissions(ours) == []


def test_a_team_s_copy_cannot_score(perfect: Path, ours: Contest, board: Board) -> None:
    """Without private/ the message says what to do instead."""
    (ours.root / "private" / "answers.csv").unlink()
    with pytest.raises(HarnessError, match="no answers here"):
        submit(perfect, Contest.load(ours.root), board, team="가", now=NOW)


def test_the_limit_is_asked_before_time_is_spent(
    perfect: Path, ours: Contest, board: Board, home: Path
) -> None:
    """A refused team's file is neither scored nor archived."""
    limited = replace(ours, rules=Rules(daily_limit=1))
    submit(perfect, limited, board, team="가", now=NOW)
    other = write_predictions(home / "other.csv", dict.fromkeys(ours.test_ids, "다른 요약이다"))
    with pytest.raises(Refused, match="No submissions are left today"):
        submit(other, limited, board, team="가", now=NOW)
    assert len(list(board.archive.iterdir())) == 1
