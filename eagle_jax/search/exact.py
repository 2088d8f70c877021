"""The exact greedy search: at each step, the region that raises F most."""

import numpy as np

from eagle_jax.search.rounds import Problem, Rounds
from eagle_jax.search.sets import Curves


def exact(problem: Problem) -> Rounds:
    """Orders all regions, n (n + 1) forwards in n rounds for n regions.

    Step k adds the region r that maximises F(S + r), where S are the regions taken before;
    among equals the lowest number wins.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves of all n steps.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    chosen = np.zeros(problem.regions, bool)
    order, inserted, removed = [], [], []
    while not chosen.all():
        candidates = np.flatnonzero(~chosen)
        sets = chosen | (np.arange(problem.regions) == candidates[:, None])
        scores = yield np.concatenate([sets, ~sets])
        shown, hidden = np.split(scores, 2)
        best = int(np.argmax(problem.objective.value(shown, hidden)))
        chosen[candidates[best]] = True
        order.append(candidates[best])
        inserted.append(shown[best])
        removed.append(hidden[best])
    # The last insertion shows the full image and the last deletion the blank one.
    return Curves(
        np.array(order, np.int32),
        np.stack([removed[-1], *inserted]),
        np.stack([inserted[-1], *removed]),
    )
