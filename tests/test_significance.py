"""Intervals and paired tests."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from harness.significance import Comparison, compare, compare_all, compare_family, interval, intervals


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


# --- several tries ---


def step_down(differences: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[float]:
    """Adjusted p-values by the book, slowly: all sign vectors, Student's t, one column after another."""

    def statistics(rows: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[float]:
        return [abs(column.mean()) / (column.std(ddof=1) / math.sqrt(len(column))) for column in rows.T]

    observed = statistics(differences)
    order = sorted(range(len(observed)), key=lambda column: -observed[column])
    drawn = [
        statistics(differences * np.array(signs)[:, np.newaxis])
        for signs in product((-1, 1), repeat=len(differences))
    ]
    found, floor = [0.0] * len(observed), 0.0
    for place, column in enumerate(order):
        rest = order[place:]
        share = np.mean([max(each[c] for c in rest) >= observed[column] - 1e-9 for each in drawn])
        floor = max(floor, float(share))
        found[column] = floor
    return found


def test_adjusted_p_values_equal_a_count_by_hand() -> None:
    """Four rows, two tries: 16 sign vectors, counted out on paper.

    Try A differs by (3, 1, 2, 2), B by (1, -1, 2, 0). |sum| / sqrt(sum of squares) is 8 / sqrt(18) = 1.886
    for A, and 2 / sqrt(6) = .816 for B. A: B's largest is 4 / sqrt(6) = 1.633 < 1.886, and A itself is as
    far out for 2 of 16 (all signs equal): 2/16. B alone: its sums are +-4, +-2 and 0 for (1, 1, 2) with all
    signs: 6 of the 8 reach 2 (only 1 + 1 - 2 and its opposite do not): 12/16.
    """
    first = np.zeros(4)
    others = np.array([[3.0, 1.0], [1.0, -1.0], [2.0, 2.0], [2.0, 0.0]])
    found = compare_family(first, others, resamples=100_000)
    assert [each.adjusted_p_value for each in found] == pytest.approx([2 / 16, 12 / 16], abs=0.006)
    assert [each.p_value for each in found] == pytest.approx([2 / 16, 12 / 16], abs=0.006)


def test_adjusted_p_values_equal_a_full_enumeration() -> None:
    """Six rows, four tries that resemble one another: all 64 sign vectors with Student's t."""
    generator = np.random.default_rng(21)
    differences = generator.normal(0.4, 1.0, (6, 1)) + generator.normal([0.5, 0.0, 1.0, -0.2], 0.5, (6, 4))
    found = compare_family(np.zeros(6), differences, resamples=100_000)
    expected = step_down(differences)
    assert len(set(expected)) > 2
    assert [each.adjusted_p_value for each in found] == pytest.approx(expected, abs=0.006)


def test_a_family_of_one_is_a_plain_comparison() -> None:
    """One try needs no correction, and every figure is that of ``compare``."""
    first, second = normal(22), normal(23)
    (found,) = compare_family(first, second.reshape(-1, 1))
    plain = compare(first, second)
    assert (found.difference, found.low, found.high, found.p_value) == (
        plain.difference, plain.low, plain.high, plain.p_value,
    )  # fmt: skip
    assert found.adjusted_p_value == found.p_value


def test_sweeps_over_nothing_find_something_five_times_in_a_hundred() -> None:
    """300 sweeps of 9 tries that differ by chance: with p alone 2 in 10 find something, corrected 1 in 20.

    Binomial bounds for 5% of 300: 1.5 to 9%. The tries share half of their noise, as settings that
    resemble one another do.
    """
    generator = np.random.default_rng(24)
    corrected = alone = 0
    for number in range(300):
        first = generator.normal(0.4, 0.1, 60)
        tries = generator.normal(0.4, 0.1, (60, 1)) + generator.normal(0.0, 0.1, (60, 9))
        found = compare_family(first, tries, seed=number, resamples=399)
        corrected += any(each.told_apart for each in found)
        alone += any(each.p_value < 0.05 for each in found)
    assert 0.015 <= corrected / 300 <= 0.09
    assert alone / 300 >= 0.14


def test_a_real_gain_is_found_among_many_tries() -> None:
    """One try of ten is better by half a standard deviation; it is told apart, the nine are not."""
    generator = np.random.default_rng(25)
    first = normal(26)
    tries = first[:, np.newaxis] + generator.normal(0, 0.1, (250, 10))
    tries[:, 4] += 0.05
    found = compare_family(first, tries)
    assert [each.told_apart for each in found] == [index == 4 for index in range(10)]
    assert all(each.adjusted_p_value >= each.p_value for each in found)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_tries_that_change_nothing_have_p_one(rows: int) -> None:
    """No rows, one row, equal rows: nothing is found and nothing is divided by zero."""
    scores = np.full(rows, 0.5)
    found = compare_family(scores, np.stack([scores, scores], axis=1))
    assert [each.adjusted_p_value for each in found] == [1.0, 1.0]
