"""Intervals, paired differences and AUROC: by hand, by loops, by coverage."""

import numpy as np
import pytest
from scipy.stats import norm

from eagle_jax.metrics import statistics
from eagle_jax.metrics.statistics import auroc, bootstrap_interval, paired_difference


def test_the_interval_of_many_values_is_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_interval(values, resamples=20_000)
    half = norm.ppf(0.975) * values.std() / np.sqrt(values.size)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12) and found.count == 400
    assert found.low == pytest.approx(values.mean() - half, abs=0.01)
    assert found.high == pytest.approx(values.mean() + half, abs=0.01)
    narrow = bootstrap_interval(values, level=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_intervals_are_seeded_and_do_not_depend_on_the_block(monkeypatch):
    values = np.random.default_rng(1).random(30)
    first = bootstrap_interval(values)
    assert first == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    monkeypatch.setattr(statistics, "_BLOCK", 64)
    assert bootstrap_interval(values) == first


def test_values_that_do_not_apply_are_left_out():
    found = bootstrap_interval(np.array([np.nan, 1.0, 3.0, np.nan]))
    assert (found.mean, found.count) == (2, 2) and found.low == 1 and found.high == 3
    one = bootstrap_interval(np.array([0.5, np.nan]))
    assert (one.mean, one.count) == (0.5, 1) and np.isnan(one.low) and np.isnan(one.high)
    none = bootstrap_interval(np.array([np.nan]))
    assert none.count == 0 and np.isnan(none.mean)
    same = bootstrap_interval(np.ones(5))
    assert (same.low, same.high) == (1, 1)


def test_pairs_see_what_separate_intervals_hide():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 5, 60)
    first, second = hard + 0.5 + rng.normal(0, 0.1, 60), hard
    paired = paired_difference(first, second)
    assert paired.low > 0.4 and paired.high < 0.6
    assert paired.mean == pytest.approx((first - second).mean())
    assert bootstrap_interval(first).low < second.mean() < bootstrap_interval(first).high


def test_wins_and_losses_count_pairs_that_exist():
    first = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
    second = np.array([0.0, 2.0, 3.0, 5.0, 4.0])
    found = paired_difference(first, second)
    assert (found.count, found.higher, found.lower) == (4, 2, 1)
    assert found.mean == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(4))
def test_auroc_counts_pairs_and_half_of_the_ties(seed):
    rng = np.random.default_rng(seed)
    high, low = rng.integers(1, 6, 13).astype(float), rng.integers(0, 5, 9).astype(float)
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low]
    assert auroc(high, low) == pytest.approx(np.mean(pairs), rel=1e-12)
    assert auroc(low, high) == pytest.approx(1 - np.mean(pairs), rel=1e-12)


def test_auroc_of_groups_that_do_not_overlap_are_equal_or_empty():
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.ones(4), np.ones(3)) == 0.5
    assert np.isnan(auroc(np.ones(4), np.array([])))
