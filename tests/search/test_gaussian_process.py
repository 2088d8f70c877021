"""The process against the formulas of Gaussian regression, its paths against brute force."""

import numpy as np
import pytest
import set_functions
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from scipy.stats import multivariate_normal

from eagle_jax.search import Objective, gaussian_process
from eagle_jax.search.gaussian_process import fit, to_signs
from eagle_jax.search.paths import Surface, _move_gains, area_under, least_certain
from eagle_jax.search.sets import prefixes

N = 7
AREA = np.random.default_rng(5).dirichlet(np.ones(N))


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(0)
    return np.unique(rng.random((40, N)) < rng.random((40, 1)), axis=0)


@pytest.fixture(scope="module")
def process(sets):
    return fit(sets, set_functions.smooth(N, 1, targets=3)(sets))


@pytest.fixture(scope="module")
def surface(process):
    return Surface(process, Objective(0.7, 1.3))


def plain_kernel(process, a, b):
    """Of two sets, as the module's description says."""
    s, t = 2.0 * a - 1, 2.0 * b - 1
    differ = process.relevance[a != b].sum()
    return 2.0 + (process.slope * s * t).sum() + np.exp(-differ)


def value(surface, members):
    """F of one set, from the process alone."""
    signs = to_signs(np.isin(np.arange(N), list(members))[None])
    shown, hidden = (expit(surface.process.logits(one)) for one in (signs, -signs))
    return float(surface.objective.value(shown, hidden)[0])


def test_expectation_and_covariance_are_those_of_gaussian_regression(process, sets):
    scores = set_functions.smooth(N, 1, targets=3)(sets).astype(np.float64)
    new = np.random.default_rng(1).random((5, N)) < 0.5
    kernel = np.array([[plain_kernel(process, a, b) for b in sets] for a in sets])
    kernel += process.noise * np.eye(len(sets))
    known = np.array([[plain_kernel(process, a, b) for b in sets] for a in new])
    y = logit(scores)
    mean = y.mean(0) + known @ np.linalg.solve(kernel, y - y.mean(0))
    np.testing.assert_allclose(process.logits(to_signs(new)), mean, rtol=1e-6)
    prior = np.array([[plain_kernel(process, a, b) for b in new] for a in new])
    unknown = prior - known @ np.linalg.solve(kernel, known.T)
    np.testing.assert_allclose(process.covariance(to_signs(new)), unknown, atol=1e-9)


def test_learning_climbs_the_likelihood_by_its_true_gradient(sets, monkeypatch):
    seen = {}

    def watch(loss, start, **options):
        seen["loss"], seen["start"] = loss, start
        return minimize(loss, start, **options)

    minimize = gaussian_process.minimize
    monkeypatch.setattr(gaussian_process, "minimize", watch)
    scores = set_functions.smooth(N, 1, targets=1)(sets)
    learnt = fit(sets, scores)
    loss, at = seen["loss"], learnt.scales + 0.1
    numeric = approx_fprime(at, lambda x: loss(x)[0], 1e-6)
    np.testing.assert_allclose(loss(at)[1], numeric, atol=1e-4)
    assert loss(learnt.scales)[0] < loss(seen["start"])[0] - 1
    # Of one token: the likelihood with the variance that makes it largest, but for constants.
    y = logit(scores.astype(np.float64))[:, 0]
    kernel = np.array([[plain_kernel(learnt, a, b) for b in sets] for a in sets])
    kernel += learnt.noise * np.eye(len(sets))
    density = multivariate_normal(np.full(len(y), y.mean()), kernel * learnt.variance[0])
    away = learnt.scales - np.append(np.zeros(N), gaussian_process._SCALES)
    expected = density.logpdf(y) + len(y) / 2 * (1 + np.log(2 * np.pi)) - away @ away / 2
    assert -loss(learnt.scales)[0] == pytest.approx(expected, rel=1e-6)


