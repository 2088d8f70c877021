"""Shuffled weights and other seeds, and what becomes of an order."""

import jax
import numpy as np
import pytest
import scipy.stats
from sanity import (
    orders_under_seeds,
    orders_under_shuffling,
    rank_correlation,
    shuffled,
)

import eagle_jax
from eagle_jax.errors import InputError


@pytest.fixture(scope="module")
def model(untied):
    return eagle_jax.load(untied)


def test_the_last_layers_are_shuffled_and_nothing_else(model):
    before = [np.array(leaf) for leaf in jax.tree.leaves(model.network)]
    one, two = shuffled(model, 1).network, shuffled(model, 2).network
    for leaf, own in zip(jax.tree.leaves(model.network), before, strict=True):
        np.testing.assert_array_equal(leaf, own)
    true = model.network
    for name in ("vision", "decoder"):
        for a, b in zip(*(jax.tree.leaves(getattr(m, name)) for m in (true, one)), strict=True):
            np.testing.assert_array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
    kernels = [m.decoder.last.mlp.up.kernel[...] for m in (true, one, two)]
    assert not np.array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[1], kernels[2])
    kernels = [m.decoder.layers.mlp.up.kernel[...] for m in (true, one, two)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    np.testing.assert_array_equal(kernels[0][0], kernels[2][0])
    assert not np.array_equal(kernels[0][1], kernels[2][1])
    with pytest.raises(InputError, match="layers is 4; the decoder has 3"):
        shuffled(model, 4)


def test_orders_change_with_the_model_and_not_otherwise(model, make_image):
    case = eagle_jax.ask(
        model, make_image(1, 56, 84), "A cat?", answer="Yes.", target=[0], regions="grid:3x3"
    )
    found = orders_under_shuffling(case, "leave-one-out")
    assert len(found) == 4
    np.testing.assert_array_equal(
        found[0], eagle_jax.explain(case, method="leave-one-out").order
    )
    assert rank_correlation(found[0], found[3]) < 0.9
    blind = orders_under_shuffling(case, "random")
    assert all(np.array_equal(blind[0], order) for order in blind)


def test_another_seed_is_another_draw(model, make_image):
    case = eagle_jax.ask(
        model, make_image(1, 56, 84), "A cat?", answer="Yes.", target=[0], regions="grid:3x3"
    )
    first, second = orders_under_seeds(case, "rise", {"samples": 8}, seeds=2)
    for seed, order in enumerate((first, second)):
        told = {"samples": 8, "seed": seed}
        expected = eagle_jax.explain(case, method="rise", options=told).order
        np.testing.assert_array_equal(order, expected)
    assert not np.array_equal(first, second)
    with pytest.raises(InputError, match="tam draws no random numbers"):
        orders_under_seeds(case, "tam")


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    first, second = (rng.permutation(9).astype(np.int32) for _ in range(2))
    places = np.argsort(first), np.argsort(second)
    expected = scipy.stats.spearmanr(*places).statistic
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(first, first) == 1
    assert rank_correlation(first, first[::-1]) == pytest.approx(-1)
