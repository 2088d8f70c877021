"""Estimates beside an order, against the set function itself."""

import itertools

import numpy as np
import pytest
import set_functions

from eagle_jax.search import Objective, find_orders
from eagle_jax.search.estimates import estimate
from eagle_jax.search.rounds import Problem
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


def true_values(scorer):
    """Shapley values of every target, and their mean, from random orders, and their errors."""
    n, rng = scorer.regions, np.random.default_rng(0)
    added = np.empty((1000, *scorer(np.zeros((1, n), bool)).shape[1:], n))
    for i in range(len(added)):
        order = rng.permutation(n)
        added[i][:, order] = np.diff(scorer(prefixes(order)), axis=0).T
    added = np.concatenate([added, added.mean(1, keepdims=True)], 1)
    return added.mean(0), added.std(0) / np.sqrt(len(added))


@pytest.mark.parametrize("seed", range(2))
def test_values_lie_within_their_error_bars(seed):
    n = 16
    scorer = set_functions.smooth(n, seed)
    (found,) = find_orders([scorer], "surrogate")
    estimates, order = found.estimates, found.curves.order
    truth, sampled = true_values(scorer)
    # Errors of different tokens are independent.
    errors = np.append(estimates.errors, np.hypot(*estimates.errors)[None] / 2, axis=0)
    values = np.append(estimates.values, estimates.values.mean(0)[None], axis=0)
    off = np.abs(values - truth) / np.hypot(errors, sampled)
    assert off.max() < 4 and np.mean(off < 2) > 0.9, "error bars that do not reach the truth"
    assert estimates.errors.mean() < 0.15 * np.abs(truth).max(), "bars that say nothing"
    assert len(estimates.pairs) == len(estimates.interaction) == 5
    strength = [true_effect(scorer, order, pair) for pair in estimates.pairs.tolist()]
    np.testing.assert_allclose(estimates.interaction, strength, atol=0.05)
    assert (np.diff(np.abs(estimates.interaction)) <= 0).all()


def test_everything_known_leaves_small_errors_and_finds_the_pair_that_needs_each_other():
    n = 6
    sets = np.array([*itertools.product((False, True), repeat=n)])
    scores = (0.2 + 0.1 * sets[:, 0] + 0.5 * (sets[:, 2] & sets[:, 4]))[:, None]
    problem = Problem(n, np.full(n, 1 / n), Objective(1.0, 0.0))
    order = np.array([2, 4, 0, 1, 3, 5])
    found = estimate(problem, order, sets, scores.astype(np.float32))
    assert found.pairs[0].tolist() == [2, 4]
    assert found.interaction[0] == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(found.values[0], [0.1, 0, 0.25, 0, 0.25, 0], atol=0.02)
    some = np.unique(np.r_[np.arange(0, len(sets), 5), len(sets) - 1])
    less = estimate(problem, order, sets[some], scores[some].astype(np.float32))
    assert (found.errors < less.errors).all() and found.unseen < less.unseen
