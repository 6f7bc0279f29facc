"""From summaries and references to a ScoreCard, with the signature that says how each figure was made."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.contest import SPLITS, VARIANTS, Answer, Contest, Metric, Split, hash_answers
from harness.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.submission import Predictions
    from harness.tokenizers import Tokenizer

KEPT_TOKENS = "tokens.sqlite3"
"""The file beside the answers that keeps tokens; it may be deleted at any time."""

MEAN = "mean"
METRICS: tuple[str, ...] = (MEAN, *VARIANTS)
METRIC_TITLES: Mapping[str, str] = {MEAN: "mean", "rouge1": "R-1", "rouge2": "R-2", "rougeL": "R-L"}

VERSION = 1
"""Raised whenever a change makes any figure differ; it is part of every signature."""


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

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits that were scored, in order."""
        return tuple(split for split in SPLITS if any(item.split == split for item in self.scores))


def score(predictions: str | Path | Predictions | Mapping[str, str], contest: Contest) -> ScoreCard:
    """Score a file, or summaries already read, against the contest's answers. Records nothing.

    Raises:
        InvalidSubmission: the file has faults; all are listed.
        ContestError: the folder holds no answers.
    """
    from harness.submission import Predictions

    if isinstance(predictions, str | Path):
        predictions = Predictions.read(predictions, contest.test_ids, contest.columns)
    summaries = predictions.summaries if isinstance(predictions, Predictions) else predictions
    return score_summaries(
        summaries, contest.answers, contest.metric, token_cache=contest.root / "private" / KEPT_TOKENS
    )


def score_summaries(
    summaries: Mapping[str, str],
    answers: Sequence[Answer],
    metric: Metric,
    progress: Callable[[int], object] | None = None,
    token_cache: Path | None = None,
) -> ScoreCard:
    """Score ``summaries`` (id to text) against ``answers``: every variant and their mean, split by split.

    A row's figures are those of ``rouge``; with several references they are combined as ``metric`` says.
    Corpus figures are means over rows by ``math.fsum``. The interval of F1 is a percentile bootstrap.
    ``progress`` is called now and then with the number of pairs (summary and reference) done. In the file
    ``token_cache`` the tokens of a slow preset are kept for the next time.

    Raises:
        UsageError: there is nothing to score, or an answer's id has no summary.
    """
    import numpy as np

    from harness.rouge import rouge_multiple
    from harness.significance import intervals

    missing = [answer.id for answer in answers if answer.id not in summaries]
    if missing or not answers:
        raise UsageError(
            f"{len(missing)} of {len(answers)} rows have no summary, so there is nothing to score."
        )
    rows = rouge_multiple(
        [summaries[answer.id] for answer in answers],
        [answer.references for answer in answers],
        tokenizer=_tokenizer(metric.preset, token_cache),
        combine=metric.multiple_references,
        progress=progress,
    )
    figures: dict[str, NDArray[np.float64]] = {
        name: np.stack([rows[name].precision, rows[name].recall, rows[name].f1]) for name in VARIANTS
    }  # each float64 [3, rows]
    figures[MEAN] = np.mean([figures[name] for name in VARIANTS], axis=0)
    scores: list[Score] = []
    for split in SPLITS:
        chosen = np.array([answer.split == split for answer in answers])
        if not chosen.any():
            continue
        f1 = np.stack([figures[name][2, chosen] for name in METRICS], axis=1)  # [rows, metrics]
        for name, (low, high) in zip(METRICS, intervals(f1), strict=True):
            precision, recall, mean = (_mean(values) for values in figures[name][:, chosen])
            scores.append(Score(name, split, precision, recall, mean, low, high, figures[name][2, chosen]))
    return ScoreCard(signature(answers, metric), tuple(scores))


def _tokenizer(preset: str, token_cache: Path | None) -> Tokenizer:
    from harness.token_cache import CachedTokenizer
    from harness.tokenizers import TOKENIZERS, load_tokenizer

    tokenizer = load_tokenizer(preset)
    if token_cache is None or preset not in TOKENIZERS or not TOKENIZERS[preset].slow:
        return tokenizer
    return CachedTokenizer(tokenizer, token_cache)


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values) / len(values)


def signature(answers: Sequence[Answer], metric: Metric) -> str:
    """How the figures are made, in one line; equal signatures make equal figures.

    ``rouge:1|variants:1+2+L|tok:…|refs:mean|mean:rows|hash:1f2e3d4c5b6a``; docs/scoring.md explains
    each part.
    """
    from harness.tokenizers import load_tokenizer

    several = any(len(answer.references) > 1 for answer in answers)
    parts = {
        "rouge": str(VERSION),
        "variants": "+".join(name.removeprefix("rouge") for name in VARIANTS),
        "tok": load_tokenizer(metric.preset).signature,
        "refs": metric.multiple_references if several else "one",
        "mean": "rows",
        "hash": hash_answers(answers)[:12],
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())
