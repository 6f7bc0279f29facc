"""Made-up contests and score cards for the board's tests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from harness.board import Board, Kind, Recorded
from harness.contest import SPLITS, Contest, Dates, Rules
from harness.run import JSON, Run
from harness.scoring import METRICS, Score, ScoreCard

NOON = datetime(2023, 3, 20, 3, 0, tzinfo=UTC)  # 12:00 in Seoul
ROWS = 40


def contest(rules: Rules | None = None, dates: Dates | None = None, name: str = "ours") -> Contest:
    """A contest without tables: the board needs its name, rules and dates only."""
    return Contest(Path("nowhere"), name, rules=rules or Rules(), dates=dates or Dates())


def card(mean: float, signature: str = "first", seed: int = 0) -> ScoreCard:
    """A card whose every F1 is about ``mean``; the rows' noise is that of ``seed``."""
    noise = np.random.default_rng(seed).normal(0, 0.05, ROWS)
    rows = np.clip(mean + noise - noise.mean(), 0, 1)
    f1 = float(rows.mean())
    return ScoreCard(
        signature,
        tuple(Score(m, split, f1, f1, f1, f1 - 0.02, f1 + 0.02, rows) for split in SPLITS for m in METRICS),
    )


def record(
    board: Board,
    ours: Contest,
    team: str,
    mean: float,
    *,
    sha256: str = "",
    kind: Kind = "team",
    settings: dict[str, JSON] | None = None,
    now: datetime = NOON,
    signature: str = "first",
    seed: int = 0,
    message: str = "",
) -> Recorded:
    """Record a submission of ``team`` that scores about ``mean``."""
    return board.record(
        ours,
        team,
        kind=kind,
        sha256=sha256 or f"{team}{mean}{seed}",
        file_name="preds.csv",
        message=message,
        rows=ROWS,
        notices=(),
        card=card(mean, signature, seed),
        run=Run(settings or {}),
        now=now,
    )
