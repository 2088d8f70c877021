"""A search while it runs: what it has found so far, and a way to end it."""

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.rounds import Objective
from eagle_jax.search.sets import Curves


class Cancelled(Exception):
    """The search was ended before it was done."""


class WatchedScorer:
    """A set function that tells how far the search that asks it has come.

    Searches ask for sets together with their complements, and go on with the best of them.
    So the best set of a round that holds all regions taken before is what the search holds
    now, whichever search it is; one that asks otherwise is only counted.

    Attributes:
      labels: the region of every pixel, None where the scorer does not say.
      regions: number of regions.
      forwards: masked images scored so far.
    """

    def __init__(
        self,
        scorer: Scorer,
        objective: Objective,
        ends: Float32[np.ndarray, "2 t"],
        tell: Callable[[Curves, int], Any],
        cancelled: Event,
    ):
        """Watches a search.

        Args:
          scorer: the set function.
          objective: what the search seeks.
          ends: scores of the blank and of the whole picture.
          tell: called after each round with the curves so far and the number of masked
            images.
          cancelled: ends the search at its next round when it is set.
        """
        self.labels = getattr(scorer, "labels", None)
        self.regions = scorer.regions
        self.forwards = 0
        self._scorer, self._objective = scorer, objective
        self._tell, self._cancelled = tell, cancelled
        self._taken = np.zeros(scorer.regions, bool)
        self._order: list[int] = []
        self._shown, self._hidden = [ends[0]], [ends[1]]

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """The scores of the set function.

        Raises:
          Cancelled: the search was cancelled.
        """
        if self._cancelled.is_set():
            raise Cancelled
        scores = self._scorer(visible)
        self.forwards += len(visible)
        self._take_best(visible, scores)
        curves = Curves(
            np.array(self._order, np.int32), np.stack(self._shown), np.stack(self._hidden)
        )
        self._tell(curves, self.forwards)
        return scores

    def _take_best(self, visible: np.ndarray, scores: np.ndarray) -> None:
        row = {one.tobytes(): i for i, one in enumerate(visible)}
        pairs = [
            (i, row[rest])
            for i, one in enumerate(visible)
            if one[self._taken].all() and one.sum() > self._taken.sum()
            if (rest := (~one).tobytes()) in row
        ]
        if not pairs:
            return
        fewest = min(visible[i].sum() for i, _ in pairs)
        pairs = [(i, j) for i, j in pairs if visible[i].sum() == fewest]
        shown, hidden = np.array(pairs).T
        best = int(np.argmax(self._objective.value(scores[shown], scores[hidden])))
        chosen, rest = pairs[best]
        new = np.flatnonzero(visible[chosen] & ~self._taken)
        self._taken = visible[chosen].copy()
        # Regions that are taken together share the scores of their set.
        for region in new:
            self._order.append(int(region))
            self._shown.append(scores[chosen])
            self._hidden.append(scores[rest])
