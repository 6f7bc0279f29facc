"""Many at once, and death in the middle: real processes on one real file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from board_cases import NOON, contest, record

from harness.board import Board

PREAMBLE = """
import sys
from board_cases import NOON, contest, record
from harness.board import Board
from harness.contest import Rules
from harness.errors import Refused
path, number = sys.argv[1], int(sys.argv[2])
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run ``code`` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", "tests"])}
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Wait for all, and give what each printed; none may have failed."""
    results = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in results]


@pytest.mark.slow
def test_eight_processes_cannot_pass_a_limit_of_five(tmp_path: Path) -> None:
    """Of 24 submissions at once exactly 5 are recorded, 19 are refused, and none meets a locked database.

    The board itself is not there yet: all eight make it at the same time.
    """
    code = """
for attempt in range(3):
    with Board.open(path) as board:
        try:
            record(board, contest(Rules(daily_limit=5)), "우리팀", 0.4, sha256=f"{number}-{attempt}")
            print("recorded")
        except Refused:
            print("refused")
"""
    printed = " ".join(finish([start(code, tmp_path / "a.db", number) for number in range(8)])).split()
    assert (printed.count("recorded"), printed.count("refused")) == (5, 19)
    with Board.open(tmp_path / "a.db") as board:
        assert board.standings(contest())[0].entries == 5


@pytest.mark.slow
def test_many_teams_at_once_lose_nothing(tmp_path: Path) -> None:
    """6 processes x 10 submissions are 60 rows, while a reader looks on."""
    code = """
for attempt in range(10):
    with Board.open(path) as board:
        record(board, contest(), f"팀 {number}", 0.3 + attempt / 100, sha256=f"{number}-{attempt}")
        board.standings(contest())
"""
    finish([start(code, tmp_path / "a.db", number) for number in range(6)])
    with Board.open(tmp_path / "a.db") as board:
        assert [item.entries for item in board.standings(contest())] == [10] * 6


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_in_the_middle_leaves_a_sound_board(tmp_path: Path) -> None:
    """A process killed within its transaction leaves no trace, and does not block the next."""
    path = tmp_path / "a.db"
    with Board.open(path) as board:
        record(board, contest(), "가", 0.4)
    code = """
import time, harness.board
insert = harness.board._score_values
def slow(*arguments):
    print("inside", flush=True)
    time.sleep(60)
    return insert(*arguments)
harness.board._score_values = slow
with Board.open(path) as board:
    record(board, contest(), "나", 0.9)
"""
    process = start(code, path, 0)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "inside"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    began = time.monotonic()
    with Board.open(path) as board:
        assert [item.team for item in board.standings(contest())] == ["가"]
        record(board, contest(), "다", 0.5, now=NOON)
    assert time.monotonic() - began < 25, "the dead process still held the lock"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