def test_a_region_without_effect_is_forgotten():
    rng = np.random.default_rng(2)
    sets = np.unique(rng.random((120, 12)) < 0.5, axis=0)
    scores = 0.1 + 0.8 * (sets[:, 3] & sets[:, 8])[:, None].astype(np.float32)
    relevance = fit(sets, scores).relevance
    assert set(np.argsort(-relevance)[:2]) == {3, 8}
    assert relevance[[3, 8]].min() > 4 * np.delete(relevance, [3, 8]).max()


def test_greedy_takes_the_best_region_at_each_step(surface):
    found, chosen = surface.greedy(), []
    for region in found.order:
        best = max(
            (r for r in range(N) if r not in chosen),
            key=lambda r: value(surface, [*chosen, r]),
        )
        assert region == best
        chosen.append(best)
    beside = surface.along(found.order)
    np.testing.assert_allclose(found.value, beside.value, rtol=1e-6)
    np.testing.assert_allclose(found.toggled, beside.toggled, rtol=1e-6)
    led = surface.greedy((5, 2))
    assert led.order[:2].tolist() == [5, 2] and sorted(led.order) == list(range(N))
    np.testing.assert_allclose(led.value, surface.along(led.order).value, rtol=1e-6)


def test_values_of_prefixes_and_of_their_neighbours(surface):
    order = np.random.default_rng(3).permutation(N)
    values, toggled = surface.around(prefixes(order))
    for k in range(N + 1):
        members = set(order[:k].tolist())
        np.testing.assert_allclose(values[k], value(surface, members), rtol=1e-5)
        for region in range(N):
            neighbour = value(surface, members ^ {region})
            np.testing.assert_allclose(toggled[k, region], neighbour, rtol=1e-5)


def area(surface, order):
    """The area under F along an order, from the process alone."""
    values = [value(surface, order[:k]) for k in range(N + 1)]
    return area_under(np.array(values), AREA[order])


def test_moves_gain_what_the_area_of_the_moved_order_says(surface):
    order = np.random.default_rng(4).permutation(N)
    gains = _move_gains(surface.along(order), AREA[order])
    for i in range(N):
        for j in range(N):
            moved = np.insert(np.delete(order, i), j, order[i])
            if i != j:
                gained = area(surface, moved) - area(surface, order)
                np.testing.assert_allclose(gains[i, j], gained, atol=1e-6)
    assert (np.diag(gains) == -np.inf).all()


def test_an_improved_order_cannot_be_improved_by_a_move(surface):
    worse, order = (np.random.default_rng(seed).permutation(N) for seed in (6, 4))
    assert area(surface, worse) < area(surface, order)
    improved, expected = surface.improved(
        [surface.along(one) for one in (worse, order)], AREA, 50
    )
    np.testing.assert_allclose(expected, area(surface, improved), rtol=1e-5)
    assert expected > area(surface, order)
    for i in range(N):
        for j in range(N):
            moved = np.insert(np.delete(improved, i), j, improved[i])
            assert area(surface, moved) < expected + 2e-5
    kept, _ = surface.improved([surface.along(order)], AREA, 50, fixed=3)
    assert kept[:3].tolist() == order[:3].tolist() and sorted(kept) == list(range(N))


def test_the_least_certain_sets_are_those_that_leave_least_unknown(process):
    sets = prefixes(np.arange(N))[1:-1]
    chosen = least_certain(process, sets, 3)
    signs = to_signs(sets)
    p = expit(process.logits(signs))
    matters = ((p * (1 - p)) ** 2 * process.variance).mean(1)
    unknown, taken = process.covariance(signs), []

    def left(also):
        at = [*taken, also]
        noisy = unknown[np.ix_(at, at)] + process.noise * np.eye(len(at))
        known = unknown[:, at] @ np.linalg.solve(noisy, unknown[at])
        return matters @ np.diag(unknown - known)

    for number in chosen.tolist():
        best = min((i for i in range(len(sets)) if i not in taken), key=left)
        assert number == best
        taken.append(number)
