"""Estimates beside an order, against the set function itself."""

import itertools

import numpy as np
import pytest
import set_functions

from eagle_jax.search import Objective, find_orders
from eagle_jax.search.estimates import estimate
from eagle_jax.search.gaussian_process import fit
from eagle_jax.search.sets import prefixes


def true_effect(scorer, order, regions):
    """What regions add to F together, by a score of every set, at five places of the order."""
    n, objective, total = scorer.regions, Objective(), 0.0
    for k in np.linspace(0, n, 5).round().astype(int):
        for visible in itertools.product((True, False), repeat=len(regions)):
            one = prefixes(order)[k].copy()
            one[list(regions)] = visible
            f = objective.value(scorer(one[None]), scorer(~one[None]))[0]
            total += (-1) ** visible.count(False) * float(f) / 5
    return total


@pytest.mark.parametrize("seed", range(2))
def test_importance_lies_within_its_error_bars(seed):
    n = 16
    scorer = set_functions.smooth(n, seed)
    (found,) = find_orders([scorer], "surrogate")
    estimates, order = found.estimates, found.curves.order
    truth = np.array([true_effect(scorer, order, (r,)) for r in range(n)])
    off = np.abs(estimates.importance - truth) / estimates.uncertainty
    assert off.max() < 3, "an error bar that does not reach the truth"
    assert estimates.uncertainty.mean() < 0.15 * np.abs(truth).max(), "bars that say nothing"
    assert len(estimates.pairs) == len(estimates.interaction) == 5
    strength = [true_effect(scorer, order, pair) for pair in estimates.pairs.tolist()]
    np.testing.assert_allclose(estimates.interaction, strength, atol=0.05)
    assert (np.diff(np.abs(estimates.interaction)) <= 0).all()


def test_everything_known_leaves_small_errors_and_finds_the_pair_that_needs_each_other():
    n = 6
    sets = np.array([*itertools.product((False, True), repeat=n)])
    scores = (0.2 + 0.1 * sets[:, 0] + 0.5 * (sets[:, 2] & sets[:, 4]))[:, None]
    process = fit(sets, scores.astype(np.float32))
    found = estimate(process, Objective(1.0, 0.0), np.array([2, 4, 0, 1, 3, 5]))
    assert found.pairs[0].tolist() == [2, 4]
    assert found.interaction[0] == pytest.approx(0.5, abs=0.05)
    assert found.importance[0] == pytest.approx(0.1, abs=0.02)
    few = fit(sets[::5], scores[::5].astype(np.float32))
    less = estimate(few, Objective(1.0, 0.0), np.array([2, 4, 0, 1, 3, 5]))
    assert (found.uncertainty < less.uncertainty).all()
