"""Limits, interrupts and progress: whatever ends a search, it returns what it has."""

import numpy as np
import pytest
import set_functions

from eagle_jax import InputError
from eagle_jax.search import SEARCHES, Limits, find_orders
from eagle_jax.search.sets import area_between, curves_along

STEPWISE = ["exact", "bidirectional", "lazy"]


def check(found, scorer):
    """Asserts that an order, whole or cut short, and its curves are what they say."""
    curves, n = found.curves, scorer.regions
    k = len(curves.order)
    assert len(set(curves.order.tolist())) == k <= n
    assert found.forwards == sum(scorer.calls) and found.rounds == len(scorer.calls)
    rest = np.setdiff1d(np.arange(n), curves.order).astype(np.int32)
    along = curves_along(scorer, np.concatenate([curves.order, rest]))
    np.testing.assert_allclose(curves.insertion, along.insertion[: k + 1], rtol=1e-6)
    np.testing.assert_allclose(curves.deletion, along.deletion[: k + 1], rtol=1e-6)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("budget", [40, 41, 70, 200, 10_000])
def test_a_budget_is_kept_and_what_was_found_is_returned(search, budget):
    scorer = set_functions.smooth(20)
    (found,) = find_orders([scorer], search, limits=Limits(budget=budget))
    assert found.forwards <= budget
    assert (found.ended is None) == (len(found.curves.order) == 20)
    assert found.ended in (None, "budget")
    if search in STEPWISE:
        (whole,) = find_orders([set_functions.smooth(20)], search)
        k = len(found.curves.order)
        np.testing.assert_array_equal(found.curves.order, whole.curves.order[:k])
    check(found, scorer)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interrupt_ends_a_search_with_what_it_has(search, after):
    scorer = set_functions.smooth(20)
    (found,) = find_orders([scorer], search, interrupted=lambda: len(scorer.calls) > after)
    assert found.ended == "interrupt" and len(scorer.calls) <= after + 2
    check(found, scorer)


@pytest.mark.parametrize("search", SEARCHES)
def test_time_ends_a_search(search):
    scorer = set_functions.smooth(20)
    (found,) = find_orders([scorer], search, limits=Limits(seconds=1e-9))
    assert found.ended == "seconds" and len(scorer.calls) <= 2
    check(found, scorer)


@pytest.mark.parametrize("search", SEARCHES)
def test_leading_regions_are_those_of_the_exact_search(search):
    exact = find_orders([set_functions.smooth(20)], "exact")[0].curves
    scorer = set_functions.smooth(20)
    (found,) = find_orders([scorer], search, limits=Limits(top_k=3))
    assert len(found.curves.order) == (3 if search in STEPWISE else 20)
    if search in ("exact", "surrogate", "auto"):
        np.testing.assert_array_equal(found.curves.order[:3], exact.order[:3])
    check(found, scorer)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_stops_where_the_score_is_restored(search):
    scorer = set_functions.coverage(20)
    (found,) = find_orders([scorer], search, limits=Limits(stop=0.8))
    shown = found.curves.insertion.mean(1) / found.curves.deletion[0].mean()
    assert shown[-1] >= 0.8 and (shown[:-1] < 0.8).all() and len(shown) < 20
    check(found, scorer)


def test_progress_counts_forwards_and_knows_the_area_so_far():
    scorers, watched = [set_functions.smooth(9, seed) for seed in (0, 1)], []
    found = find_orders(scorers, "exact", on_progress=watched.append)
    forwards = [one.forwards for one in watched]
    assert len(forwards) == 18 and forwards == sorted(forwards)
    assert watched[-1].forwards == watched[-1].planned == 180
    area = np.full(9, 1 / 9)
    last = np.mean([area_between(one.curves, area) for one in found])
    np.testing.assert_allclose(watched[-1].area, last, rtol=1e-6)
    watched.clear()
    find_orders(scorers[:1], "exact", on_progress=watched.append)
    assert [one.forwards for one in watched] == [2, 20, 36, 50, 62, 72, 80, 86, 90]
    assert {one.planned for one in watched} == {90}
    assert watched[0].area == pytest.approx(0.0) and watched[1].area > 0


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"budget": 0}, "budget is 0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"stop": 0.0}, "stop is 0.0"),
        ({"stop": float("nan")}, "stop is nan"),
    ],
)
def test_limits_out_of_range_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        Limits(**limits)


def test_a_budget_below_the_curves_is_refused():
    with pytest.raises(InputError, match="with 20 regions the curves alone take 40"):
        find_orders([set_functions.smooth(20)], limits=Limits(budget=39))
