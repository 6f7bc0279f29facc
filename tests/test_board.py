"""The board records by the contest's rules, ranks what is comparable, and gives back what it was given."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import astuple
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from harness import board as board_module
from harness import database as database_module
from harness.board import Board, Kind, Recorded, name_key
from harness.contest import SPLITS, Contest, Dates, Metric, Rules
from harness.database import SCHEMA, _has_safe_wal, metadata
from harness.errors import HarnessError, Problem, Refused, ServiceUnavailable, UsageError
from harness.run import JSON, Run
from harness.scoring import METRICS, Score, ScoreCard
from harness.significance import compare

ROOT = Path(__file__).resolve().parent.parent
NOON = datetime(2023, 3, 20, 3, 0, tzinfo=UTC)  # 12:00 in Seoul
SIGNATURE = "rouge:1|tok:one"


@pytest.fixture
def contest() -> Contest:
    """A contest without limits; the board reads nothing of its folder."""
    return Contest(Path("nowhere"), "mini")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """A new board in a file."""
    with Board.open(tmp_path / "leaderboard.db") as opened:
        yield opened


def limited(limit: int | None = 2, **dates: Any) -> Contest:
    """A contest with a daily limit, in Seoul unless told otherwise."""
    return Contest(Path("nowhere"), "mini", rules=Rules(daily_limit=limit), dates=Dates(**dates))


def make_card(
    f1: float, signature: str = SIGNATURE, *, public_only: bool = False, **others: float
) -> ScoreCard:
    """A card whose every row scores ``f1``, or what ``others`` say of a metric; private rows a tenth less."""
    scores = []
    for split in SPLITS[:1] if public_only else SPLITS:
        for metric in METRICS:
            value = others.get(metric, f1) - (0.1 if split == "private" else 0)
            rows = np.full(4, value)
            scores.append(
                Score(metric, split, value + 0.05, value - 0.05, value, value - 0.01, value + 0.01, rows)
            )
    return ScoreCard(signature, tuple(scores))


def sha256(content: str) -> str:
    """The hash of a file's content."""
    return hashlib.sha256(content.encode()).hexdigest()


_NEW_FILES = itertools.count()


def hand_in(
    board: Board,
    contest: Contest,
    team: str = "우리팀",
    f1: float = 0.4,
    *,
    file: str | None = None,
    kind: Kind = "team",
    card: ScoreCard | None = None,
    hyperparameters: Mapping[str, JSON] | None = None,
    message: str = "",
    now: datetime = NOON,
) -> Recorded:
    """Record a submission; its file is one of its own unless ``file`` names its content."""
    return board.record(
        contest,
        team,
        kind=kind,
        sha256=sha256(file if file is not None else f"a new file, number {next(_NEW_FILES)}"),
        file_name="preds.csv",
        message=message,
        rows=8,
        notices=(),
        card=card or make_card(f1),
        run=Run(hyperparameters=hyperparameters or {}),
        now=now,
    )


def hand_in_faulty(
    board: Board,
    contest: Contest,
    *,
    file: str = "faulty",
    problems: tuple[Problem, ...] = (),
    now: datetime = NOON,
) -> Recorded:
    """Record a refused file."""
    return board.record_invalid(
        contest, "우리팀", kind="team", sha256=sha256(file) if file else "", file_name="bad.csv", message="",
        problems=problems, notices=(), run=Run(), now=now,
    )  # fmt: skip


