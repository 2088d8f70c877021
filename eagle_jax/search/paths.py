"""Orders of regions that a Gaussian process expects to be good, found without scoring."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.rounds import Objective
from eagle_jax.search.sets import both_ways, prefixes

# Smallest gain of the area that is worth a move.
_LEAST = 1e-5


class Surface:
    """The expected objective of a process, fast for sets that differ in one region.

    Adding or removing a region of relevance r multiplies the similarity of a set to a scored
    set by exp(-r) if both agreed in this region, else by exp(r): cosh(r) -+ sinh(r). So one
    matrix product of a set's similarities gives the predictions for all of its neighbours.
    """

    def __init__(self, process: SetProcess, objective: Objective):
        """Prepares the products.

        Args:
          process: process that has learned from the scores.
          objective: what to maximise.
        """
        self.process, self.objective = process, objective
        # Single precision: its error is far below the smallest gain that is worth a move.
        mean, alone = process.linear
        relevance = process.relevance.astype(np.float32)
        signs = process.signs.astype(np.float32)
        self._mean, self._alone = mean.astype(np.float32), alone.astype(np.float32)
        self._twice_alone = 2 * self._alone.T
        self._weights = process.weights.T.astype(np.float32)
        self._regions = (signs * relevance).T / 2
        self._whole = relevance.sum() / 2
        # The last column sums the similarities without weights.
        ones = np.ones((len(signs), 1), np.float32)
        self._scored = np.hstack([signs * np.sinh(relevance), ones])
        self._cosh = np.cosh(relevance)

    def around(
        self, sets: Bool[np.ndarray, "b n"]
    ) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, "b n"]]:
        """Expected F of sets and of all their neighbours.

        Args:
          sets: True for a region in the set.

        Returns:
          F of the sets, and F of the sets with one region removed, or added if it was not in
          the set, for each region.
        """
        scores = self.scores(to_signs(both_ways(sets)).astype(np.float32))
        value = self.objective.value(*np.split(scores, 2))
        return value[:, -1], value[:, :-1]

    def scores(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b k t"]:
        """Expected probabilities of sets and of all their neighbours.

        Args:
          signs: 1 for a visible and -1 for a hidden region, float32.

        Returns:
          For each of the n regions the probabilities with this region toggled, then those of
          the set itself: k is n + 1.
        """
        (b, n), tokens = signs.shape, len(self._weights)
        alike = np.exp(signs @ self._regions - self._whole)
        weighted = (alike[:, None] * self._weights).reshape(b * tokens, -1)
        parts = (weighted @ self._scored).reshape(b, tokens, n + 1)
        same = parts[:, :, -1:]
        linear = (signs @ self._alone + self._mean)[:, :, None]
        turned = parts[:, :, :-1] + self._twice_alone
        logits = np.empty_like(parts)
        logits[:, :, :-1] = self._cosh * same - signs[:, None] * turned + linear
        logits[:, :, -1:] = same + linear
        return expit(logits).swapaxes(1, 2)

    def along(self, order: Int[np.ndarray, " n"]) -> "Along":
        """Expected F of the sets along an order, and of their neighbours."""
        sets = prefixes(order)
        return Along(order, sets, *self.around(sets))

    def greedy(self, first: tuple[int, ...] = ()) -> "Along":
        """The order that takes the best region at each step.

        Args:
          first: regions that the order has to begin with.
        """
        n = len(self._alone)
        chosen, order, seen = np.zeros(n, bool), [*first], []
        for k in range(n + 1):
            seen.append(self.around(chosen[None]))
            if k == len(order) < n:
                order.append(int(np.argmax(np.where(chosen, -np.inf, seen[-1][1][0]))))
            chosen[order[: k + 1]] = True
        value, toggled = map(np.concatenate, zip(*seen, strict=True))
        order = np.array(order)
        return Along(order, prefixes(order), value, toggled)

    def improved(
        self,
        begins: Sequence["Along"],
        area: Float[np.ndarray, " n"],
        passes: int,
        fixed: int = 0,
    ) -> tuple[Int[np.ndarray, " n"], float]:
        """Moves regions of the best of some orders as long as the area under F grows.

        A greedy order looks only one step ahead. Here all moves of one region are compared by
        the whole area, and the best moves that do not overlap are made together.

        Args:
          begins: orders, of which the best is improved.
          area: fraction of the image in each region.
          passes: maximum number of passes over all moves.
          fixed: number of leading regions that are not moved.

        Returns:
          The order, and the area under F along it.
        """
        known = max(begins, key=lambda along: along.area(area))
        for _ in range(passes):
            gain = _move_gains(known, area[known.order])
            gain[:fixed], gain[:, :fixed] = -np.inf, -np.inf
            moves = _apart(gain)
            if not moves:
                break
            moved = self._moved(known, moves)
            if len(moves) > 1:
                # All moves together may gain less than the best move alone.
                if moved.area(area) < known.area(area) + gain[moves[0]]:
                    moved = self._moved(known, moves[:1])
            known = moved
        return known.order, known.area(area)

    def _moved(self, known: "Along", moves) -> "Along":
        order = known.order
        for i, j in moves:
            order = np.insert(np.delete(order, i), j, order[i])
        sets, value, toggled = prefixes(order), known.value.copy(), known.toggled.copy()
        changed = (sets != known.sets).any(1)
        value[changed], toggled[changed] = self.around(sets[changed])
        return Along(order, sets, value, toggled)


class Along(NamedTuple):
    """An order, and the F that a process expects along it.

    Attributes:
      order: all regions; the number of prefixes k is n + 1.
      sets: the prefixes of the order, from no region to all regions.
      value: F of the prefixes.
      toggled: F of each prefix with each region removed, or added if it was not in the prefix.
    """

    order: Int[np.ndarray, " n"]
    sets: Bool[np.ndarray, "k n"]
    value: Float[np.ndarray, " k"]
    toggled: Float[np.ndarray, "k n"]

    def area(self, area: Float[np.ndarray, " n"]) -> float:
        """The area under F; the width of a region is its fraction of the image."""
        return area_under(self.value, area[self.order])


def least_certain(
    process: SetProcess, sets: Bool[np.ndarray, "b n"], count: int
) -> Int[np.ndarray, " count"]:
    """Chooses the sets whose scores would say most about all sets, one after the other.

    Args:
      process: process that has learned from the scores.
      sets: sets to choose from.
      count: number of sets to choose.

    Returns:
      Row numbers. Given the scores of the sets before it, each set reduces the sum over all
      sets of the variance of their probabilities most.
    """
    signs = to_signs(sets)
    p = expit(process.logits(signs))
    matters = ((p * (1 - p)) ** 2 * process.variance).mean(1)
    unknown = process.covariance(signs)
    chosen: list[int] = []
    for _ in range(count):
        spread = np.maximum(np.diag(unknown), 0) + process.noise
        gain = matters @ unknown**2 / spread
        gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
        known = unknown[chosen[-1]] / np.sqrt(spread[chosen[-1]])
        unknown = unknown - np.outer(known, known)
    return np.array(chosen)


def area_under(value: Float[np.ndarray, " k"], fraction: Float[np.ndarray, " n"]) -> float:
    """The area under F along an order.

    Args:
      value: F of the first i regions, for i = 0 to n.
      fraction: fraction of the image in each region, in the order of the regions.
    """
    return float(((value[1:] + value[:-1]) / 2) @ fraction)


def _move_gains(known: Along, fraction: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n n"]:
    """Gain of the area under F if the region at place i of an order moves to place j.

    The move changes only the sets between the two places. Moved later, region i is missing
    from them: F follows the toggled values over regions i + 1 to j, and region i itself spans
    the step from the toggled value behind j back to the order's value there:

        order   ... i  i+1  ...  j  ...       values at places i to j + 1
        moved   ... i+1  ...  j  i  ...       toggled i + 1 to j + 1, then value j + 1

    Moved earlier, region i is added to the sets between, and spans the step from the value at
    place j to the toggled value there. The gain is the new area between the places minus the
    old area.
    """
    n, value, toggled = len(fraction), known.value, known.toggled[:, known.order]
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    # Areas from the first place to each place: for the order, and with region i toggled.
    area = _running_area(value[:, None], fraction)[:, 0]
    toggled_area = _running_area(toggled, fraction).T
    toggled = toggled.T
    later = toggled_area[:, 1:] - toggled_area[i, i + 1]
    later += (toggled[:, 1:] + value[1:]) / 2 * fraction[:, None]
    later -= area[1:] - area[:-1, None]
    earlier = toggled_area[i, i] - toggled_area[:, :-1]
    earlier += (toggled[:, :-1] + value[:-1]) / 2 * fraction[:, None]
    earlier -= area[1:, None] - area[:-1]
    return np.where(j > i, later, np.where(j < i, earlier, -np.inf))


def _running_area(values, fraction) -> np.ndarray:
    parts = (values[1:] + values[:-1]) / 2 * fraction[:, None]
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(parts, 0)])


def _apart(gain) -> list[tuple[int, int]]:
    """The best moves whose ranges of places do not overlap."""
    places = np.arange(len(gain))
    first, last = np.minimum.outer(places, places), np.maximum.outer(places, places)
    moves = []
    while gain.max() > _LEAST:
        i, j = divmod(int(np.argmax(gain)), len(gain))
        moves.append((i, j))
        gain = np.where((first <= max(i, j)) & (last >= min(i, j)), -np.inf, gain)
    return moves
