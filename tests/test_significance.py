"""Intervals and paired tests."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from harness.significance import Comparison, compare, compare_all, interval, intervals


def normal(seed: int, rows: int = 250) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Made-up scores between 0 and 1."""
    return np.clip(np.random.default_rng(seed).normal(0.4, 0.15, rows), 0, 1)


def test_the_interval_agrees_with_scipy_s_percentile_bootstrap() -> None:
    """scipy.stats.bootstrap (percentile, 10,000 resamples, another generator) is the reference program."""
    scores = normal(1)
    expected = stats.bootstrap((scores,), np.mean, method="percentile", rng=7).confidence_interval
    found = interval(scores)
    assert found.low == pytest.approx(expected.low, abs=0.001)
    assert found.high == pytest.approx(expected.high, abs=0.001)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    """Of 300 samples from a known distribution, 95% of the intervals hold its mean (binomial: 90 to 99)."""
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        low, high = interval(generator.beta(2, 3, 200), resamples=1_000)
        hits += low <= 0.4 <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_the_p_value_equals_the_exact_one_of_all_sign_changes() -> None:
    """With 12 rows the 4,096 sign vectors can be counted out: the exact permutation p-value."""
    first, second = normal(4, 12), normal(5, 12)
    difference = second - first
    limit = abs(difference.mean()) - 1e-12
    exact = np.mean([abs(np.dot(signs, difference)) / 12 >= limit for signs in product((-1, 1), repeat=12)])
    assert compare(first, second).p_value == pytest.approx(exact, abs=0.02)


def test_the_p_value_agrees_with_scipy_s_paired_permutation_test() -> None:
    """scipy.stats.permutation_test (permutation_type='samples') is the reference program."""
    first = normal(6)
    second = first + np.random.default_rng(8).normal(0.012, 0.1, 250)
    expected = stats.permutation_test(
        (second, first), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9_999, rng=1
    ).pvalue
    assert compare(first, second).p_value == pytest.approx(expected, abs=0.015)


def test_equal_systems_are_never_told_apart() -> None:
    """A difference of 0 in every row has p = 1 and the interval [0, 0]."""
    scores = normal(9)
    assert compare(scores, scores) == Comparison(0.0, 0.0, 0.0, 1.0)


def test_under_the_null_hypothesis_five_in_a_hundred_are_told_apart() -> None:
    """With random swaps between two equal systems, p < .05 about 5% of the time (binomial: 1.5 to 9)."""
    generator = np.random.default_rng(10)
    base = generator.normal(0.4, 0.1, 100)
    found = 0
    for _ in range(200):
        noise = generator.normal(0, 0.1, 100)
        found += compare_all(base + noise, (base - noise).reshape(-1, 1), resamples=1_000)[0].told_apart
    assert 0.015 <= found / 200 <= 0.09


def test_a_clear_difference_is_told_apart_and_signed() -> None:
    """The difference is the second system's mean minus the first's."""
    first = normal(11)
    found = compare(first, first + 0.05)
    assert found.told_apart
    assert found.difference == pytest.approx(0.05)
    assert found.low > 0
    assert not math.isnan(found.p_value)


def test_the_same_scores_give_the_same_figures() -> None:
    """Nothing outside the arguments changes a result."""
    scores = normal(12)
    assert interval(scores) == interval(scores)
    assert compare(scores, normal(13)) == compare(scores, normal(13))


def test_many_columns_give_what_one_column_gives() -> None:
    """Resamples are shared between columns, so each column's figures are those it has alone."""
    columns = np.stack([normal(14), normal(15)], axis=1)
    together = intervals(columns)
    for column, found in zip(columns.T, together, strict=True):
        assert found == pytest.approx(interval(column), abs=1e-12)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_have_an_interval_without_width(rows: int) -> None:
    """Fewer than two rows tell nothing about noise, and do not crash."""
    scores = np.full(rows, 0.5)
    low, high = interval(scores)
    assert low == high
    assert compare(scores, scores).p_value == 1.0
