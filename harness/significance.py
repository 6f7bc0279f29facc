"""How much of a figure is noise: intervals of means, and paired tests between two systems.

Both are resampling methods over the rows of the test set, with a generator of their own, so that the
same scores give the same interval tomorrow::

    interval(per_row)            -> Interval(low=.411, high=.452)
    compare(first, second)       -> Comparison(difference=.0059, low=-.004, high=.016, p_value=.26)
    Comparison.told_apart        -> whether the difference is more than noise
    compare_family(first, many)  -> the same for many tries at once, corrected for their number
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 20230330  # the day the real contest closed
ALPHA = 1 - LEVEL

_CELLS = 4_000_000  # resamples x rows held at once: 32 MB of float64


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second system's mean minus the first's on the same rows, its interval and its p-value."""

    difference: float
    low: float
    high: float
    p_value: float

    @property
    def told_apart(self) -> bool:
        """Whether the difference is more than noise at the 5% level."""
        return self.p_value < ALPHA


@dataclass(frozen=True, slots=True)
class FamilyComparison(Comparison):
    """A comparison that is one of several tries: ``adjusted_p_value`` allows for all of them.

    ``p_value``, ``low`` and ``high`` are those of this comparison alone.
    """

    adjusted_p_value: float

    @property
    def told_apart(self) -> bool:
        """Whether the difference is more than noise at the 5% level, so many having been tried."""
        return self.adjusted_p_value < ALPHA


def interval(per_row: NDArray[np.float64], seed: int = SEED, resamples: int = RESAMPLES) -> Interval:
    """The 95% percentile bootstrap interval of the mean of ``per_row`` (float64 [n]).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3. Fewer than two
    rows tell nothing about noise: the interval is then the mean itself.
    """
    return intervals(per_row.reshape(-1, 1), seed, resamples)[0]


def intervals(columns: NDArray[np.float64], seed: int = SEED, resamples: int = RESAMPLES) -> list[Interval]:
    """``interval`` of every column of float64 [n, k], all from the same resamples of the rows."""
    import numpy as np

    rows, count = columns.shape
    if rows < 2:
        means = columns.mean(axis=0) if rows else np.zeros(count)
        return [Interval(float(mean), float(mean)) for mean in means]
    means = np.concatenate([counts @ columns / rows for counts in _bootstrap_counts(rows, seed, resamples)])
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def compare(first: NDArray[np.float64], second: NDArray[np.float64], seed: int = SEED) -> Comparison:
    """Test whether two systems differ on the same rows (both float64 [n], in the same order)."""
    return compare_all(first, second.reshape(-1, 1), seed)[0]


def compare_all(
    first: NDArray[np.float64],
    others: NDArray[np.float64],
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> list[Comparison]:
    """Compare ``first`` (float64 [n]) with every column of ``others`` (float64 [n, k]).

    The p-value is that of a two-sided paired approximate randomisation test: under the null hypothesis
    the two systems' scores of a row may be swapped, so the sign of each row's difference is random. It is
    ``(c + 1) / (resamples + 1)``, c being the resamples whose mean difference is at least as far from 0
    as the observed one (Noreen, Computer-Intensive Methods for Testing Hypotheses, 1989; sacreBLEU's
    ``_compute_p_value`` uses the same correction). The interval is the percentile bootstrap of the
    difference over rows.
    """
    import numpy as np

    differences = others - first[:, np.newaxis]  # [n, k]
    rows, count = differences.shape
    if rows == 0:
        return [Comparison(0.0, 0.0, 0.0, 1.0) for _ in range(count)]
    observed = [math.fsum(column) / rows for column in differences.T]
    # Sums in another order may differ in the last bits; a tie must still count as a tie.
    limit = np.abs(observed) - 1e-12
    beyond = np.zeros(count, dtype=np.int64)
    for signs in _random_signs(rows, seed, resamples):
        beyond += (np.abs(signs @ differences / rows) >= limit).sum(axis=0)
    spread = intervals(differences, seed, resamples)
    return [
        Comparison(mean, low, high, (int(more) + 1) / (resamples + 1))
        for mean, (low, high), more in zip(observed, spread, beyond, strict=True)
    ]


def compare_family(
    first: NDArray[np.float64],
    others: NDArray[np.float64],
    seed: int = SEED,
    resamples: int = RESAMPLES,
) -> list[FamilyComparison]:
    """``compare_all`` for tries of which the best will be taken: p-values adjusted for their number.

    Of 20 tries that change nothing, one has p < .05 on average. The step-down maxT procedure keeps the
    chance of finding anything at all there at 5%: every resample draws one set of signs for all columns
    of ``others`` (float64 [n, k]), and a try, the clearest first, is held against the largest statistic
    among itself and all less clear ones. Because tries on the same rows resemble one another, this costs
    less than Bonferroni's correction.

    Source: Westfall and Young, Resampling-Based Multiple Testing (1993), section 2.6, as in Ge, Dudoit and
    Speed, "Resampling-based multiple testing for microarray data analysis" (2003), Box 2. The statistic is
    the paired t in absolute value, so that a try that moves every row a little and one that moves a few
    rows much are measured alike.
    """
    import numpy as np

    plain = compare_all(first, others, seed, resamples)
    differences = others - first[:, np.newaxis]  # [n, k]
    rows, count = differences.shape
    if rows == 0 or count == 0:
        return [FamilyComparison(each.difference, each.low, each.high, 1.0, 1.0) for each in plain]
    # Signs do not change a column's sum of squares, so |t| rises with |sum| / sqrt(sum of squares).
    length = np.sqrt((differences**2).sum(axis=0))
    scaled = np.divide(differences, length, out=np.zeros_like(differences), where=length > 0)
    observed = np.abs([math.fsum(column) for column in scaled.T])
    order = np.argsort(-observed, kind="stable")
    scaled, limit = scaled[:, order], observed[order] - 1e-12
    beyond = np.zeros(count, dtype=np.int64)
    for signs in _random_signs(rows, seed, resamples):
        drawn = np.abs(signs @ scaled)  # [resamples, k], the clearest try first
        largest = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        beyond += (largest >= limit).sum(axis=0)
    adjusted = np.empty(count)
    adjusted[order] = np.maximum.accumulate((beyond + 1) / (resamples + 1))
    return [
        FamilyComparison(each.difference, each.low, each.high, each.p_value, max(each.p_value, float(p)))
        for each, p in zip(plain, adjusted, strict=True)
    ]


def _chunks(rows: int, resamples: int) -> Iterator[int]:
    """Sizes of the pieces in which ``resamples`` are drawn; they depend on nothing but the arguments."""
    size = max(1, _CELLS // rows)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _bootstrap_counts(rows: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Chunks of float64 [resamples, rows]: how often each row was drawn."""
    import numpy as np

    generator = np.random.default_rng([seed, 0])
    for size in _chunks(rows, resamples):
        drawn = generator.integers(0, rows, size=(size, rows))
        drawn += np.arange(size)[:, np.newaxis] * rows
        counts = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows)
        # Whole numbers: the mean of equal scores is then that score, to the last bit.
        yield counts.astype(np.float64)


def _random_signs(rows: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """Chunks of float64 [resamples, rows] of -1 and +1."""
    import numpy as np

    generator = np.random.default_rng([seed, 1])
    for size in _chunks(rows, resamples):
        bits = np.unpackbits(
            np.frombuffer(generator.bytes(size * ((rows + 7) // 8)), dtype=np.uint8).reshape(size, -1),
            axis=1,
            count=rows,
        )
        signs: NDArray[np.float64] = bits.astype(np.float64)
        signs *= 2
        signs -= 1
        yield signs
