"""Methods that need probabilities alone, against brute force on set functions by look-up."""

import itertools
import math

import numpy as np
import pytest

from eagle_jax.baselines import rank_regions
from eagle_jax.baselines.occlusion import neighbours
from eagle_jax.errors import InputError


class Table:
    """A set function by look-up, with a number of regions and where they are."""

    def __init__(self, regions: int, targets: int = 2, labels: np.ndarray | None = None):
        rng = np.random.default_rng(regions)
        self.table = rng.random((2**regions, targets)).astype(np.float32)
        self.regions = regions
        self.asked = []
        if labels is not None:
            self.labels = labels

    def __call__(self, visible):
        self.asked.extend(visible)
        return self.table[visible @ (1 << np.arange(self.regions))]

    def value(self, regions) -> float:
        """The mean probability with only some regions visible."""
        return float(self.table[sum(1 << r for r in regions)].mean(dtype=np.float64))


def scores(scorer, method: str, **options):
    (ranked,) = rank_regions([scorer], method, options)
    curves = ranked.result.curves
    assert np.array_equal(curves.order, np.argsort(-ranked.scores, kind="stable"))
    assert ranked.result.forwards == len(scorer.asked) and ranked.backwards == 0
    for k in range(scorer.regions + 1):
        first, rest = curves.order[:k], curves.order[k:]
        assert curves.insertion[k].mean() == pytest.approx(scorer.value(first), abs=1e-6)
        assert curves.deletion[k].mean() == pytest.approx(scorer.value(rest), abs=1e-6)
    return ranked.scores


def subsets(regions: int):
    return itertools.chain.from_iterable(
        itertools.combinations(range(regions), k) for k in range(regions + 1)
    )


@pytest.mark.parametrize("regions", [1, 2, 5, 8])
def test_kernelshap_of_all_sets_gives_shapley_values(regions):
    scorer = Table(regions)
    exact = np.zeros(regions)
    for r in range(regions):
        for others in subsets(regions):
            if r not in others:
                k = len(others)
                share = math.factorial(k) * math.factorial(regions - k - 1)
                gain = scorer.value((*others, r)) - scorer.value(others)
                exact[r] += share / math.factorial(regions) * gain
    np.testing.assert_allclose(scores(scorer, "kernelshap"), exact, rtol=1e-7, atol=1e-9)


def test_kernelshap_of_few_sets_approaches_shapley_values():
    scorer = Table(8)
    exact = scores(scorer, "kernelshap")
    near = scores(Table(8), "kernelshap", samples=250)
    assert len(Table(8).table) > 250
    assert near.sum() == pytest.approx(scorer.value(range(8)) - scorer.value(()), abs=1e-9)
    far = scores(Table(8), "kernelshap", samples=60)
    assert np.abs(near - exact).max() < np.abs(far - exact).max()
    # On an additive function few sets are enough.
    additive = Table(8)
    weights = np.linspace(0, 0.1, 8)
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    additive.table = (bits @ weights)[:, None].repeat(2, axis=1).astype(np.float32)
    found = scores(additive, "kernelshap", samples=60)
    np.testing.assert_allclose(found, weights, rtol=0, atol=1e-6)


def test_rise_is_the_weighted_mean_of_its_masks():
    scorer = Table(6)
    found = scores(scorer, "rise", samples=200, seed=3)
    sets = np.array(scorer.asked[:200])
    expected = [
        sum(scorer.value(np.flatnonzero(one)) for one in sets if one[r]) / (200 * 0.5)
        for r in range(6)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-7)
    assert 0.4 < sets.mean() < 0.6
    other = scores(Table(6), "rise", samples=200, seed=4)
    assert not np.array_equal(found, other)
    np.testing.assert_array_equal(found, scores(Table(6), "rise", samples=200, seed=3))


def test_lime_is_a_weighted_ridge_regression():
    scorer = Table(6)
    found = scores(scorer, "lime", samples=150, seed=1)
    sets = np.array(scorer.asked[:150])
    assert sets[0].all()
    cosine = [one.sum() / math.sqrt(max(one.sum(), 1) * 6) for one in sets]
    weight = np.sqrt(np.exp(-((1 - np.array(cosine)) ** 2) / 0.25**2))
    # The intercept as a column of its own, which the ridge leaves alone.
    inputs = np.concatenate([sets, np.ones((150, 1))], axis=1)
    value = np.array([scorer.value(np.flatnonzero(one)) for one in sets])
    ridge = np.diag([1.0] * 6 + [0.0])
    normal = inputs.T @ np.diag(weight) @ inputs + ridge
    expected = np.linalg.solve(normal, inputs.T @ (weight * value))[:6]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


GRID = np.arange(6).reshape(2, 3).repeat(4, axis=0).repeat(5, axis=1).astype(np.int32)


def test_leaving_out_and_occluding():
    scorer = Table(6, labels=GRID)
    whole = scorer.value(range(6))
    lost = [whole - scorer.value(set(range(6)) - {r}) for r in range(6)]
    np.testing.assert_allclose(scores(scorer, "leave-one-out"), lost, rtol=0, atol=1e-9)

    around = [
        {c for c in range(6) if abs(r // 3 - c // 3) <= 1 and abs(r % 3 - c % 3) <= 1}
        for r in range(6)
    ]
    assert [set(np.flatnonzero(row)) for row in neighbours(GRID)] == around
    losses = [whole - scorer.value(set(range(6)) - window) for window in around]
    expected = [
        np.mean([loss for loss, window in zip(losses, around, strict=True) if r in window])
        for r in range(6)
    ]
    found = scores(Table(6, labels=GRID), "occlusion")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_scores_are_painted_where_regions_are_known():
    (ranked,) = rank_regions([Table(6, labels=GRID)], "leave-one-out")
    np.testing.assert_array_equal(ranked.heat, ranked.scores.astype(np.float32)[GRID])
    (ranked,) = rank_regions([Table(6)], "leave-one-out")
    assert ranked.heat is None


def test_random_asks_for_the_curves_alone():
    scorers = [Table(5), Table(5)]
    one, other = rank_regions(scorers, "random", {"seed": 2})
    assert one.result.forwards == len(scorers[0].asked) == 2 * 5
    np.testing.assert_array_equal(one.scores, other.scores)
    (third,) = rank_regions([Table(5)], "random", {"seed": 3})
    assert not np.array_equal(one.scores, third.scores)


@pytest.mark.parametrize(
    "method, options, message",
    [
        ("rize", {}, "'rize'; it must be one of eagle, llava-cam"),
        ("rise", {"depth": 1}, "rise has no option 'depth'; it has samples, seed"),
        ("rise", {"samples": 0}, "samples is 0; it must be a whole number of at least 1"),
        ("tam", {"variant": "old"}, "variant is 'old'; it must be paper or published"),
        ("eagle", {}, "find_orders"),
        ("igos++", {}, "this scorer has none: .* use one of eagle, rise, lime"),
        ("occlusion", {}, "no labels; choose leave-one-out, which needs none"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(method, options, message):
    with pytest.raises(InputError, match=message) as caught:
        rank_regions([Table(4)], method, options)
    assert "\n" not in str(caught.value)
