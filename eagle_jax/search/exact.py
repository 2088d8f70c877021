"""The exact greedy search: at each step, the region that raises F most."""

import numpy as np

from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.sets import ends
from eagle_jax.search.steps import Steps


def exact(problem: Problem) -> Rounds:
    """Orders the regions one after the other: n (n + 1) forwards in n rounds for n regions.

    Each step adds the region r that maximises F(S + r), where S are the regions taken before;
    of equal values the region with the lowest number wins.

    Args:
      problem: the regions, the objective and the limits.

    Returns:
      The curves along the regions that were taken.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    planned = problem.regions * (problem.regions + 1)
    steps = Steps(problem, *(yield Round(ends(problem.regions), None, planned)))
    while steps.left > 1 and not steps.enough:
        candidates = np.flatnonzero(~steps.chosen)
        scores = yield Round(steps.with_each(candidates), steps.curves, planned)
        if scores is None:
            break
        steps.take_best(candidates, scores)
    else:
        if not steps.enough:
            steps.take_last()
    return Solution(steps.curves)
