"""Lazy greedy: the last known gain of a region is an upper bound of its gain now."""

import numpy as np

from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.sets import ends
from eagle_jax.search.steps import Steps

# Number of regions scored at once, two masked images each, and number of steps between two
# refreshes, in which all regions are scored.
_BATCH, _REFRESH = 8, 8


def lazy(problem: Problem) -> Rounds:
    """Orders the regions one after the other, scoring only regions that may be the best.

    In each step the regions are scored from the largest last known gain downwards, in batches,
    until one region gains at least as much as the last known gain of the next. If gains never
    grow as more regions are taken, as in submodular functions, the result is that of the exact
    search. The gains of a model may grow, so every few steps all of them are renewed. Of equal
    gains the region with the lowest number wins.

    Args:
      problem: the regions, the objective and the limits.

    Returns:
      The curves along the regions that were taken.

    References:
      Minoux, Accelerated greedy algorithms for maximizing submodular set functions, 1978.
    """
    n = problem.regions
    steps = Steps(problem, *(yield Round(ends(n))))
    bound = np.full(n, np.inf)
    while steps.left > 1 and not steps.enough:
        before, waiting = steps.value, np.flatnonzero(~steps.chosen)
        size = len(waiting) if len(steps.order) % _REFRESH == 0 else _BATCH
        waiting = waiting[np.argsort(-bound[waiting], kind="stable")]
        best, best_gain, best_scores = -1, -np.inf, ()
        while len(waiting) and best_gain < bound[waiting[0]]:
            candidates, waiting = np.sort(waiting[:size]), waiting[size:]
            scores = yield Round(steps.with_each(candidates), steps.curves)
            if scores is None:
                return Solution(steps.curves)
            shown, hidden = np.split(scores, 2)
            gain = problem.objective.value(shown, hidden) - before
            bound[candidates] = gain
            top = int(np.argmax(gain))
            if (gain[top], -candidates[top]) > (best_gain, -best):
                best, best_gain = int(candidates[top]), float(gain[top])
                best_scores = shown[top], hidden[top]
        steps.take(best, *best_scores)
    if not steps.enough:
        steps.take_last()
    return Solution(steps.curves)
