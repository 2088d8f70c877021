"""The surrogate and auto: valid on any callable, the same on every run, and near exact."""

import numpy as np
import pytest
import questions
import set_functions

from eagle_jax.search import SEARCHES, Limits, find_orders
from eagle_jax.search.sets import area_between, curves_along

SIZES = [1, 2, 3, 5, 18]
KINDS = ["smooth", "constant", "majority", "conjunction", "disjunction"]


def check(make, n, search, limits, forwards):
    """Asserts that a search gives a whole order with its curves, twice the same."""
    scorer = make(n)
    (found,) = find_orders([scorer], search, limits=limits)
    order = found.curves.order
    assert sorted(order.tolist()) == list(range(n)) and found.ended is None
    assert found.forwards == sum(scorer.calls) <= forwards
    for mine, plain in zip(found.curves, curves_along(scorer, order), strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-6)
    (again,) = find_orders([make(n)], search, limits=limits)
    np.testing.assert_array_equal(again.curves.order, order)
    assert again.forwards == found.forwards


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_any_callable_gets_a_whole_order_and_its_curves(kind, n, search):
    check(getattr(set_functions, kind), n, search, Limits(), n * (n + 1))


@pytest.mark.parametrize("kind", ["smooth", "majority"])
def test_many_regions_and_a_budget(kind):
    check(getattr(set_functions, kind), 144, "auto", Limits(budget=450), 450)


@pytest.mark.parametrize("seed", range(3))
def test_a_tenth_of_the_forwards_comes_near_exact(seed):
    n, area = 64, np.full(64, 1 / 64)
    exact = area_between(questions.greedy(set_functions.smooth(n, seed)).curves, area)
    (found,) = find_orders([set_functions.smooth(n, seed)], "surrogate")
    assert found.forwards <= 0.1 * n * (n + 1) and found.rounds <= 24
    assert area_between(found.curves, area) > 0.97 * exact


@pytest.mark.parametrize("kind", ["conjunction", "disjunction"])
def test_the_few_regions_that_matter_come_first(kind):
    n = 30
    scorer = getattr(set_functions, kind)(n, 3)
    (found,) = find_orders([scorer], "auto")
    exact = questions.greedy(getattr(set_functions, kind)(n, 3)).curves
    area = np.full(n, 1 / n)
    assert found.search == "surrogate"
    assert area_between(found.curves, area) >= area_between(exact, area) - 1e-6


def test_auto_takes_the_exact_search_for_few_regions():
    scorer = set_functions.smooth(16)
    (found,) = find_orders([scorer], "auto")
    assert found.search == "exact" and found.forwards == 16 * 17
    # The estimates come of what the exact search scored.
    assert found.estimates.values.shape == found.estimates.errors.shape == (2, 16)
    np.testing.assert_array_equal(
        found.curves.order, questions.greedy(set_functions.smooth(16)).curves.order
    )


def test_images_searched_together_find_what_each_finds_alone():
    kinds = [(20, 1), (30, 2), (17, 3)]
    together = find_orders([set_functions.smooth(*one) for one in kinds], "surrogate")
    for found, one in zip(together, kinds, strict=True):
        (alone,) = find_orders([set_functions.smooth(*one)], "surrogate")
        np.testing.assert_array_equal(found.curves.order, alone.curves.order)
        assert found.forwards == alone.forwards
