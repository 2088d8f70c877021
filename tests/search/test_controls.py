"""Control orders and the curves of any order, against one call per masked image."""

import numpy as np
import pytest

from eagle_jax.search.controls import (
    area_order,
    control_orders,
    matched_order,
    random_order,
)
from eagle_jax.search.sets import curves_along


def make_labels(n=12, seed=0):
    rng = np.random.default_rng(seed)
    sizes = np.repeat(np.arange(n), rng.integers(1, 40, n))
    room = -(-sizes.size // 10) * 10
    return np.append(sizes, np.zeros(room - sizes.size, int)).reshape(10, -1).astype(np.int32)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_curves_equal_one_call_for_each_image(n):
    rng = np.random.default_rng(n)
    weights = rng.random((n, 3))
    calls = []

    def scorer(visible):
        calls.append(len(visible))
        return 1 / (1 + np.exp(-(visible @ weights))).astype(np.float32)

    order = rng.permutation(n).astype(np.int32)
    curves = curves_along(scorer, order)
    assert calls == [2 * n], "one call, no image twice"
    assert curves.insertion.dtype == curves.deletion.dtype == np.float32
    for k in range(n + 1):
        shown = np.isin(np.arange(n), order[:k])
        np.testing.assert_array_equal(curves.insertion[k], scorer(shown[None])[0])
        np.testing.assert_array_equal(curves.deletion[k], scorer(~shown[None])[0])
    np.testing.assert_array_equal(curves.order, order)


def test_areas_fall_along_the_area_order():
    labels = np.array([[0, 1, 1], [2, 1, 3], [2, 3, 4]], np.int32)
    assert area_order(labels).tolist() == [1, 2, 3, 0, 4]


def test_random_orders_follow_their_seed_alone():
    orders = [random_order(9, seed).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == list(range(9)) for order in orders)


def test_matched_orders_keep_the_areas_and_little_else():
    labels = make_labels(40)
    sizes = np.bincount(labels.ravel())
    order = random_order(40, 3)
    ranks = np.empty(40, int)
    ranks[area_order(labels)] = np.arange(40)
    same = []
    for seed in range(50):
        matched = matched_order(labels, order, seed)
        assert sorted(matched) == list(range(40))
        assert (ranks[matched] // 10 == ranks[order] // 10).all(), "each in its quarter"
        assert np.corrcoef(sizes[matched], sizes[order])[0, 1] > 0.8
        same.append((matched == order).mean())
    assert np.mean(same) == pytest.approx(4 / 40, abs=0.03), "no more than chance"


def test_a_run_holds_its_orders_by_name_of_the_item():
    labels = make_labels()
    orders = control_orders(labels, random_order(12, 9), 2, "kite-3")
    assert list(orders) == ["random-0", "matched-0", "random-1", "matched-1", "area"]
    again = control_orders(labels, random_order(12, 9), 2, "kite-3")
    other = control_orders(labels, random_order(12, 9), 2, "kite-4")
    for name, order in orders.items():
        np.testing.assert_array_equal(order, again[name])
        assert name == "area" or (order != other[name]).any()
    assert (orders["random-0"] != orders["random-1"]).any()
    assert list(control_orders(labels, random_order(12, 9), 0, "kite-3")) == ["area"]
