"""An order that grows from its first region on, for searches that go step by step."""

import numpy as np
from jaxtyping import Bool, Float32, Int

from eagle_jax.search.rounds import Problem
from eagle_jax.search.sets import Curves, both_ways


class Steps:
    """The regions taken so far, and the scores along them.

    Attributes:
      order: region numbers, most important first.
      chosen: True for each region taken so far.
    """

    def __init__(
        self,
        problem: Problem,
        blank: Float32[np.ndarray, " t"],
        full: Float32[np.ndarray, " t"],
    ):
        """Begins with no region.

        Args:
          problem: the problem of the search.
          blank: scores of the blank image.
          full: scores of the full image.
        """
        self._problem = problem
        self._insertion, self._deletion = [blank], [full]
        self.order: list[int] = []
        self.chosen = np.zeros(problem.regions, bool)

    def take(
        self,
        region: int,
        shown: Float32[np.ndarray, " t"],
        hidden: Float32[np.ndarray, " t"],
    ) -> None:
        """Adds a region.

        Args:
          region: number of the region.
          shown: scores with this region and all regions before it visible.
          hidden: scores with this region and all regions before it hidden.
        """
        self.order.append(region)
        self.chosen[region] = True
        self._insertion.append(shown)
        self._deletion.append(hidden)

    def with_each(self, candidates: Int[np.ndarray, " c"]) -> Bool[np.ndarray, "_ n"]:
        """The regions taken so far with each candidate: all sets visible, then all hidden."""
        each = np.arange(self._problem.regions) == candidates[:, None]
        return both_ways(self.chosen | each)

    def take_best(
        self, candidates: Int[np.ndarray, " c"], scores: Float32[np.ndarray, "_ t"]
    ) -> None:
        """Adds the candidate with the largest F; of equal values, the first candidate.

        Args:
          candidates: region numbers.
          scores: scores of the sets of `with_each`.
        """
        shown, hidden = np.split(scores, 2)
        best = int(np.argmax(self._problem.objective.value(shown, hidden)))
        self.take(int(candidates[best]), shown[best], hidden[best])

    def take_last(self) -> None:
        """Adds the only region left, with the scores of the full and the blank image."""
        (last,) = np.flatnonzero(~self.chosen)
        self.take(int(last), self._deletion[0], self._insertion[0])

    @property
    def left(self) -> int:
        """Number of regions that are not taken yet."""
        return self._problem.regions - len(self.order)

    @property
    def enough(self) -> bool:
        """Whether the limits ask for no more regions."""
        limits = self._problem.limits
        if limits.top_k is not None and len(self.order) >= limits.top_k:
            return True
        if limits.stop is None or not self.order:
            return False
        return bool(self._insertion[-1].mean() >= limits.stop * self._deletion[0].mean())

    @property
    def value(self) -> float:
        """F of the regions taken so far."""
        shown, hidden = self._insertion[-1], self._deletion[-1]
        return self._problem.objective.value(shown[None], hidden[None]).item()

    @property
    def curves(self) -> Curves:
        """The scores along the regions taken so far."""
        return Curves(
            np.array(self.order, np.int32), np.stack(self._insertion), np.stack(self._deletion)
        )
