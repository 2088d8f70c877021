"""Watching a search changes nothing in it, and shows its order as it grows."""

import numpy as np
import pytest

from eagle_jax.live.watching import Growth
from eagle_jax.search import Objective, find_orders

REGIONS = 7


class Made:
    """A set function with interactions, so that no two sets score alike."""

    regions = REGIONS
    labels = np.arange(REGIONS, dtype=np.int32)[None]

    def __init__(self):
        rng = np.random.default_rng(3)
        self._single = rng.normal(size=(REGIONS, 2))
        self._pair = rng.normal(size=(REGIONS, REGIONS, 2)) / 3

    def __call__(self, visible):
        level = visible @ self._single
        level = level + np.einsum("bi,bj,ijt->bt", visible, visible, self._pair)
        return (1 / (1 + np.exp(-level))).astype(np.float32)


class Watched:
    """It as a search sees it, with what is held after each round."""

    regions, labels = REGIONS, Made.labels

    def __init__(self, objective):
        self._made = Made()
        ends = self._made(np.array([[False], [True]]).repeat(REGIONS, axis=1))
        self.growth, self.seen = Growth(objective, REGIONS, ends), []

    def __call__(self, visible):
        scores = self._made(visible)
        self.growth.add(visible, scores)
        self.seen.append(self.growth.curves)
        return scores


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.0), (0.2, 3.0)])
def test_the_order_grows_to_what_the_search_finds(weights):
    objective = Objective(*weights)
    watched = Watched(objective)
    (found,) = find_orders([watched], "exact", objective=objective)
    (alone,) = find_orders([Made()], "exact", objective=objective)
    for mine, theirs in zip(found.curves, alone.curves, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert watched.growth.forwards == found.forwards == REGIONS * (REGIONS + 1)
    grown = [curves for curves in watched.seen if curves.order.size]
    assert [curves.order.size for curves in grown] == list(range(1, REGIONS + 1))
    for curves in grown:
        k = len(curves.order)
        np.testing.assert_array_equal(curves.order, found.curves.order[:k])
        np.testing.assert_array_equal(curves.insertion, found.curves.insertion[: k + 1])
        np.testing.assert_array_equal(curves.deletion, found.curves.deletion[: k + 1])


def test_sets_without_their_complements_are_only_counted():
    watched = Watched(Objective())
    watched(np.eye(REGIONS, dtype=bool))
    # Nor do the blank and the whole picture say which region comes first.
    watched(np.array([[False], [True]]).repeat(REGIONS, axis=1))
    for curves in watched.seen:
        assert curves.order.size == 0 and curves.insertion.shape == (1, 2)
    assert watched.growth.forwards == REGIONS + 2
