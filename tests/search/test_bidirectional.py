"""The published efficient search: its call counts, and its orders step by step."""

import numpy as np
import pytest
import set_functions

from eagle_jax.search import Objective, find_orders
from eagle_jax.search.sets import curves_along


def plain_order(scorer, n, scope=10, pending=8, update=5, weights=(1.0, 1.0)):
    """The published procedure with Python lists, one masked image a call."""

    def score(visible):
        return scorer(np.isin(np.arange(n), list(visible))[None])[0].mean(dtype=np.float64)

    def value(shown):
        hidden = set(range(n)) - shown
        return weights[0] * score(shown) + weights[1] * (1 - score(hidden))

    waiting, front, back, step = list(range(n)), [], [], 0
    while len(waiting) > 1:
        if step % update == 0:
            waiting.sort(key=lambda r: -value({*front, r}))
            head = waiting[0]
        else:
            head = max(waiting[:scope], key=lambda r: value({*front, r}))
        front.append(head)
        waiting.remove(head)
        if not back:
            back.append(waiting.pop())
        elif len(waiting) > pending:
            rest = set(range(n)) - set(back)
            tail = max(waiting[-pending:], key=lambda r: value(rest - {r}))
            back.append(tail)
            waiting.remove(tail)
        step += 1
    return front + waiting + back[::-1]


@pytest.mark.parametrize("n, seed", [(3, 0), (12, 1), (33, 2), (48, 3)])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 2.0)])
def test_orders_and_curves_of_the_published_procedure(n, seed, weights):
    scorer = set_functions.smooth(n, seed)
    (found,) = find_orders([scorer], "bidirectional", objective=Objective(*weights))
    assert found.curves.order.tolist() == plain_order(scorer, n, weights=weights)
    along = curves_along(scorer, found.curves.order)
    for mine, plain in zip(found.curves, along, strict=True):
        np.testing.assert_allclose(mine, plain, rtol=1e-6)


@pytest.mark.parametrize("n, forwards", [(33, 584), (48, 960), (64, 1412), (100, 2612)])
def test_published_call_counts(n, forwards):
    scorer, watched = set_functions.smooth(n), []
    (found,) = find_orders([scorer], "bidirectional", on_progress=watched.append)
    assert found.forwards == sum(scorer.calls) == forwards
    assert {one.planned for one in watched} == {forwards}


@pytest.mark.parametrize("n", [1, 2, 3, 20, 40])
def test_equals_are_ordered_by_number(n):
    scorer = set_functions.constant(n)
    (found,) = find_orders([scorer], "bidirectional")
    assert found.curves.order.tolist() == list(range(n))
    assert found.curves.insertion.shape == found.curves.deletion.shape == (n + 1, 1)
