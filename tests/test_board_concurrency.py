"""Many processes at one board: the limit holds, nothing is lost, and a killed writer leaves it sound."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.board import Board, Recorded
from harness.contest import SPLITS, Contest, Rules
from harness.database import SCHEMA
from harness.errors import Refused
from harness.run import Run
from harness.scoring import METRICS, Score, ScoreCard

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = 8
LIMIT = 5

# Every worker begins with this: it says that it is ready, waits for the word, and works.
PRELUDE = """
import json, sys, time
from pathlib import Path
import alembic.command, numpy, filelock
import harness.board as board_module
from harness.board import Board
from tests_of_board import contest, hand_in
from harness.errors import HarnessError

def ready():
    print("ready", flush=True)
    sys.stdin.readline()

def say(**facts):
    print(json.dumps(facts), flush=True)
"""


def contest(limit: int | None = None) -> Contest:
    """A contest of which the board needs only the name and the limit."""
    return Contest(Path("nowhere"), "mini", rules=Rules(daily_limit=limit))


def hand_in(
    board: Board, contest: Contest, team: str, file: str, f1: float = 0.5, message: str = ""
) -> Recorded:
    """Record a submission whose file hashes to ``file``."""
    rows = np.full(250, f1)
    scores = tuple(Score(metric, split, f1, f1, f1, f1, f1, rows) for split in SPLITS for metric in METRICS)
    return board.record(
        contest, team, kind="team", sha256=file, file_name="preds.csv", message=message, rows=500, notices=(),
        card=ScoreCard("rouge:1", scores), run=Run(), now=datetime(2023, 3, 20, tzinfo=UTC),
    )  # fmt: skip


class Worker:
    """A process that runs ``script`` after the prelude, in ``folder``."""

    def __init__(self, folder: Path, script: str, number: int) -> None:
        # The workers use this file's own contest and hand_in.
        command = f"import importlib.util; number = {number}\n{LOADER.format(path=__file__)}{PRELUDE}{script}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", command],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def line(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return line

    def start(self) -> None:
        """Give it the word."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> list[dict[str, Any]]:
        """What it said until its end, which must be a good one."""
        output, errors = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, errors
        return [json.loads(line) for line in output.splitlines()]

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self.process.kill()
        self.process.communicate()


LOADER = """
import sys
spec = importlib.util.spec_from_file_location("tests_of_board", {path!r})
module = importlib.util.module_from_spec(spec)
sys.modules["tests_of_board"] = module
spec.loader.exec_module(module)
"""


@contextmanager
def workers(folder: Path, script: str, count: int = PROCESSES) -> Iterator[list[Worker]]:
    """``count`` processes that begin together; none outlives the test."""
    with ExitStack() as stack:
        team = [Worker(folder, script, number) for number in range(count)]
        for worker in team:
            stack.callback(worker.kill)
        for worker in team:
            assert worker.line() == "ready"
        for worker in team:
            worker.start()
        yield team


def all_said(team: list[Worker]) -> list[dict[str, Any]]:
    """What all workers said, one after the other."""
    return [facts for worker in team for facts in worker.finish()]


def integrity(path: Path) -> list[str]:
    """SQLite's own verdict on a file: its pages, and the rows that refer to others."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        return found + [f"dangling: {row}" for row in connection.execute("PRAGMA foreign_key_check")]


def test_the_limit_holds_across_processes(tmp_path: Path) -> None:
    """Eight processes hand in three files each for one team with a limit of five: exactly five pass."""
    script = f"""
with Board.open("leaderboard.db") as board:
    ready()
    for file in range(3):
        try:
            recorded = hand_in(board, contest({LIMIT}), "우리팀", f"{{number}}-{{file}}")
            say(id=recorded.submission_id, duplicate=recorded.duplicate)
        except HarnessError as error:
            say(refused=type(error).__name__, message=str(error))
"""
    Board.open(tmp_path / "leaderboard.db").close()
    with workers(tmp_path, script) as team:
        said = all_said(team)
    recorded = [facts["id"] for facts in said if "id" in facts]
    assert sorted(recorded) == list(range(1, LIMIT + 1))
    assert {facts["refused"] for facts in said if "refused" in facts} == {"Refused"}
    assert len(said) == 3 * PROCESSES
    with Board.open(tmp_path / "leaderboard.db") as board:
        assert [row.submission_id for row in board.submissions(contest())] == sorted(recorded, reverse=True)
        assert board.standings(contest())[0].entries == LIMIT
    assert integrity(tmp_path / "leaderboard.db") == ["ok"]


def test_nothing_is_lost(tmp_path: Path) -> None:
    """Eight teams at once, without a limit: every submission that was confirmed is there, none is refused."""
    script = """
ready()
for file in range(5):
    with Board.open("leaderboard.db") as board:
        say(id=hand_in(board, contest(), f"team {number}", f"{number}-{file}", file / 10).submission_id)
