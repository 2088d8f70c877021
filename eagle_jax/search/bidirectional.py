"""The published efficient search: from the first and the last region to the middle."""

import numpy as np

from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.sets import Curves, both_ways
from eagle_jax.search.steps import Steps, ends

# The published defaults: candidates for the next region, candidates for the last one, and
# steps after which all that are left are scored and sorted again.
_SCOPE, _PENDING, _REFRESH = 10, 8, 5


def bidirectional(problem: Problem) -> Rounds:
    """Orders the regions from both ends, with about a third of the exact search's forwards.

    Every few steps all regions that are left are scored and sorted by F. In between only the
    first of them compete for the next place from the front, and in every step the last of them
    for the next place from the back, where the one goes whose removal leaves F largest. The
    region left in the middle needs no score of its own.

    Differs from the published code where that fails: with one or two regions, and among equals,
    of which here the lowest number comes first.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves; cut short, those of the regions taken from the front.

    References:
      EAGLE, arXiv 2509.22496, efficient search; parameters 10, 8 and 5 of the published code.
    """
    n, value = problem.regions, problem.objective.value
    planned = _forwards(n)
    steps = Steps(problem, *(yield Round(ends(n), None, planned)))
    waiting = np.arange(n)
    # From the last region on: its number, and the scores with it and all behind it hidden,
    # then shown.
    back: list[tuple[int, np.ndarray, np.ndarray]] = []
    left = np.ones(n, bool)
    while len(waiting) > 1 and not steps.enough:
        refresh = len(steps.order) % _REFRESH == 0
        candidates = np.sort(waiting if refresh else waiting[:_SCOPE])
        sets = steps.chosen | (np.arange(n) == candidates[:, None])
        scores = yield Round(both_ways(sets), steps.curves, planned)
        if scores is None:
            return Solution(steps.curves)
        shown, hidden = np.split(scores, 2)
        gain = value(shown, hidden)
        if refresh:
            waiting = candidates[np.argsort(-gain, kind="stable")]
        best = int(np.argmax(gain))
        steps.take(int(candidates[best]), shown[best], hidden[best])
        waiting = waiting[waiting != candidates[best]]
        if not back and len(waiting) > 1:
            # The least of the first round; what was scored for it serves here as well.
            worst = int(np.searchsorted(candidates, waiting[-1]))
            back.append((candidates[worst], hidden[worst], shown[worst]))
        elif len(waiting) > _PENDING:
            candidates = np.sort(waiting[-_PENDING:])
            sets = left & (np.arange(n) != candidates[:, None])
            scores = yield Round(both_ways(sets), steps.curves, planned)
            if scores is None:
                return Solution(steps.curves)
            shown, hidden = np.split(scores, 2)
            # Turned round, so that of equals the highest number goes to the back.
            best = len(candidates) - 1 - int(np.argmax(value(shown, hidden)[::-1]))
            back.append((candidates[best], shown[best], hidden[best]))
        else:
            continue
        left[back[-1][0]] = False
        waiting = waiting[waiting != back[-1][0]]
    if steps.enough:
        return Solution(steps.curves)
    return Solution(_joined(steps, int(waiting[0]), back))


def _joined(steps: Steps, middle: int, back) -> Curves:
    front = steps.curves
    if not back:
        steps.take_last()
        return steps.curves
    order = [*front.order, middle, *(region for region, _, _ in reversed(back))]
    shown = [one for _, one, _ in reversed(back)]
    hidden = [one for _, _, one in reversed(back)]
    return Curves(
        np.array(order, np.int32),
        np.concatenate([front.insertion, shown, front.deletion[:1]]),
        np.concatenate([front.deletion, hidden, front.insertion[:1]]),
    )


def _forwards(n: int) -> int:
    """Masked images that the search scores."""
    total, left, step = 2, n, 0
    while left > 1:
        total += 2 * (left if step % _REFRESH == 0 else min(_SCOPE, left))
        left -= 1
        if step == 0:
            left -= left > 1
        elif left > _PENDING:
            total += 2 * _PENDING
            left -= 1
        step += 1
    return total
