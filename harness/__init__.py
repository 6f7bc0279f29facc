"""matbogi's harness: contests, checking, scoring, the board.

::

    from harness import Contest, Board, check, score, submit

    contest = Contest.load("contests/mini")
    report = check("preds.csv", contest)              # every fault of the file at once
    with Board.open("leaderboard.db") as board:
        receipt = submit("preds.csv", contest, board, team="우리팀", message="r=8 AdamW")
        board.frame(contest)                          # a pandas DataFrame of all submissions

The names above are imported when they are first used: reading a contest needs neither numpy nor
SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from harness.board import Board as Board
    from harness.contest import Contest as Contest
    from harness.intake import submit as submit
    from harness.scoring import score as score
    from harness.submission import check as check

_HOMES = {
    "Board": "harness.board",
    "Contest": "harness.contest",
    "check": "harness.submission",
    "score": "harness.scoring",
    "submit": "harness.intake",
}

__all__ = ["Board", "Contest", "__version__", "check", "score", "submit"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(home), name)
