"""Lazy greedy: exact where gains fall, and its savings."""

import numpy as np
import pytest
import questions
import set_functions

from eagle_jax.search import Objective, find_orders


@pytest.mark.parametrize("seed", range(3))
def test_finds_the_exact_order_of_a_submodular_function_with_fewer_forwards(seed):
    n, objective = 40, Objective(1.0, 0.0)
    exact = questions.greedy(set_functions.coverage(n, seed), 1.0, 0.0)
    scorer = set_functions.coverage(n, seed)
    (found,) = find_orders([scorer], "lazy", objective=objective)
    # Once everything is covered no region gains anything, and float32 decides.
    shown = exact.curves.insertion[:, 0]
    telling = np.flatnonzero(shown > shown[-1] - 1e-4)[0]
    assert telling > 5
    np.testing.assert_array_equal(found.curves.order[:telling], exact.curves.order[:telling])
    np.testing.assert_allclose(found.curves.insertion, exact.curves.insertion, rtol=1e-6)
    assert found.forwards == sum(scorer.calls) < 0.6 * exact.forwards


def test_a_region_that_gains_late_is_found_when_gains_are_renewed():
    # Only with the eight regions before it does the last one do anything.
    n = 24
    weight = np.append(np.linspace(0.4, 0.1, n - 1), 0.0)

    def score(visible):
        late = visible[:, :8].all(1) & visible[:, -1]
        return ((visible @ weight) / 20 + 0.5 * late)[:, None]

    scorer = set_functions.SetFunction(n, score)
    (found,) = find_orders([scorer], "lazy", objective=Objective(1.0, 0.0))
    assert found.curves.order.tolist() == [*range(8), n - 1, *range(8, n - 1)]
