"""Sets of regions with their scores, without duplicates."""

import numpy as np
from jaxtyping import Bool, Float32, Int

from eagle_jax.search.sets import Curves, both_ways, prefixes


class ScoredSets:
    """Sets with their scores, by set.

    Attributes:
      sets: sets in the order in which they were scored.
      scores: target probabilities of each set.
    """

    def __init__(self, sets: Bool[np.ndarray, "m n"], scores: Float32[np.ndarray, "m t"]):
        """Begins with the first sets.

        Args:
          sets: sets without duplicates.
          scores: target probabilities of each set.
        """
        self.sets, self.scores = sets, scores
        self._rows = {visible.tobytes(): row for row, visible in enumerate(sets)}

    def __len__(self) -> int:
        return len(self.sets)

    def missing(self, sets: Bool[np.ndarray, "b n"]) -> Bool[np.ndarray, "_ n"]:
        """The sets without a score, without duplicates."""
        distinct = {visible.tobytes(): visible for visible in sets}
        missing = [visible for key, visible in distinct.items() if key not in self._rows]
        return np.array(missing, bool).reshape(-1, sets.shape[1])

    def add(self, sets: Bool[np.ndarray, "b n"], scores: Float32[np.ndarray, "b t"]) -> None:
        """Adds sets with their scores.

        Args:
          sets: sets that `missing` returned.
          scores: target probabilities of each set.
        """
        first = len(self.sets)
        self._rows |= {visible.tobytes(): row for row, visible in enumerate(sets, first)}
        self.sets = np.concatenate([self.sets, sets])
        self.scores = np.concatenate([self.scores, scores])

    def of(self, sets: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """The scores of sets that all have been scored."""
        return self.scores[[self._rows[visible.tobytes()] for visible in sets]]

    def curves(self, order: Int[np.ndarray, " n"]) -> Curves:
        """The curves along an order whose sets all have been scored."""
        scores = self.of(both_ways(prefixes(order)))
        return Curves(order.astype(np.int32), *np.split(scores, 2))
