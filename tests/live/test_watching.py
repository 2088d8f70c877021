"""Watching a search changes nothing in it, and shows its order as it grows."""

import threading

import numpy as np
import pytest

from eagle_jax.live.watching import Cancelled, WatchedScorer
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


def watch(scorer, tell, cancelled=None, objective=None):
    ends = scorer(np.array([[False], [True]]).repeat(REGIONS, axis=1))
    return WatchedScorer(
        scorer, objective or Objective(), ends, tell, cancelled or threading.Event()
    )


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.0), (0.2, 3.0)])
def test_the_order_grows_to_what_the_search_finds(weights):
    objective, seen = Objective(*weights), []
    watched = watch(Made(), lambda *so_far: seen.append(so_far), objective=objective)
    (found,) = find_orders([watched], "exact", objective=objective)
    (alone,) = find_orders([Made()], "exact", objective=objective)
    for mine, theirs in zip(found.curves, alone.curves, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [forwards for _, forwards in seen][-1] == found.forwards == REGIONS * (REGIONS + 1)
    assert [len(curves.order) for curves, _ in seen] == list(range(1, REGIONS + 1))
    for curves, _ in seen:
        k = len(curves.order)
        np.testing.assert_array_equal(curves.order, found.curves.order[:k])
        np.testing.assert_array_equal(curves.insertion, found.curves.insertion[: k + 1])
        np.testing.assert_array_equal(curves.deletion, found.curves.deletion[: k + 1])


def test_sets_without_their_complements_are_only_counted():
    seen = []
    watched = watch(Made(), lambda *so_far: seen.append(so_far))
    watched(np.eye(REGIONS, dtype=bool))
    ((curves, forwards),) = seen
    assert curves.order.size == 0 and curves.insertion.shape == (1, 2)
    assert forwards == REGIONS


def test_a_cancelled_search_ends_at_its_next_round():
    cancelled, rounds = threading.Event(), []

    def tell(curves, forwards):
        rounds.append(forwards)
        if len(rounds) == 3:
            cancelled.set()

    with pytest.raises(Cancelled):
        find_orders([watch(Made(), tell, cancelled)], "exact")
    assert len(rounds) == 3
