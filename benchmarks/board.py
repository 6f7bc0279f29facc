"""What the board costs: CPU time of a whole process, the median of interleaved runs.

    python benchmarks/board.py                               1,000 submissions of 100 teams
    python benchmarks/board.py --submissions 100000 --runs 3

Builds a board in a temporary folder and prints, for instance::

    python cli.py --help             54 ms
    python cli.py leaderboard       402 ms   the first time, with 99 comparisons: 655 ms

The naive peer is a script that reads the same table with pandas and sqlite3 and prints each team's best.
CPU time is user and system time of the child process, so it needs a Unix.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from harness.board import Board, name_key
from harness.database import score_table, submission_table, team_table
from harness.scoring import METRICS

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2023, 3, 20, tzinfo=UTC)
ROWS = 250  # of each split, as in the sample contest
SIGNATURE = "rouge:1|variants:1+2+L|tok:mecab-ko-0.996+dic-2.1.1|refs:one|mean:rows|hash:1f2e3d4c5b6a"

STANDINGS = """
from harness.board import Board
from harness.contest import Contest
with Board.open("leaderboard.db") as board:
    board.standings(Contest.load("contests/bench"))
"""

NAIVE = """
import sqlite3
import pandas
frame = pandas.read_sql(
    "SELECT team.name, kind, submission_id, submission.created_at, f1, low, high FROM score "
    "JOIN submission ON submission.id = submission_id JOIN team ON team.id = submission.team_id "
    "WHERE split = 'public' AND metric = 'mean'", sqlite3.connect("leaderboard.db"))
entries = frame.groupby("name").size().rename("entries")
best = frame.sort_values(["f1", "submission_id"], ascending=[False, True]).groupby("name").head(1)
print(best.join(entries, on="name").to_string(index=False))
"""


@dataclass(frozen=True)
class Case:
    """One command whose CPU time is measured."""

    title: str
    command: tuple[str, ...]


CASES = (
    Case("python -c pass", (sys.executable, "-c", "pass")),
    Case("python cli.py --help", (sys.executable, str(ROOT / "cli.py"), "--help")),
    Case("python cli.py leaderboard", (sys.executable, str(ROOT / "cli.py"), "leaderboard")),
    Case("Board.open and standings", (sys.executable, "-c", STANDINGS)),
    Case("naive peer: pandas and sqlite3", (sys.executable, "-c", NAIVE)),
)


def build(folder: Path, submissions: int, teams: int) -> None:
    """Make a contest folder and a board of ``submissions`` by ``teams`` teams in ``folder``."""
    contest = folder / "contests" / "bench"
    contest.mkdir(parents=True)
    (contest / "contest.toml").write_text('name = "bench"\n', encoding="utf-8")
    path = folder / "leaderboard.db"
    Board.open(path).close()
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    with engine.begin() as connection:
        connection.execute(sa.insert(team_table), [_team(number) for number in range(1, teams + 1)])
        for start in range(1, submissions + 1, 1_000):
            numbers = range(start, min(start + 1_000, submissions + 1))
            connection.execute(sa.insert(submission_table), [_submission(i, teams) for i in numbers])
            connection.execute(sa.insert(score_table), [row for i in numbers for row in _scores(i, teams)])
    engine.dispose()


def _team(number: int) -> dict[str, Any]:
    name = f"요약 {number}조"
    return {
        "id": number,
        "contest": "bench",
        "kind": "team",
        "name": name,
        "name_key": name_key(name),
        "created_at": _time(0),
    }


def _time(number: int) -> str:
    return (START + timedelta(minutes=number)).isoformat(timespec="microseconds")


def _submission(number: int, teams: int) -> dict[str, Any]:
    return {
        "id": number,
        "contest": "bench",
        "team_id": 1 + number % teams,
        "state": "scored",
        "sha256": f"{number:064x}",
        "file_name": "preds.csv",
        "message": "r=8, AdamW, CosineAnnealingWarmRestarts",
        "rows": 2 * ROWS,
        "created_at": _time(number),
        "day": _time(number)[:10],
        "problems": "[]",
        "notices": "[]",
        "hyperparameters": '{"lora": {"r": 8, "alpha": 32}, "learning_rate": 0.0002, "epochs": 3}',
        "run": '{"baseline": null, "seconds": 4102.5, "environment": {}, "data": {}, "notes": {}}',
    }


def _scores(number: int, teams: int) -> Iterator[dict[str, Any]]:
    generator = np.random.default_rng(number)
    level = 0.3 + 0.1 * generator.random()
    for split in ("public", "private"):
        for metric in METRICS:
            per_row = np.clip(generator.normal(level, 0.15, ROWS), 0, 1)
            f1 = float(per_row.mean())
            yield {
                "submission_id": number,
                "signature": SIGNATURE,
                "split": split,
                "metric": metric,
                "contest": "bench",
                "team_id": 1 + number % teams,
                "precision": f1,
                "recall": f1,
                "f1": f1,
                "low": f1 - 0.02,
                "high": f1 + 0.02,
                "created_at": _time(number),
                "per_row": per_row.astype("<f8").tobytes(),
            }


def cpu_milliseconds(case: Case, folder: Path) -> float:
    """User and system time of one run of ``case`` in ``folder``."""
    # Compiled modules are kept, as on a user's machine.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(case.command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description="What the board costs in CPU time.")
    parser.add_argument("--submissions", type=int, default=1_000)
    parser.add_argument("--teams", type=int, default=100)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, options.submissions, options.teams)
        size = (folder / "leaderboard.db").stat().st_size
        print(
            f"{options.submissions:,} submissions of {options.teams} teams ({size / 1e6:.0f} MB), "
            f"median of {options.runs} runs, CPU milliseconds"
        )
        # The first round compiles modules and makes the comparisons with the leader.
        first = {case.title: cpu_milliseconds(case, folder) for case in CASES}
        rounds = [{case.title: cpu_milliseconds(case, folder) for case in CASES} for _ in range(options.runs)]
        for case in CASES:
            middle = statistics.median(found[case.title] for found in rounds)
            print(f"  {case.title:<32}{middle:>6.0f}   (first time: {first[case.title]:.0f})")


if __name__ == "__main__":
    main()
