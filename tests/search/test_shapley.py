"""Shapley values of a process, against set functions whose values are known."""

import itertools
import math

import numpy as np
import pytest
import set_functions

from eagle_jax.search import find_orders
from eagle_jax.search.gaussian_process import fit, to_signs
from eagle_jax.search.sets import ends
from eagle_jax.search.shapley import _variance, shapley_values


def majority(n, seed):
    """A weighted majority with a soft threshold."""
    rng = np.random.default_rng(seed)
    weights, threshold, steep = rng.dirichlet(np.ones(n)), rng.uniform(0.3, 0.7), 12
    return lambda sets: 0.05 + 0.9 / (1 + np.exp(-steep * (sets @ weights - threshold)))


def alternatives(n, seed):
    """A sum of ANDs for even seeds, of ORs for odd seeds."""
    rng = np.random.default_rng(seed)
    groups = [rng.choice(n, rng.integers(1, 4), replace=False) for _ in range(3)]
    parts, combine = 0.9 * rng.dirichlet(np.ones(3)), (np.all, np.any)[seed % 2]
    return lambda sets: (
        0.05
        + sum(
            part * combine(sets[:, group], axis=1)
            for part, group in zip(parts, groups, strict=True)
        )
    )


def exact_values(function, n):
    """Shapley values by all sets."""
    sets = np.array([*itertools.product((False, True), repeat=n)])
    score = dict(zip(map(bytes, sets), function(sets), strict=True))
    values = np.zeros(n)
    for members in sets:
        for region in np.flatnonzero(~members):
            more = members.copy()
            more[region] = True
            share = 1 / (n * math.comb(n - 1, int(members.sum())))
            values[region] += share * (score[bytes(more)] - score[bytes(members)])
    return values


class Scorer:
    """A set function of some targets as a scorer."""

    def __init__(self, regions, *functions):
        self.regions, self._functions = regions, functions

    def __call__(self, sets):
        return np.stack([function(sets) for function in self._functions], 1).astype(np.float32)


class Recorded(Scorer):
    """A scorer that keeps what it was asked."""

    def __init__(self, regions, *functions):
        super().__init__(regions, *functions)
        self.sets, self.scores = [], []

    def __call__(self, sets):
        self.sets.append(sets)
        self.scores.append(super().__call__(sets))
        return self.scores[-1]


@pytest.fixture(scope="module")
def found():
    """For each of some games the estimates of a search and the exact values."""
    n = 11
    games = [make(n, seed) for make in (majority, alternatives) for seed in range(8)]
    results = []
    for search, chosen in (("surrogate", games), ("exact", games[::4])):
        for start in range(0, len(chosen), 2):
            pair = chosen[start : start + 2]
            (result,) = find_orders([Scorer(n, *pair)], search, limits=None)
            exact = np.array([exact_values(game, n) for game in pair])
            results.append((pair, result.estimates, exact))
    return results


def test_values_are_within_their_stated_error(found):
    off = np.array([(known.values - exact) / known.errors for _, known, exact in found])
    within = (np.abs(off) < 1.96).mean()
    assert 0.9 <= within <= 0.99, within
    near = [np.abs(known.values - exact).mean() for _, known, exact in found]
    assert np.mean(near) < 0.015, "of values whose sum is up to 0.9"


def test_values_add_up_to_the_full_minus_the_blank_image(found):
    for pair, known, exact in found:
        blank, full = Scorer(known.values.shape[1], *pair)(ends(known.values.shape[1]))
        np.testing.assert_allclose(known.values.sum(1), full - blank, atol=1e-5)
        np.testing.assert_allclose(exact.sum(1), full - blank, atol=1e-5)
        assert 0 <= known.gap < 0.1


def test_the_error_of_unseen_sets_is_the_stated_one():
    rng, n, said, true = np.random.default_rng(0), 17, [], []
    for make in (majority, alternatives):
        for seed in range(3):
            scorer = Recorded(n, make(n, seed))
            (result,) = find_orders([scorer], "surrogate")
            sets, first = np.unique(np.concatenate(scorer.sets), axis=0, return_index=True)
            process = fit(sets, np.concatenate(scorer.scores)[first])
            unseen = rng.random((500, n)) < rng.random((500, 1))
            predicted = 1 / (1 + np.exp(-process.logits(to_signs(unseen))))
            said.append(result.estimates.unseen)
            true.append(np.abs(predicted - scorer(unseen)).mean())
    assert 0.6 < np.mean(said) / np.mean(true) < 2


def test_errors_are_those_of_gaussian_regression():
    rng, n = np.random.default_rng(3), 7
    sets = np.unique(rng.random((30, n)) < 0.5, axis=0)
    process = fit(sets, set_functions.smooth(n, 1, targets=2)(sets))
    drawn = rng.random((5, n)) < 0.5
    plus, minus = rng.random((2, 5, 2, n))
    variance = _variance(process, drawn, plus, minus)
    for token, region in np.ndindex(2, n):
        shown, hidden = drawn.copy(), drawn.copy()
        shown[:, region], hidden[:, region] = True, False
        unknown = process.covariance(to_signs(np.concatenate([shown, hidden])))
        weights = np.append(plus[:, token, region], -minus[:, token, region])
        expected = weights @ unknown @ weights * process.variance[token]
        np.testing.assert_allclose(variance[token, region], expected, rtol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_few_regions_that_are_all_known(n):
    sets = np.array([*itertools.product((False, True), repeat=n)])
    game = majority(n, 1)
    scorer = Scorer(n, game, lambda some: np.full(len(some), 0.4))
    known = shapley_values(fit(sets, scorer(sets)), *scorer(ends(n)))
    np.testing.assert_allclose(known.values[0], exact_values(game, n), atol=0.02)
    np.testing.assert_allclose(known.values[1], 0, atol=1e-5)
    assert np.isfinite(known.errors).all()


def test_drawn_sets_agree_with_all_sets():
    n, rng = 10, np.random.default_rng(0)
    sets = np.concatenate([ends(n), rng.random((60, n)) < rng.random((60, 1))])
    sets = np.unique(sets, axis=0)
    process = fit(sets, Scorer(n, alternatives(n, 2))(sets))

    def predicted(some):
        return 1 / (1 + np.exp(-process.logits(to_signs(some))[:, 0]))

    known = shapley_values(process, *predicted(ends(n))[:, None])
    np.testing.assert_allclose(known.values[0], exact_values(predicted, n), atol=0.03)


def test_a_search_of_ones_own_gets_values_too():
    from eagle_jax.search import Round, Solution, curves_along

    scorer = Scorer(4, alternatives(4, 0))

    def backwards(problem):
        order = np.arange(problem.regions, dtype=np.int32)[::-1]
        # The scores of a random set are known to the estimates, not the ends of the curves.
        yield Round(np.array([[True, False, False, True]]))
        return Solution(curves_along(scorer, order))

    (result,) = find_orders([scorer], backwards)
    assert result.estimates.values.shape == (1, 4)
    blank, full = scorer(ends(4))
    np.testing.assert_allclose(result.estimates.values.sum(1), full - blank, atol=1e-5)