"""
    with workers(tmp_path, script) as team:
        said = all_said(team)
    assert sorted(facts["id"] for facts in said) == list(range(1, 5 * PROCESSES + 1))
    with Board.open(tmp_path / "leaderboard.db") as board:
        assert {item.entries for item in board.standings(contest())} == {5}
        assert len(board.standings(contest())) == PROCESSES


def test_one_file_from_many_processes(tmp_path: Path) -> None:
    """The same file handed in eight times at once is one submission, and seven learn its number."""
    script = """
with Board.open("leaderboard.db") as board:
    ready()
    recorded = hand_in(board, contest(1), "우리팀", "the same")
    say(id=recorded.submission_id, duplicate=recorded.duplicate)
"""
    Board.open(tmp_path / "leaderboard.db").close()
    with workers(tmp_path, script) as team:
        said = all_said(team)
    assert {facts["id"] for facts in said} == {1}
    assert Counter(facts["duplicate"] for facts in said) == {False: 1, True: PROCESSES - 1}


def test_many_make_one_board(tmp_path: Path) -> None:
    """Eight processes that open a board which is not there yet all get the same one."""
    script = """
ready()
with Board.open("leaderboard.db") as board:
    say(rows=len(board.submissions(contest())))
"""
    with workers(tmp_path, script) as team:
        assert all_said(team) == [{"rows": 0}] * PROCESSES
    with closing(sqlite3.connect(tmp_path / "leaderboard.db", isolation_level=None)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]


def test_readers_see_whole_submissions(tmp_path: Path) -> None:
    """While others write, a reader gets no error and never half a submission."""
    script = """
with Board.open("leaderboard.db") as board:
    ready()
    for file in range(15):
        hand_in(board, contest(), f"team {number}", f"{number}-{file}", file / 20)
"""
    with Board.open(tmp_path / "leaderboard.db") as board, workers(tmp_path, script, count=2) as team:
        seen = set()
        while any(worker.process.poll() is None for worker in team):
            for item in board.standings(contest()):
                assert set(item.scores) == set(METRICS)
                seen.add(item.submission_id)
        assert all_said(team) == []
        assert len(board.submissions(contest())) == 30
    assert seen


def test_threads_share_a_board(tmp_path: Path) -> None:
    """One Board serves many threads; the limit holds among them too."""
    outcomes: list[str] = []

    def work(number: int) -> None:
        try:
            hand_in(board, contest(LIMIT), "우리팀", f"file {number}")
            outcomes.append("recorded")
        except Refused:
            outcomes.append("refused")

    with Board.open(tmp_path / "leaderboard.db") as board:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(2 * LIMIT)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(outcomes) == {"recorded": LIMIT, "refused": LIMIT}


@pytest.mark.parametrize("spilled", [False, True], ids=["in memory", "partly written"])
def test_killed_while_recording(tmp_path: Path, spilled: bool) -> None:
    """A writer killed in the middle of its transaction leaves no trace of it, and no lock."""
    path = tmp_path / "leaderboard.db"
    with Board.open(path) as board:
        hand_in(board, contest(), "하나", "first")
    script = f"""
import sqlalchemy
board = Board.open("leaderboard.db")

@sqlalchemy.event.listens_for(board._database._engine, "connect")
def small_cache(connection, _):
    if {spilled}:
        connection.execute("PRAGMA cache_size = 2")  # pages: what is not yet committed goes to the file

def stop_here(*_):
    ready()

board_module._score_values = stop_here
hand_in(board, contest(), "둘", "second", message="x" * 100_000)
"""
    victim = Worker(tmp_path, script, 0)
    try:
        assert victim.line() == "ready"
    finally:
        victim.kill()
    if spilled and not list(tmp_path.glob("leaderboard.db-wal")):
        assert (tmp_path / "leaderboard.db-journal").stat().st_size > 0  # it was in the midst of writing
    with Board.open(path) as board:
        assert [row.team for row in board.submissions(contest())] == ["하나"]
        assert not hand_in(board, contest(), "둘", "second").duplicate
        assert [row.team for row in board.submissions(contest())] == ["둘", "하나"]
    assert integrity(path) == ["ok"]


def test_killed_while_making_the_board(tmp_path: Path) -> None:
    """A board whose making was cut off half-way is made by the next who opens it."""
    script = """
import alembic.op
alembic.op.create_index = lambda *_, **__: ready()
Board.open("leaderboard.db")
"""
    victim = Worker(tmp_path, script, 0)
    try:
        assert victim.line() == "ready"
    finally:
        victim.kill()
    with Board.open(tmp_path / "leaderboard.db") as board:
        hand_in(board, contest(), "우리팀", "first")
    assert integrity(tmp_path / "leaderboard.db") == ["ok"]
