"""Sets of regions that were scored, none twice."""

import numpy as np
from jaxtyping import Bool, Float32, Int

from eagle_jax.search.sets import Curves, both_ways, prefixes


class ScoredSets:
    """Remembers the scores of sets.

    Attributes:
      sets: all of them, in the order in which they were scored.
      scores: theirs.
    """

    def __init__(self, sets: Bool[np.ndarray, "m n"], scores: Float32[np.ndarray, "m t"]):
        """Begins with some.

        Args:
          sets: no two the same.
          scores: theirs.
        """
        self.sets, self.scores = sets, scores
        self._rows = {one.tobytes(): row for row, one in enumerate(sets)}

    def __len__(self) -> int:
        return len(self.sets)

    def missing(self, sets: Bool[np.ndarray, "b n"]) -> Bool[np.ndarray, "_ n"]:
        """Those that have no score yet, each once."""
        fresh = {one.tobytes(): one for one in sets}
        return np.array(
            [one for key, one in fresh.items() if key not in self._rows], bool
        ).reshape(-1, sets.shape[1])

    def add(self, sets: Bool[np.ndarray, "b n"], scores: Float32[np.ndarray, "b t"]) -> None:
        """Remembers more.

        Args:
          sets: of `missing`.
          scores: theirs.
        """
        self._rows |= {one.tobytes(): row for row, one in enumerate(sets, len(self.sets))}
        self.sets = np.concatenate([self.sets, sets])
        self.scores = np.concatenate([self.scores, scores])

    def of(self, sets: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """The scores of sets of which none is missing."""
        return self.scores[[self._rows[one.tobytes()] for one in sets]]

    def curves(self, order: Int[np.ndarray, " n"]) -> Curves:
        """The curves along an order of which no set is missing."""
        scores = self.of(both_ways(prefixes(order)))
        return Curves(order.astype(np.int32), *np.split(scores, 2))
