"""Lazy greedy: what a region added before bounds what it can add now."""

import numpy as np

from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.sets import both_ways
from eagle_jax.search.steps import Steps, ends

# Regions scored at a time, two masked images each, and steps after which all are.
_BATCH, _REFRESH = 8, 8


def lazy(problem: Problem) -> Rounds:
    """Orders the regions one after the other, scoring only those that may be the best.

    The regions are scored from the largest gain that was last seen of them downwards, a batch
    at a time, until one gains at least as much as the next may. Where the gains fall with the
    regions taken, as those of a submodular function do, this is the exact search. Those of a
    model need not, so every few steps all gains are renewed. Among equals the lowest number
    wins.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves of the steps that were taken.

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
            sets = steps.chosen | (np.arange(n) == candidates[:, None])
            scores = yield Round(both_ways(sets), steps.curves)
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
