"""From summaries and references to a ScoreCard, with the signature that says how each figure was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contest import Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One metric on one split: corpus means, and the 95% interval of the mean F1.

    ``metric`` is ``rouge1``, ``rouge2``, ``rougeL`` or ``mean`` (the mean of the three, row by row).
    ``per_row`` holds the F1 of every row and is never shown for hidden references.
    """

    metric: str
    split: Split
    precision: float
    recall: float
    f1: float
    low: float
    high: float
    per_row: NDArray[np.float64]  # float64 [rows of the split], order of the answers


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCard:
    """All the scores of one submission. Only cards with equal signatures are ranked together."""

    signature: str
    scores: tuple[Score, ...]

    def get(self, metric: str, split: Split) -> Score:
        """The score of ``metric`` on ``split``; ``KeyError`` where the card has none."""
        for item in self.scores:
            if (item.metric, item.split) == (metric, split):
                return item
        raise KeyError((metric, split))