def row_counts(path: Path) -> dict[str, int]:
    """How many rows each table has, by SQLite itself."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in names
            if not name.startswith(("sqlite_", "alembic"))
        }


# --- opening --------------------------------------------------------------------------------------


class TestOpening:
    """A board is made where there is none, and what is no board is refused in plain words."""

    def test_reading_a_new_board(self, tmp_path: Path, contest: Contest) -> None:
        """A board that does not exist yet is made, and is empty."""
        path = tmp_path / "leaderboard.db"
        with Board.open(str(path)) as board:
            assert board.standings(contest) == []
            assert board.submissions(contest) == []
            assert board.current_signature(contest) is None
            assert board.archive == tmp_path / "submissions"
        assert path.is_file()

    def test_url_of_a_file(self, tmp_path: Path, contest: Contest) -> None:
        """An SQLAlchemy URL of an SQLite file means that file."""
        path = tmp_path / "한글 이름.db"
        with Board.open(f"sqlite:///{path}") as board:
            hand_in(board, contest)
        assert row_counts(path)["submission"] == 1

    def test_migrations_make_the_tables(self, board: Board, tmp_path: Path) -> None:
        """The schema that the migrations make is, statement by statement, that of the tables in board.py."""
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
        metadata.create_all(engine)
        engine.dispose()

        def schema(path: Path) -> set[tuple[str, str, str]]:
            query = "SELECT type, name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'"
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                return {
                    (kind, name, " ".join((sql or "").split())) for kind, name, sql in connection.execute(query)
                }

        assert schema(tmp_path / "leaderboard.db") == schema(tmp_path / "other.db")

    def test_schema_is_the_head(self) -> None:
        """``SCHEMA`` is the one head of the migrations."""
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(ROOT / "harness" / "migrations"))
        assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA]

    def test_heavy_modules_stay_out(self, tmp_path: Path, contest: Contest) -> None:
        """Showing an up-to-date board whose comparisons are known loads neither Alembic, numpy nor pandas."""
        with Board.open(tmp_path / "leaderboard.db") as board:
            hand_in(board, contest, "하나", 0.4)
            hand_in(board, contest, "둘", 0.3)
            board.standings(contest)
        script = (
            "import sys; from pathlib import Path\n"
            "from harness.board import Board; from harness.contest import Contest\n"
            "with Board.open('leaderboard.db') as board:\n"
            "    shown = board.standings(Contest(Path('nowhere'), 'mini'))\n"
            "assert [item.versus_leader is None for item in shown] == [True, False]\n"
            "print(*sorted({'alembic', 'numpy', 'pandas', 'filelock', 'mako'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == ""

    def test_newer_schema(self, tmp_path: Path) -> None:
        """A board of a newer program is refused, and left as it is."""
        path = tmp_path / "leaderboard.db"
        Board.open(path).close()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'board_9999'")
        before = path.read_bytes()
        with pytest.raises(HarnessError, match=r"newer matbogi.*'board_9999'"):
            Board.open(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "content", ["id,summary\n1,한\n".encode() * 100, b"SQLite format 3\0" + b"\xff" * 5000, b"xy"]
    )
    def test_other_file(self, tmp_path: Path, content: bytes) -> None:
        """A file that is no database is refused, and left as it is."""
        path = tmp_path / "preds.csv"
        path.write_bytes(content)
        with pytest.raises(HarnessError, match="not an SQLite database") as caught:
            Board.open(path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == content

    def test_database_of_another_program(self, tmp_path: Path) -> None:
        """A database that holds other tables is refused, and left as it is."""
        path = tmp_path / "bank.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE account (id INTEGER)")
        with pytest.raises(UsageError, match="account"):
            Board.open(path)
        assert row_counts(path) == {"account": 0}

    def test_damaged(self, tmp_path: Path, contest: Contest) -> None:
        """A board whose pages were overwritten is called damaged."""
        path = tmp_path / "leaderboard.db"
        with Board.open(path) as board:
            hand_in(board, contest)
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xa5" * (len(content) - 4096)
        path.write_bytes(content)
        with pytest.raises(HarnessError, match="damaged"), Board.open(path) as board:
            board.standings(contest)

    def test_folder(self, tmp_path: Path) -> None:
        """A folder is not a board, and a missing folder holds none."""
        with pytest.raises(HarnessError, match="is a folder"):
            Board.open(tmp_path)
        with pytest.raises(HarnessError, match=r"folder .*none is missing"):
            Board.open(tmp_path / "none" / "leaderboard.db")

    @pytest.mark.parametrize("url", ["nothing://here", "postgresql+nothing://u:geheim@h/d", "sqlite://", "://"])
    def test_unusable_url(self, url: str) -> None:
        """An address that SQLAlchemy cannot use is refused, and its password is not repeated."""
        with pytest.raises(UsageError) as caught:
            Board.open(url)
        assert "geheim" not in str(caught.value)

    def test_locked_by_another_program(
        self, tmp_path: Path, contest: Contest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A board that another program keeps locked is a service that does not answer."""
        monkeypatch.setattr(database_module, "LOCK_SECONDS", 0.2)
        path = tmp_path / "leaderboard.db"
        with Board.open(path) as board:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                with pytest.raises(ServiceUnavailable, match="locked"):
                    hand_in(board, contest)
            hand_in(board, contest)

    def test_busy_writers(self, board: Board, contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
        """A writer that does not get its turn gives up with a message; readers need no turn."""
        from filelock import FileLock

        hand_in(board, contest, "하나", 0.4)
        hand_in(board, contest, "둘", 0.3)
        monkeypatch.setattr(database_module, "LOCK_SECONDS", 0.2)
        with FileLock(f"{board._database.name}.lock"):
            with pytest.raises(ServiceUnavailable, match="busy"):
                hand_in(board, contest, "셋")
            assert [item.versus_leader is None for item in board.standings(contest)] == [True, False]

    def test_full_disk(self, board: Board, contest: Contest) -> None:
        """Where the file cannot grow, nothing is recorded, and the message says so."""

        @sa.event.listens_for(board._database._engine, "connect")
        def no_more_pages(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA max_page_count = 1")  # SQLite then stops at the present size

        def fill() -> None:
            for number in range(100):
                hand_in(board, contest, f"team {number}", message="x" * 2000)

        with pytest.raises(HarnessError, match="disk is full"):
            fill()
        counts = row_counts(Path(board._database.name))
        assert counts["submission"] == len(board.submissions(contest))
        assert counts["score"] == 8 * counts["submission"]

    @pytest.mark.parametrize(
        ("version", "safe"),
        [
            ((3, 40, 1), False), ((3, 44, 5), False), ((3, 44, 6), True), ((3, 45, 9), False),
            ((3, 50, 6), False), ((3, 50, 7), True), ((3, 51, 2), False), ((3, 51, 3), True),
            ((3, 52, 0), True), ((4, 0, 0), True),
        ],
    )  # fmt: skip
    def test_safe_wal(self, version: tuple[int, int, int], safe: bool) -> None:
        """A write-ahead log is used from 3.44.6, 3.50.7 and 3.51.3 on, in their lines: sqlite.org/wal.html."""
        assert _has_safe_wal(version) is safe

    @pytest.mark.parametrize("safe", [True, False])
    def test_journal(
        self, tmp_path: Path, contest: Contest, monkeypatch: pytest.MonkeyPatch, safe: bool
    ) -> None:
        """A new board has a write-ahead log where that is safe; elsewhere an old one loses it when opened."""
        monkeypatch.setattr(database_module, "_has_safe_wal", lambda version: safe)
        new, old = tmp_path / "new.db", tmp_path / "old.db"
        with closing(sqlite3.connect(old, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        for path in (new, old):
            with Board.open(path) as board:
                hand_in(board, contest)
            with closing(sqlite3.connect(path)) as connection:
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal" if safe else "delete",)

    @pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are another thing on Windows")
    def test_read_only(self, contest: Contest) -> None:
        """A read-only board can be read, comparisons included, but not written."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "leaderboard.db"
            with Board.open(path) as board:
                hand_in(board, contest, "하나", 0.4)
                hand_in(board, contest, "둘", 0.3)
            path.chmod(0o444)
            path.parent.chmod(0o555)
            is_root = os.geteuid() == 0
            if is_root:
                os.seteuid(65534)  # root may write everything
            try:
                with Board.open(path) as board:
                    assert [item.team for item in board.standings(contest)] == ["하나", "둘"]
                    assert board.standings(contest)[1].versus_leader is not None
                    with pytest.raises(HarnessError, match=r"cannot be written|read-only"):
                        hand_in(board, contest, "셋")
            finally:
                if is_root:
                    os.seteuid(0)
                path.parent.chmod(0o755)


# --- teams ----------------------------------------------------------------------------------------


class TestTeams:
    """Names that look alike are one team; what a name holds is text and nothing else."""

    @pytest.mark.parametrize(
        "other",
        [
            "에이블 3조",
            "  에이블   3조\t",
            "에이블\u30003조",  # ideographic space
            "에이블 ３조",  # full-width digit
            "에이\u200b블 3조",  # zero-width space
            "\ufeff에이블 3조",
            "에이블 3\u2060조\ufe0f",
            "\u3164에이블\u00a03조\uffa0",  # Hangul fillers, no-break space
        ],
    )
    def test_one_team(self, board: Board, contest: Contest, other: str) -> None:
        """However it is typed, the name is that of the first submission."""
        import unicodedata

        hand_in(board, contest, "에이블 3조", 0.3)
        for form in ("NFC", "NFD"):
            hand_in(board, contest, unicodedata.normalize(form, other), 0.4, file=form)
        (standing,) = board.standings(contest)
        assert (standing.team, standing.entries) == ("에이블 3조", 3)
        assert len(board.submissions(contest, team=other)) == 3

    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("Team", "tEAM", True),
            ("STRASSE", "straße", True),  # Unicode case folding
            ("ﬁnal", "FINAL", True),  # a ligature
            ("e\u200b\u0301", "\u00e9", True),  # what is taken out lets its neighbours compose
            ("에이블", "에이불", False),
            ("조 1", "조1", False),
            ("कु", "क", False),  # a vowel sign is no ornament
        ],
    )
    def test_name_key(self, first: str, second: str, same: bool) -> None:
        """Case, width and invisible characters make no other team; letters do."""
        assert (name_key(first) == name_key(second)) is same

    @given(st.text())
    def test_name_key_is_stable(self, name: str) -> None:
        """The key of a key is itself, so a name copied from the board finds its team."""
        assert name_key(name_key(name)) == name_key(name)

    @pytest.mark.parametrize("name", ["", "  ", "\u200b\u3164", "\ud800"])
    def test_invisible_name(self, board: Board, contest: Contest, name: str) -> None:
        """A name without a visible character is refused."""
        with pytest.raises(UsageError, match="no visible character"):
            hand_in(board, contest, name)

    @pytest.mark.parametrize(
        "name",
        [
            "'; DROP TABLE submission; --",
            '" OR 1=1 --',
            "%s {0} :name ?1 \\",
            "Robert'); DELETE FROM score;",
            "[/] [bold]",
            "x" * 10_000,
        ],
    )
    def test_hostile_name(self, board: Board, contest: Contest, name: str) -> None:
        """A name that means something to SQL survives as text."""
        hand_in(board, contest, "요약왕", 0.3)
        hand_in(board, contest, name, 0.4, message=name)
        assert [(item.team, item.message) for item in board.standings(contest)] == [
            (name, name),
            ("요약왕", ""),
        ]
        assert [row.team for row in board.submissions(contest, team=name)] == [name]

    def test_half_surrogates(self, board: Board, contest: Contest) -> None:
        """Half a surrogate pair and NUL, which no database takes, are replaced in what is shown."""
        hand_in(board, contest, "팀\ud800", message="a\0b\udfff")
        (standing,) = board.standings(contest)
        assert (standing.team, standing.message) == ("팀?", "ab?")

    def test_a_baseline_is_no_team(self, board: Board, contest: Contest) -> None:
        """A team may have the name of a baseline; they stay two."""
        hand_in(board, contest, "lead", 0.3, kind="baseline")
        hand_in(board, contest, "lead", 0.2)
        assert [(item.kind, item.rank) for item in board.standings(contest)] == [
            ("baseline", None),
            ("team", 1),
        ]

    def test_contests_stay_apart(self, board: Board, contest: Contest) -> None:
        """One file may hold several contests; their teams and scores do not meet."""
        other = Contest(Path("nowhere"), "other")
        hand_in(board, contest, "우리팀", 0.4, file="a")
        hand_in(board, other, "우리팀", 0.2, file="a")
        assert [item.scores["mean"].f1 for item in board.standings(contest)] == [0.4]
        assert [item.scores["mean"].f1 for item in board.standings(other)] == [0.2]

    def test_unknown_team(self, board: Board, contest: Contest) -> None:
        """Asking for a team that is not there names those that are."""
        hand_in(board, contest, "요약왕")
        with pytest.raises(UsageError, match="요약왕"):
            board.submissions(contest, team="요약왕국")


# --- rules ----------------------------------------------------------------------------------------


class TestRules:
    """The contest's limit, dates and days decide, in the transaction that records."""

    def test_daily_limit(self, board: Board) -> None:
        """The submission above the limit is refused, with the count and the moment of the reset."""
        contest = limited(2)
        hand_in(board, contest, f1=0.1)
        hand_in(board, contest, f1=0.2)
        for attempt in (
            lambda: hand_in(board, contest, f1=0.3),
            lambda: board.check_rules(contest, "우리팀", kind="team", sha256=sha256("new"), now=NOON),
        ):
            with pytest.raises(Refused) as caught:
                attempt()
            for words in ("2 of 2", "2023-03-21 00:00 KST", "2023-03-20 15:00 UTC", "Nothing was scored"):
                assert words in str(caught.value)
        assert len(board.submissions(contest)) == 2
        hand_in(board, contest, "다른팀")

    def test_quota(self, board: Board) -> None:
        """The quota counts scored files of the day, and knows when the next day begins."""
        contest = limited(2)
        assert board.quota(contest, "우리팀", now=NOON).left == 2
        hand_in(board, contest)
        hand_in_faulty(board, contest)
        quota = board.quota(contest, "우리팀", now=NOON)
        assert (quota.limit, quota.used, quota.left) == (2, 1, 1)
        assert quota.resets_at_utc == datetime(2023, 3, 20, 15, 0, tzinfo=UTC)
        assert quota.resets_at.strftime("%H:%M %Z") == "00:00 KST"
        assert board.quota(limited(None), "우리팀", now=NOON).left is None

    @pytest.mark.parametrize(
        ("zone", "last", "first"),
        [
            ("Asia/Seoul", "2023-03-20T14:59:59.999999+00:00", "2023-03-20T15:00:00+00:00"),
            ("UTC", "2023-03-20T23:59:59.999999+00:00", "2023-03-21T00:00:00+00:00"),
            # Summer time began in New York on 2023-03-12, at 02:00: that day had 23 hours.
            ("America/New_York", "2023-03-13T03:59:59.999999+00:00", "2023-03-13T04:00:00+00:00"),
        ],
    )
    def test_days_of_the_zone(self, board: Board, zone: str, last: str, first: str) -> None:
        """A day ends at midnight in the contest's zone, wherever the clock is read."""
        contest = limited(1, timezone=zone)
        last_moment, first_moment = datetime.fromisoformat(last), datetime.fromisoformat(first)
        hand_in(board, contest, f1=0.1, now=last_moment - timedelta(hours=1))
        assert board.quota(contest, "우리팀", now=last_moment).resets_at_utc == first_moment
        with pytest.raises(Refused):
            hand_in(board, contest, f1=0.2, now=last_moment)
        recorded = hand_in(board, contest, f1=0.2, now=first_moment.astimezone(timezone(timedelta(hours=-8))))
        assert datetime.fromisoformat(recorded.created_at) == first_moment
        assert recorded.created_at.endswith("+00:00")

    def test_dates(self, board: Board) -> None:
        """Nothing is recorded before the contest opens, nor from the moment it closes."""
        contest = limited(None, opens=NOON, closes=NOON + timedelta(days=1))
        with pytest.raises(Refused, match=r"opens at 2023-03-20 12:00 KST \(2023-03-20 03:00 UTC\)"):
            hand_in(board, contest, now=NOON - timedelta(microseconds=1))
        hand_in(board, contest, f1=0.1, now=NOON)
        hand_in(board, contest, f1=0.2, now=NOON + timedelta(days=1, microseconds=-1))
        with pytest.raises(Refused, match=r"closed at 2023-03-21 12:00 KST"):
            hand_in(board, contest, f1=0.3, now=NOON + timedelta(days=1))
        assert len(board.submissions(contest)) == 2

    def test_refused_team_leaves_no_trace(self, board: Board) -> None:
        """A team that was refused at once is not on the board."""
        with pytest.raises(Refused):
            hand_in(board, limited(1, closes=NOON), now=NOON)
        assert set(row_counts(Path(board._database.name)).values()) == {0}

    def test_baselines_are_free(self, board: Board) -> None:
        """Neither the limit nor the dates hold for baselines."""
        contest = limited(1, closes=NOON)
        for f1 in (0.1, 0.2, 0.3):
            hand_in(board, contest, "lead", f1, kind="baseline", now=NOON + timedelta(days=1))
        board.check_rules(contest, "lead", kind="baseline", sha256=sha256("new"), now=NOON)
        assert board.standings(contest)[0].entries == 3

    def test_same_file(self, board: Board) -> None:
        """The same file again is the first submission again and costs nothing, after limit and deadline too."""
        contest = limited(1, closes=NOON + timedelta(hours=1))
        first = hand_in(board, contest, file="a", f1=0.4)
        later = NOON + timedelta(days=3)
        board.check_rules(contest, "우리팀", kind="team", sha256=sha256("a"), now=later)
        again = hand_in(board, contest, file="a", f1=0.4, now=later, message="again")
        assert again == first._replace(duplicate=True)
        assert board.get(first.submission_id).message == ""
        counts = row_counts(Path(board._database.name))
        assert counts == {"team": 1, "submission": 1, "score": 8, "comparison": 0}

    def test_same_file_of_another_team(self, board: Board, contest: Contest) -> None:
        """What another team has handed in is news from this one."""
        first = hand_in(board, contest, "하나", file="a")
        second = hand_in(board, contest, "둘", file="a")
        assert not second.duplicate
        assert second.submission_id != first.submission_id

    def test_same_file_scored_otherwise(self, board: Board, contest: Contest) -> None:
        """Under a new signature the same file gets further scores, beside its first ones."""
        first = hand_in(board, contest, file="a", f1=0.4)
        hand_in(board, contest, file="a", card=make_card(0.5, "rouge:2"), now=NOON + timedelta(days=1))
        found = {(score.signature, score.split): score.f1 for score in board.get(first.submission_id).scores}
        assert found[SIGNATURE, "public"] == 0.4
        assert found["rouge:2", "public"] == 0.5
        assert row_counts(Path(board._database.name))["submission"] == 1

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", ["f1", "low", "per_row"])
    def test_non_finite(self, board: Board, contest: Contest, value: float, place: str) -> None:
        """A score that is not a finite number is refused, and nothing of its submission is kept."""
        figures = {"precision": 0.1, "recall": 0.1, "f1": 0.1, "low": 0.1, "high": 0.1}
        rows = np.array([0.1, value if place == "per_row" else 0.1])
        score = Score(
            "mean", "public", **{**figures, **({place: value} if place in figures else {})}, per_row=rows
        )
        with pytest.raises(HarnessError, match="not a finite number"):
            hand_in(board, contest, card=ScoreCard(SIGNATURE, (score,)))
        assert set(row_counts(Path(board._database.name)).values()) == {0}


class TestRefusedFiles:
    """Files with faults are recorded with them, and cost no submission."""

    def test_problems_survive(self, board: Board, contest: Contest) -> None:
        """Every fault comes back as it was."""
        problems = (
            Problem("E201", "doubled id", line=8, row=6, id="005", hint="Keep one."),
            Problem("E301", "빈 요약 \ud800 '\0'", id="x\udfff"),
        )
        recorded = hand_in_faulty(board, contest, problems=problems)
        detail = board.get(recorded.submission_id)
        assert (detail.state, detail.problems, detail.scores, detail.rows) == ("invalid", problems, (), 0)
        (row,) = board.submissions(contest)
        assert (row.state, row.f1) == ("invalid", {})
        assert board.standings(contest) == []

    def test_not_doubled(self, board: Board, contest: Contest) -> None:
        """The same refused file again is the first record again."""
        first = hand_in_faulty(board, contest)
        again = hand_in_faulty(board, contest, now=NOON + timedelta(hours=1))
        assert again == first._replace(duplicate=True)

    def test_unread_files_are_each_their_own(self, board: Board, contest: Contest) -> None:
        """Files that were refused before they could be hashed are not taken for one another."""
        assert hand_in_faulty(board, contest, file="") != hand_in_faulty(board, contest, file="")
        assert [row.state for row in board.submissions(contest)] == ["invalid", "invalid"]
        assert board.get(1).sha256 == ""

    def test_own_limit(self, board: Board) -> None:
        """Refused files have a limit of their own, which leaves the submissions alone."""
        contest = Contest(Path("nowhere"), "mini", rules=Rules(daily_limit=1, daily_invalid_limit=2))
        for name in "ab":
            hand_in_faulty(board, contest, file=name)
        with pytest.raises(Refused, match=r"2 faulty files[^|]*00:00 KST"):
            hand_in_faulty(board, contest, file="c")
        hand_in_faulty(board, contest, file="c", now=NOON + timedelta(days=1))
        hand_in(board, contest)

    def test_mended_later(self, board: Board, contest: Contest) -> None:
        """A file that was refused once may be scored later, when the checker or the contest was mended."""
        hand_in_faulty(board, contest, file="a")
        assert not hand_in(board, contest, file="a").duplicate


# --- standings ------------------------------------------------------------------------------------


class TestStandings:
    """The best of each team under one signature, in order; what cannot be compared is not ranked."""

    def test_order(self, board: Board, contest: Contest) -> None:
        """By the figure, then by time; each team with its best, its entries and its progress."""
        for team, f1 in [("가", 0.30), ("나", 0.35), ("가", 0.42), ("다", 0.42), ("나", 0.20), ("가", 0.41)]:
            hand_in(board, contest, team, f1)
        found = [(s.rank, s.team, s.submission_id, s.entries, s.progress) for s in board.standings(contest)]
        assert found == [
            (1, "가", 3, 3, (0.30, 0.42, 0.41)),
            (2, "다", 4, 1, (0.42,)),
            (3, "나", 2, 2, (0.35, 0.20)),
        ]

    def test_scores(self, board: Board, contest: Contest) -> None:
        """A row carries precision, recall, F1 and interval of every metric, exactly, for its split."""
        hand_in(board, contest, f1=1 / 3, card=make_card(1 / 3, rouge2=0.2))
        public, private = (board.standings(contest, split=split)[0].scores for split in SPLITS)
        assert set(public) == set(METRICS)
        assert public["rouge1"][3:] == (1 / 3 + 0.05, 1 / 3 - 0.05, 1 / 3, 1 / 3 - 0.01, 1 / 3 + 0.01)
        assert (public["rouge2"].f1, private["rouge2"].f1) == (0.2, 0.2 - 0.1)

    def test_metric(self, board: Board) -> None:
        """The board is ordered by the contest's metric, or by the one asked for, and so is each team's best."""
        contest = Contest(Path("nowhere"), "mini", metric=Metric(rank_by="rougeL"))
        hand_in(board, contest, "가", file="1", card=make_card(0.3, rougeL=0.5, rouge1=0.1))
        hand_in(board, contest, "가", file="2", card=make_card(0.3, rougeL=0.2, rouge1=0.6))
        hand_in(board, contest, "나", file="3", card=make_card(0.3, rougeL=0.4, rouge1=0.7))
        assert [(s.team, s.submission_id) for s in board.standings(contest)] == [("가", 1), ("나", 3)]
        by_rouge1 = board.standings(contest, metric="rouge1")
        assert [(s.team, s.submission_id) for s in by_rouge1] == [("나", 3), ("가", 2)]
        assert by_rouge1[1].progress == (0.1, 0.6)

    def test_private_picks_its_own_best(self, board: Board, contest: Contest) -> None:
        """The private board is ordered by private figures alone."""
        cards = [make_card(0.4), make_card(0.3)]
        swapped = [
            ScoreCard(SIGNATURE, (*one.scores[:4], *other.scores[4:]))
            for one, other in zip(cards, reversed(cards), strict=True)
        ]
        for number, card in enumerate(swapped):
            hand_in(board, contest, file=str(number), card=card)
        assert board.standings(contest)[0].submission_id == 1
        assert board.standings(contest, split="private")[0].submission_id == 2

    def test_signatures_do_not_mix(self, board: Board, contest: Contest) -> None:
        """Only scores of one signature are ranked; the newest one's unless another is asked for."""
        hand_in(board, contest, "가", 0.9)
        hand_in(board, contest, "나", card=make_card(0.2, "rouge:2"), now=NOON + timedelta(seconds=1))
        assert board.current_signature(contest) == "rouge:2"
        assert [s.team for s in board.standings(contest)] == ["나"]
        assert [s.team for s in board.standings(contest, SIGNATURE)] == ["가"]
        assert board.scored_otherwise(contest, "rouge:2") == 1
        assert board.standings(contest, "unheard of") == []

    def test_baselines(self, board: Board, contest: Contest) -> None:
        """Baselines stand where their figure puts them, and are ranked only if asked."""
        hand_in(board, contest, "lead", 0.35, kind="baseline")
        hand_in(board, contest, "textrank", 0.45, kind="baseline")
        hand_in(board, contest, "가", 0.4)
        hand_in(board, contest, "나", 0.3)
        shown = [(s.team, s.rank) for s in board.standings(contest)]
        assert shown == [("textrank", None), ("가", 1), ("lead", None), ("나", 2)]
        ranked = [(s.team, s.rank) for s in board.standings(contest, rank_baselines=True)]
        assert ranked == [("textrank", 1), ("가", 2), ("lead", 3), ("나", 4)]

    def test_only_baselines(self, board: Board, contest: Contest) -> None:
        """Without a team there is no leader, and nothing is compared."""
        hand_in(board, contest, "lead", 0.35, kind="baseline")
        assert [(s.rank, s.versus_leader) for s in board.standings(contest)] == [(None, None)]

    def test_all_submissions(self, board: Board, contest: Contest) -> None:
        """Every submission has a row of its own, if asked."""
        for f1 in (0.2, 0.4, 0.3):
            hand_in(board, contest, "가", f1)
        shown = board.standings(contest, all_submissions=True)
        assert [(s.rank, s.scores["mean"].f1, s.entries) for s in shown] == [
            (1, 0.4, 3),
            (2, 0.3, 3),
            (3, 0.2, 3),
        ]

    def test_progress_is_capped(self, board: Board, contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Progress covers the last submissions only; entries count them all."""
        monkeypatch.setattr(board_module, "PROGRESS_LENGTH", 3)
        for number in range(5):
            hand_in(board, contest, "가", number / 10)
        hand_in(board, contest, "나", 0.3)
        found = {s.team: (s.progress, s.entries) for s in board.standings(contest)}
        assert found == {"가": ((0.2, 0.3, 0.4), 5), "나": ((0.3,), 1)}

    def test_versus_leader(self, board: Board, contest: Contest) -> None:
        """Each row is compared with the first on the same rows, and the outcome is kept."""
        generator = np.random.default_rng(7)
        rows = {
            team: np.clip(generator.normal(level, 0.1, 60), 0, 1) for team, level in [("가", 0.5), ("나", 0.2)]
        }
        rows["다"] = rows["가"] - generator.normal(0.001, 0.01, 60)
        for team, values in rows.items():
            mean = float(values.mean())
            score = Score("mean", "public", mean, mean, mean, mean, mean, values)
            hand_in(board, contest, team, card=ScoreCard(SIGNATURE, (score,)))
        for _ in range(2):
            first, *others = board.standings(contest)
            assert first.versus_leader is None
            assert first.tied_with_leader
            for item in others:
                found, expected = item.versus_leader, compare(rows[first.team], rows[item.team])
                assert found is not None
                # A product of matrices sums in another order than a product with one column.
                assert astuple(found) == pytest.approx(astuple(expected), rel=1e-12)
            assert row_counts(Path(board._database.name))["comparison"] == 2
        assert {item.team: item.tied_with_leader for item in others} == {
            item.team: compare(rows[first.team], rows[item.team]).p_value >= 0.05 for item in others
        }
        assert not next(item for item in others if item.team == "나").tied_with_leader

    def test_many_comparisons(self, board: Board, contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Comparing in pieces gives what comparing at once gives."""
        for number in range(7):
            hand_in(board, contest, f"team {number}", number / 10)
        monkeypatch.setattr(board_module, "COMPARED_AT_ONCE", 2)
        first, *others = board.standings(contest)
        for item in others:
            expected = compare(np.full(4, first.scores["mean"].f1), np.full(4, item.scores["mean"].f1))
            assert item.versus_leader is not None
            assert astuple(item.versus_leader) == pytest.approx(astuple(expected), rel=1e-12)

    def test_more_than_one_question_holds(self, board: Board, contest: Contest) -> None:
        """A board with more rows than fit into one question to the database is whole."""
        for number in range(board_module._CHUNK + 5):
            hand_in(board, contest, "가", number / 1000, card=make_card(number / 1000, public_only=True))
        shown = board.standings(contest, all_submissions=True)
        assert [s.rank for s in shown] == list(range(1, board_module._CHUNK + 6))
        assert len(board.frame(contest)) == board_module._CHUNK + 5

    def test_per_row(self, board: Board, contest: Contest) -> None:
        """The figures of the rows come back to the last bit."""
        rows = np.random.default_rng(1).random(250)
        score = Score("mean", "private", 0.5, 0.5, 0.5, 0.4, 0.6, rows)
        recorded = hand_in(board, contest, card=ScoreCard(SIGNATURE, (score,)))
        found = board.per_row(recorded.submission_id, SIGNATURE, "private", "mean")
        assert found.tobytes() == rows.astype("<f8").tobytes()
        with pytest.raises(UsageError, match="no mean score on the public rows"):
            board.per_row(recorded.submission_id, SIGNATURE, "public", "mean")


class TestWhere:
    """``where`` keeps the submissions that were made so."""

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({"r": 8}, [4, 1]),
            ({"r": 8.0}, [1]),
            ({"r": "8"}, [4, 1]),
            ({"r": 4}, [2]),
            ({"lora.alpha": 32}, [4]),
            ({"lora": {"alpha": 32}}, [4]),
            ({"optimizer": "AdamW"}, [1]),
            ({"optimizer": "adamw"}, []),
            ({"r": 8, "optimizer": "AdamW"}, [1]),
            ({"fp16": True}, [2]),
            ({"fp16": 1}, []),
            ({"fp16": "true"}, [2]),
            ({"seed": None}, [4]),
            ({"targets": ["q_proj", "v_proj"]}, [2]),
            ({"lr": 2e-4}, [1]),
            ({"방법": "요약"}, [1]),
            ({"nothing": 1}, []),
        ],
    )
    def test_values(
        self, board: Board, contest: Contest, where: Mapping[str, JSON], expected: list[int]
    ) -> None:
        """Numbers compare as numbers, other values as they are written; nested names have dots."""
        made: list[dict[str, JSON]] = [
            {"r": 8, "optimizer": "AdamW", "lr": 0.0002, "방법": "요약"},
            {"r": 4, "fp16": True, "targets": ["q_proj", "v_proj"]},
            {"r": 16},
            {"r": "8", "lora": {"alpha": 32}, "seed": None},
        ]
        for number, hyperparameters in enumerate(made):
            hand_in(board, contest, "가나다라"[number], 0.1 + number / 10, hyperparameters=hyperparameters)
        assert [s.submission_id for s in board.standings(contest, where=where)] == expected

    def test_best_among_those(self, board: Board, contest: Contest) -> None:
        """A team stands with its best submission among those that were made so."""
        hand_in(board, contest, "가", 0.5, hyperparameters={"r": 4})
        hand_in(board, contest, "가", 0.3, hyperparameters={"r": 8})
        hand_in(board, contest, "가", 0.4, hyperparameters={"r": 8})
        hand_in(board, contest, "나", 0.45, hyperparameters={"r": 4})
        assert [(s.rank, s.submission_id) for s in board.standings(contest, where={"r": 8})] == [(1, 3)]
        every = board.standings(contest, where={"r": 8}, all_submissions=True)
        assert [s.submission_id for s in every] == [3, 2]


# --- history --------------------------------------------------------------------------------------


class TestHistory:
    """What was recorded comes back whole."""

    @pytest.mark.parametrize(
        "hyperparameters",
        [
            {},
            {"r": 8, "lora": {"targets": ["q_proj", {"deep": [1, [2, [3]]]}], "empty": {}, "none": None}},
            {"학습률": 2e-4, "모델": "한글 모델 🙂"},
            {"long": "가" * 100_000, "many": list(range(10_000))},
            {"big": 2**200, "negative": -(10**30), "tiny": 5e-324, "third": 1 / 3, "minus_zero": -0.0},
            {"half \ud800": "\udfff", "nul": "\0", "line": "\n\r\u2028"},
            {"true": True, "one": 1, "one.0": 1.0, "text": "1"},
        ],
    )
    def test_hyperparameters_survive(
        self, board: Board, contest: Contest, hyperparameters: dict[str, JSON]
    ) -> None:
        """Hyperparameters of any shape come back as they were, in value and in type."""
        recorded = hand_in(board, contest, hyperparameters=hyperparameters)
        for found in (board.get(recorded.submission_id), board.standings(contest)[0]):
            assert repr(dict(found.hyperparameters)) == repr(hyperparameters)

    def test_infinities_become_text(self, board: Board, contest: Contest) -> None:
        """NaN and infinities, which JSON has no place for, are kept as text."""
        recorded = hand_in(
            board, contest, hyperparameters={"max_norm": math.inf, "list": [math.nan, -math.inf]}
        )
        found = board.get(recorded.submission_id).hyperparameters
        assert found == {"max_norm": "inf", "list": ["nan", "-inf"]}

    @pytest.mark.parametrize("value", [object(), b"bytes", 10**5000], ids=["object", "bytes", "digits"])
    def test_what_cannot_be_kept(self, board: Board, contest: Contest, value: Any) -> None:
        """A value that JSON cannot hold is refused in words, and nothing is recorded."""
        with pytest.raises(UsageError, match=r"cannot be stored"):
            hand_in(board, contest, hyperparameters={"x": value})
        assert board.submissions(contest) == []

    def test_run_card_survives(self, board: Board, contest: Contest) -> None:
        """The rest of the card is kept too."""
        run = Run({"r": 8}, "lora", 4102.5, "1f2e3d4", {"python": "3.11"}, {"train.csv": "9c"}, {"loss": [1.5]})
        recorded = board.record(
            contest, "우리팀", kind="team", sha256=sha256("a"), file_name="제출 파일.csv", message="r=8\nAdamW",
            rows=8, notices=(Problem("N402", "NFD"),), card=make_card(0.4), run=run, now=NOON,
        )  # fmt: skip
        detail = board.get(recorded.submission_id)
        assert {**detail.run, "hyperparameters": detail.hyperparameters} == run.to_json()
        assert (detail.team, detail.file_name, detail.message) == ("우리팀", "제출 파일.csv", "r=8\nAdamW")
        assert (detail.contest, detail.kind, detail.state, detail.rows) == ("mini", "team", "scored", 8)
        assert detail.notices == (Problem("N402", "NFD"),)
        assert detail.created_at == "2023-03-20T03:00:00.000000+00:00"
        assert [(s.split, s.metric) for s in detail.scores] == [(s, m) for s in SPLITS for m in METRICS]

    def test_submissions(self, board: Board, contest: Contest) -> None:
        """The history is newest first, of all or one team, as long as asked, with the figures of a split."""
        for number, team in enumerate(["가", "나", "가"]):
            hand_in(board, contest, team, 0.2 + number / 10, now=NOON + timedelta(minutes=number))
        rows = board.submissions(contest)
        assert [(row.submission_id, row.team) for row in rows] == [(3, "가"), (2, "나"), (1, "가")]
        assert [row.f1["mean"] for row in rows] == [0.2 + 2 / 10, 0.2 + 1 / 10, 0.2]
        assert [row.submission_id for row in board.submissions(contest, team="가", limit=1)] == [3]
        assert board.submissions(contest, limit=1, split="private")[0].f1["mean"] == 0.4 - 0.1

    @pytest.mark.parametrize("number", [0, 3, -1, 2**63, -(2**80)])
    def test_unknown_submission(self, board: Board, contest: Contest, number: int) -> None:
        """A number that is not there is answered with those that are."""
        with pytest.raises(UsageError, match="The board is empty"):
            board.get(number)
        hand_in(board, contest, f1=0.1)
        hand_in(board, contest, f1=0.2)
        with pytest.raises(UsageError, match=r"The board has 1 to 2"):
            board.get(number)

    def test_numbers_are_not_used_twice(self, board: Board, contest: Contest) -> None:
        """A number once shown names one submission for ever, even where a row was cut out by hand."""
        hand_in(board, contest, f1=0.1)
        with closing(sqlite3.connect(board._database.name, isolation_level=None)) as connection:
            connection.execute("DELETE FROM score")
            connection.execute("DELETE FROM submission")
        assert hand_in(board, contest, f1=0.2).submission_id == 2


class TestFrame:
    """A DataFrame for notebooks."""

    def test_columns(self, board: Board, contest: Contest) -> None:
        """One row a scored submission; times are times, scores numbers, hyperparameters columns."""
        hand_in(board, contest, "가", 0.4, hyperparameters={"r": 8, "lora": {"alpha": 32}})
        hand_in(board, contest, "lead", 0.3, kind="baseline", hyperparameters={"sentences": 1})
        hand_in_faulty(board, contest)
        frame = board.frame(contest)
        assert frame["id"].tolist() == [1, 2]
        assert frame["kind"].tolist() == ["team", "baseline"]
        assert str(frame["time"].dt.tz) == "UTC"
        assert frame["time"].tolist() == [NOON, NOON]
        assert frame["public_rouge1_f1"].tolist() == [0.4, 0.3]
        assert frame["public_mean_precision"].dtype == np.float64
        assert [frame["r"][0], frame["lora.alpha"][0]] == [8, 32]
        assert frame["sentences"].isna().tolist() == [True, False]

    def test_private_is_asked_for(self, board: Board, contest: Contest) -> None:
        """Private figures are there only if asked for, and those of the rows never."""
        hand_in(board, contest)
        assert not [name for name in board.frame(contest).columns if "private" in name or "row" in name]
        assert board.frame(contest, private=True)["private_rougeL_f1"].tolist() == [0.4 - 0.1]

    def test_colliding_names(self, board: Board, contest: Contest) -> None:
        """A hyperparameter named like another column keeps its value under a longer name."""
        values: dict[str, JSON] = {"team": "x", "hyperparameters": {"team": "y"}, "public_mean_f1": 1, "r": 8}
        hand_in(board, contest, hyperparameters=values)
        frame = board.frame(contest)
        assert frame.columns.is_unique
        row = frame.iloc[0]
        assert (row["team"], row["r"], row["hyperparameters.public_mean_f1"]) == ("우리팀", 8, 1)
        assert {row["hyperparameters.team"], row["hyperparameters.hyperparameters.team"]} == {"x", "y"}

    def test_odd_values(self, board: Board, contest: Contest) -> None:
        """Lists, tables without entries, half surrogates and very large numbers do not stop it."""
        values: dict[str, JSON] = {"list": [1, 2], "empty": {}, "big": 2**200, "half \ud800": "\udfff"}
        hand_in(board, contest, hyperparameters=values)
        hand_in(board, contest, f1=0.1, hyperparameters={"list": "text", "big": 1})
        frame = board.frame(contest)
        assert frame["list"].tolist() == [[1, 2], "text"]
        assert frame["big"].tolist() == [2**200, 1]

    def test_empty(self, board: Board, contest: Contest) -> None:
        """An empty board is a frame without rows, with its columns."""
        frame = board.frame(contest)
        assert len(frame) == 0
        assert {"id", "team", "time", "public_rouge2_recall"} <= set(frame.columns)
