"""The board, on real SQLite files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from board_cases import NOON, card, contest, record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.board import SCHEMA, Board, _has_safe_wal, metadata, name_key
from harness.contest import Dates, Rules
from harness.errors import HarnessError, Problem, Refused, ServiceUnavailable, UsageError
from harness.run import JSON, Run
from harness.scoring import ScoreCard

OURS = contest()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A new board in a file."""
    with Board.open(tmp_path / "leaderboard.db") as opened:
        yield opened


# --- opening ---


def test_the_migrations_make_the_tables_the_code_knows(tmp_path: Path) -> None:
    """Alembic finds no difference between the migrated database and the metadata."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Board.open(tmp_path / "a.db").close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == SCHEMA
        assert compare_metadata(context, metadata) == []


def test_a_board_up_to_date_is_read_without_alembic_numpy_or_pandas(tmp_path: Path) -> None:
    """The standings of an existing board load none of the slow packages."""
    with Board.open(tmp_path / "a.db") as opened:
        record(opened, OURS, "가", 0.4)
        record(opened, OURS, "나", 0.3)
        opened.standings(OURS)
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from harness.board import Board\nfrom harness.contest import Contest\n"
        f"with Board.open({str(tmp_path / 'a.db')!r}) as board:\n"
        "    assert len(board.standings(Contest(Path('x'), 'ours'))) == 2\n"
        "assert not {'alembic', 'pandas', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": "."})


@pytest.mark.parametrize("version", ["9999", "newer"])
def test_a_newer_schema_is_refused(tmp_path: Path, version: str) -> None:
    """A revision this program does not know is not touched."""
    path = tmp_path / "a.db"
    Board.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    connection.close()
    with pytest.raises(HarnessError, match="newer matbogi"):
        Board.open(path)


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        (lambda path: path.write_text("id,summary\n" * 200, encoding="utf-8"), "not an SQLite database"),
        (lambda path: path.mkdir(), "cannot be opened"),
        (lambda path: path.parent.rmdir(), "folder .* is missing"),
    ],
)
def test_what_is_no_board_is_told_plainly(tmp_path: Path, prepare: object, complaint: str) -> None:
    """A text file, a folder, a place that is not there."""
    path = tmp_path / "boards" / "a.db"
    path.parent.mkdir()
    prepare(path)  # type: ignore[operator]
    with pytest.raises(HarnessError, match=complaint):
        Board.open(path)


def test_a_locked_board_is_a_service_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holding SQLite's lock for too long gives exit code 6, not a traceback."""
    monkeypatch.setattr("harness.board.LOCK_SECONDS", 0.2)
    path = tmp_path / "a.db"
    Board.open(path).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ServiceUnavailable, match="locked"), Board.open(path) as opened:
            record(opened, OURS, "가", 0.4)
    finally:
        holder.close()


def test_wal_is_used_only_where_it_is_safe() -> None:
    """The WAL-reset fix is in 3.44.6, 3.50.7, 3.51.3 and later in their lines (sqlite.org's change log)."""
    assert [_has_safe_wal(version) for version in [(3, 44, 6), (3, 50, 7), (3, 51, 3), (3, 52, 0)]] == [
        True
    ] * 4
    assert [_has_safe_wal(version) for version in [(3, 44, 5), (3, 45, 9), (3, 50, 6), (3, 51, 2)]] == [
        False
    ] * 4


# --- recording ---


def test_everything_about_a_submission_comes_back(board: Board) -> None:
    """Scores to the last bit, message, file, notices, run card."""
    notice = Problem("N101", "decoded as CP949", hint="Save as UTF-8.")
    written = card(0.4123456789)
    run = Run({"r": 8}, baseline="lora", seconds=61.5, notes={"loss": [2.5, 1.25]})
    recorded = board.record(
        OURS, "우리팀", kind="team", sha256="ab", file_name="p.csv", message="첫 제출", rows=40,
        notices=(notice,), card=written, run=run, now=NOON,
    )  # fmt: skip
    detail = board.get(recorded.submission_id)
    assert (detail.team, detail.message, detail.file_name, detail.rows) == ("우리팀", "첫 제출", "p.csv", 40)
    assert detail.notices == (notice,)
    assert detail.created_at == "2023-03-20T03:00:00.000000+00:00"
    assert detail.hyperparameters == {"r": 8}
    assert detail.run["notes"] == {"loss": [2.5, 1.25]}
    assert len(detail.scores) == 8
    for found in detail.scores:
        expected = written.get(found.metric, found.split)
        assert (found.precision, found.recall, found.f1) == (expected.precision, expected.recall, expected.f1)
        rows = board.per_row(recorded.submission_id, "first", found.split, found.metric)
        assert rows.tobytes() == expected.per_row.tobytes()


SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(values=st.dictionaries(st.text(), SHAPES, max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hyperparameters_of_any_shape_survive(board: Board, values: dict[str, JSON]) -> None:
    """Nested, empty, huge, Korean, with lone surrogates: what goes in comes out."""
    number = record(board, OURS, "가", 0.4, sha256=repr(values), settings=values).submission_id
    assert board.get(number).hyperparameters == values


def test_a_very_long_value_survives(board: Board) -> None:
    """A megabyte of prompt is kept."""
    prompt = "다음 글을 요약하라. " * 100_000
    number = record(board, OURS, "가", 0.4, settings={"prompt": prompt}).submission_id
    assert board.get(number).hyperparameters == {"prompt": prompt}


def test_the_same_file_again_gives_the_first_receipt(board: Board) -> None:
    """Also after the day's limit is used up, and after the end."""
    ours = contest(Rules(daily_limit=1), Dates(closes=NOON + timedelta(hours=1)))
    first = record(board, ours, "가", 0.4, sha256="same")
    again = record(board, ours, "가", 0.4, sha256="same", now=NOON + timedelta(days=9), message="other")
    assert not first.duplicate
    assert again == first._replace(duplicate=True)
    assert board.quota(ours, "가", now=NOON).used == 1


def test_another_team_s_equal_file_is_its_own(board: Board) -> None:
    """Only the same team's file is a duplicate."""
    first = record(board, OURS, "가", 0.4, sha256="same")
    assert record(board, OURS, "나", 0.4, sha256="same").submission_id != first.submission_id


def test_the_same_file_under_a_new_signature_gets_new_scores_beside_the_old(board: Board) -> None:
    """Nothing is overwritten, and the boards do not mix."""
    number = record(board, OURS, "가", 0.4, sha256="same").submission_id
    record(board, OURS, "가", 0.5, sha256="same", signature="second", now=NOON + timedelta(hours=1))
    assert {item.signature for item in board.get(number).scores} == {"first", "second"}
    assert board.standings(OURS, "first")[0].scores["mean"].f1 == pytest.approx(0.4)
    assert board.standings(OURS)[0].scores["mean"].f1 == pytest.approx(0.5)


def test_submissions_under_another_signature_are_counted_not_ranked(board: Board) -> None:
    """The newest signature's board leaves the old ones out and says how many."""
    record(board, OURS, "가", 0.9)
    record(board, OURS, "나", 0.4, signature="second", now=NOON + timedelta(hours=1))
    assert [item.team for item in board.standings(OURS)] == ["나"]
    assert board.scored_otherwise(OURS, "second") == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_refused(board: Board, bad: float) -> None:
    """An entry without a score is never ranked first, since it is never there."""
    good = card(0.4)
    broken = ScoreCard("first", (replace(good.scores[0], f1=bad), *good.scores[1:]))
    with pytest.raises(HarnessError, match="finite"):
        board.record(
            OURS, "가", kind="team", sha256="x", file_name="p", message="", rows=1, notices=(),
            card=broken, run=Run(), now=NOON,
        )  # fmt: skip
    assert board.standings(OURS) == []


# --- the rules ---


def test_the_day_begins_at_midnight_in_the_contest_s_zone(board: Board) -> None:
    """23:59 and 00:00 in Seoul are two days, though one in UTC."""
    ours = contest(Rules(daily_limit=1))
    before = datetime(2023, 3, 20, 14, 59, tzinfo=UTC)
    record(board, ours, "가", 0.1, now=before)
    with pytest.raises(Refused, match=r"1 of 1 are used") as caught:
        record(board, ours, "가", 0.2, now=before + timedelta(seconds=59))
    assert "2023-03-21 00:00 KST (2023-03-20 15:00 UTC)" in caught.value.hint
    record(board, ours, "가", 0.3, now=before + timedelta(minutes=1))
    quota = board.quota(ours, "가", now=before)
    assert (quota.limit, quota.used, quota.left) == (1, 1, 0)
    assert quota.resets_at_utc == datetime(2023, 3, 20, 15, tzinfo=UTC)


def test_the_contest_opens_and_closes(board: Board) -> None:
    """Before, at the opening, and at the very moment of the end."""
    ours = contest(dates=Dates(opens=NOON, closes=NOON + timedelta(days=1)))
    with pytest.raises(Refused, match="opens at 2023-03-20 12:00 KST"):
        record(board, ours, "가", 0.4, now=NOON - timedelta(seconds=1))
    record(board, ours, "가", 0.4, now=NOON)
    with pytest.raises(Refused, match="closed at 2023-03-21 12:00 KST"):
        record(board, ours, "가", 0.5, now=NOON + timedelta(days=1))


def test_baselines_are_free_of_limits_and_dates(board: Board) -> None:
    """The organiser's floors are always there."""
    ours = contest(Rules(daily_limit=1), Dates(closes=NOON))
    for mean in (0.1, 0.2, 0.3):
        record(board, ours, "lead", mean, kind="baseline", now=NOON)


def test_the_rules_are_asked_before_scoring_and_change_nothing(board: Board) -> None:
    """check_rules refuses what record would, lets a known file through, and writes no team."""
    ours = contest(Rules(daily_limit=1))
    board.check_rules(ours, "가", kind="team", sha256="a", now=NOON)
    with pytest.raises(UsageError, match="no team"):
        board.submissions(ours, team="가")
    record(board, ours, "가", 0.4, sha256="a")
    board.check_rules(ours, "가", kind="team", sha256="a", now=NOON)
    with pytest.raises(Refused):
        board.check_rules(ours, "가", kind="team", sha256="b", now=NOON)


def test_refused_files_have_a_limit_of_their_own(board: Board) -> None:
    """They are kept with their faults, once each, and never eat a slot."""
    ours = contest(Rules(daily_limit=1, daily_invalid_limit=2))
    fault = Problem("E201", "doubled id", line=7, row=5, id="005", hint="Remove one.")

    def refuse(sha256: str) -> int:
        return board.record_invalid(
            ours, "가", kind="team", sha256=sha256, file_name="p.csv", message="", problems=(fault,),
            notices=(), run=Run(), now=NOON,
        ).submission_id  # fmt: skip

    first = refuse("a")
    assert refuse("a") == first
    refuse("b")
    with pytest.raises(Refused, match="2 faulty files"):
        refuse("c")
    assert board.get(first).problems == (fault,)
    assert board.get(first).scores == ()
    record(board, ours, "가", 0.4)
    assert [row.state for row in board.submissions(ours)] == ["scored", "invalid", "invalid"]


# --- standings ---


def test_each_team_stands_with_its_best_and_equals_with_the_earlier(board: Board) -> None:
    """Order: the figure, then the earlier submission. Baselines are shown without a rank."""
    record(board, OURS, "나", 0.40, sha256="1")
    record(board, OURS, "가", 0.40, sha256="2")
    record(board, OURS, "다", 0.30, sha256="3")
    record(board, OURS, "다", 0.50, sha256="4")
    record(board, OURS, "다", 0.45, sha256="5")
    record(board, OURS, "lead", 0.45, sha256="6", kind="baseline")
    found = [(item.rank, item.team, item.entries) for item in board.standings(OURS)]
    assert found == [(1, "다", 3), (None, "lead", 1), (2, "나", 1), (3, "가", 1)]
    assert board.standings(OURS)[0].progress == pytest.approx((0.30, 0.50, 0.45))
    ranked = board.standings(OURS, rank_baselines=True)
    assert [item.rank for item in ranked] == [1, 2, 3, 4]


def test_what_cannot_be_told_from_the_first_is_tied(board: Board) -> None:
    """.002 within noise is tied, .2 is not; the figures are kept for the next time."""
    record(board, OURS, "가", 0.500, seed=1)
    record(board, OURS, "나", 0.498, seed=2)
    record(board, OURS, "다", 0.300, seed=3)
    first, second, third = board.standings(OURS)
    assert first.versus_leader is None
    assert first.tied_with_leader
    assert second.tied_with_leader
    assert not third.tied_with_leader
    assert third.versus_leader is not None
    assert third.versus_leader.difference == pytest.approx(-0.2, abs=0.01)
    assert board.standings(OURS) == [first, second, third]


def test_where_chooses_by_hyperparameters(board: Board) -> None:
    """Numbers as numbers, dotted names, several conditions; each team's best among those that match."""
    record(board, OURS, "가", 0.5, settings={"r": 4, "lora": {"alpha": 32}})
    record(board, OURS, "가", 0.4, settings={"r": 8, "optimizer": "AdamW"})
    record(board, OURS, "나", 0.3, settings={"r": 8.0, "on": True})
    record(board, OURS, "다", 0.2, settings={"r": "8"})

    def teams(**where: JSON) -> list[tuple[str, float]]:
        found = board.standings(OURS, where={name.replace("__", "."): value for name, value in where.items()})
        return [(item.team, round(item.scores["mean"].f1, 6)) for item in found]

    assert teams(r=8) == [("가", 0.4), ("나", 0.3), ("다", 0.2)]
    assert teams(r=8, optimizer="AdamW") == [("가", 0.4)]
    assert teams(lora__alpha=32) == [("가", 0.5)]
    assert teams(on=True) == [("나", 0.3)]
    assert teams(on=1) == []
    assert teams(nothing=1) == []


def test_all_submissions_have_rows_of_their_own(board: Board) -> None:
    """Not only the best of each team."""
    for mean in (0.3, 0.5, 0.4):
        record(board, OURS, "가", mean)
    assert [round(item.scores["mean"].f1, 6) for item in board.standings(OURS, all_submissions=True)] == [
        0.5,
        0.4,
        0.3,
    ]


def test_contests_do_not_mix(board: Board) -> None:
    """One database, two boards."""
    other = contest(name="theirs")
    record(board, OURS, "가", 0.4)
    record(board, other, "가", 0.5)
    assert [round(item.scores["mean"].f1, 6) for item in board.standings(other)] == [0.5]


# --- names, history, frames ---


@pytest.mark.parametrize(
    "name",
    [
        unicodedata.normalize("NFD", "에이블 3조"),
        "에이블  3조",
        " 에이블 3조 ",
        "에이블\u200b 3조",
        "에이블\u00a03조",
        "에이블 ３조",
    ],
)
def test_a_team_is_one_team_however_it_is_typed(board: Board, name: str) -> None:
    """Decomposed, with other spaces, invisible characters or full-width digits."""
    record(board, OURS, "에이블 3조", 0.4)
    record(board, OURS, name, 0.5)
    assert [(item.team, item.entries) for item in board.standings(OURS)] == [("에이블 3조", 2)]


def test_case_does_not_make_two_teams_but_letters_do() -> None:
    """Casefolding as Unicode has it; different syllables stay different."""
    assert name_key("Straße") == name_key("STRASSE")
    assert name_key("가나") != name_key("나가")


def test_hostile_names_are_only_text(board: Board) -> None:
    """SQL, markup and paths are kept and found as they are."""
    for name in ("'; DROP TABLE team; --", "[bold]", "../../etc", "%s%n", "팀\\"):
        record(board, OURS, name, 0.4, message=name)
        assert board.submissions(OURS, team=name)[0].message == name


def test_an_unknown_team_or_submission_is_answered_with_what_there_is(board: Board) -> None:
    """The message helps."""
    with pytest.raises(UsageError, match="board is empty"):
        board.get(1)
    record(board, OURS, "가", 0.4)
    with pytest.raises(UsageError, match="There are: 가"):
        board.submissions(OURS, team="나")
    for number in (2, -1, 10**30):
        with pytest.raises(UsageError, match=r"The board has 1 to 1"):
            board.get(number)


def test_the_frame_has_a_row_a_submission_and_a_column_a_hyperparameter(board: Board) -> None:
    """Nested names have dots; a name that is taken gets a prefix; private figures only when asked for."""
    record(board, OURS, "가", 0.4, settings={"r": 8, "lora": {"alpha": 32}, "team": "x"})
    record(board, OURS, "나", 0.5, settings={"r": 4})
    frame = board.frame(OURS)
    assert list(frame["team"]) == ["가", "나"]
    assert list(frame["r"]) == [8, 4]
    assert frame["lora.alpha"][0] == 32
    assert frame["hyperparameters.team"][0] == "x"
    assert frame["public_rouge1_f1"][1] == pytest.approx(0.5)
    assert str(frame["time"].dt.tz) == "UTC"
    assert not [name for name in frame.columns if name.startswith("private")]
    assert "private_mean_f1" in board.frame(OURS, private=True).columns


def test_the_frame_of_an_empty_board_has_its_columns(board: Board) -> None:
    """A notebook's first cell does not fail."""
    frame = board.frame(OURS)
    assert len(frame) == 0
    assert "public_mean_f1" in frame.columns
