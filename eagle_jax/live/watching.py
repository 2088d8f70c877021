"""A search while it runs: what it has found so far, and a way to end it."""

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from eagle_jax.scoring.scorer import MaskedImageScorer
from eagle_jax.search import Curves, Objective


class Cancelled(Exception):
    """The search was ended before it was done."""


class WatchedScorer(MaskedImageScorer):
    """The set function of a case, which tells what a search asks of it, and can be cut off."""

    def __init__(
        self,
        scorer: MaskedImageScorer,
        watch: Callable[[Bool[np.ndarray, "b n"], Float32[np.ndarray, "b t"]], Any],
        cancelled: Event,
    ):
        """Watches a set function.

        Args:
          scorer: the set function.
          watch: called after each round with the sets and their scores.
          cancelled: makes the next round end in `Cancelled` when it is set.
        """
        # The same question with the same batches: nothing of it is worked out again.
        vars(self).update(vars(scorer))
        self._watch, self._cancelled = watch, cancelled

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """The scores of the set function.

        Raises:
          Cancelled: the search was cancelled.
        """
        if self._cancelled.is_set():
            raise Cancelled
        scores = super().__call__(visible)
        self._watch(visible, scores)
        return scores


class Growth:
    """What a search holds so far, told from the sets that it asks for.

    Greedy searches ask for the regions taken so far and one more, together with the
    complements, and go on with the best of these sets. Of a search that asks otherwise only
    the forwards are counted.

    Attributes:
      forwards: masked images scored so far.
    """

    def __init__(self, objective: Objective, regions: int, ends: Float32[np.ndarray, "2 t"]):
        """Begins with nothing taken.

        Args:
          objective: what the search seeks.
          regions: number of regions n.
          ends: scores of the blank and of the whole picture.
        """
        self.forwards = 0
        self._objective = objective
        self._taken = np.zeros(regions, bool)
        self._order: list[int] = []
        self._shown, self._hidden = [ends[0]], [ends[1]]

    @property
    def curves(self) -> Curves:
        """The order so far, and the scores along it."""
        order = np.array(self._order, np.int32)
        return Curves(order, np.stack(self._shown), np.stack(self._hidden))

    def add(self, visible: Bool[np.ndarray, "b n"], scores: Float32[np.ndarray, "b t"]) -> None:
        """Takes in a round.

        Args:
          visible: the sets that the search asked for.
          scores: what it was told.
        """
        self.forwards += len(visible)
        row = {one.tobytes(): i for i, one in enumerate(visible)}
        wanted = self._taken.sum() + 1
        pairs = [
            (i, row[rest])
            for i, one in enumerate(visible)
            if one.sum() == wanted and one[self._taken].all()
            if (rest := (~one).tobytes()) in row
        ]
        if not pairs:
            return
        shown, hidden = np.array(pairs).T
        best = int(np.argmax(self._objective.value(scores[shown], scores[hidden])))
        chosen, rest = pairs[best]
        self._order.append(int(np.flatnonzero(visible[chosen] & ~self._taken)[0]))
        self._taken = visible[chosen].copy()
        self._shown.append(scores[chosen])
        self._hidden.append(scores[rest])
