"""Orders of regions that a Gaussian process thinks good, found without scoring anything."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.rounds import Objective
from eagle_jax.search.sets import both_ways, prefixes

# Changes of the area that are not worth a move.
_LEAST = 1e-5


class Surface:
    """The objective as a process expects it, quickly for sets that differ in one region.

    With one region more or less the similarity of a set to a scored one is multiplied by
    exp(-r) or exp(r), as the scored set agrees with the region or not: cosh(r) -+ sinh(r). So
    one product of a set's similarities with all scored sets tells of all its neighbours.
    """

    def __init__(self, process: SetProcess, objective: Objective):
        """Prepares the products.

        Args:
          process: that knows the scores.
          objective: what is sought.
        """
        self.process, self.objective = process, objective
        # Single precision, which is exact to far less than what is worth a move.
        mean, alone = process.linear
        relevance = process.relevance.astype(np.float32)
        signs = process.signs.astype(np.float32)
        self._mean, self._alone = mean.astype(np.float32), alone.astype(np.float32)
        self._twice_alone = 2 * self._alone.T
        self._weights = process.weights.T.astype(np.float32)
        self._regions = (signs * relevance).T / 2
        self._whole = relevance.sum() / 2
        # The last column sums what the others weight.
        ones = np.ones((len(signs), 1), np.float32)
        self._scored = np.hstack([signs * np.sinh(relevance), ones])
        self._cosh = np.cosh(relevance)

    def around(
        self, sets: Bool[np.ndarray, "b n"]
    ) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, "b n"]]:
        """F of sets, and of each with one region taken out or, if not in, added.

        Args:
          sets: True for a region that is in.

        Returns:
          F of the sets, and for each region of its neighbour that differs in that region.
        """
        scores = self._scores(to_signs(both_ways(sets)).astype(np.float32))
        value = self.objective.value(*np.split(scores, 2))
        return value[:, -1], value[:, :-1]

    def _scores(self, signs) -> np.ndarray:
        """Of sets with each region changed, and last of the sets themselves."""
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
        """F along an order, and around it."""
        sets = prefixes(order)
        return Along(order, sets, *self.around(sets))

    def greedy(self, first: tuple[int, ...] = ()) -> "Along":
        """The order that takes the best region at each step.

        Args:
          first: regions it has to begin with.
        """
        n = len(self._alone)
        chosen, order, seen = np.zeros(n, bool), [*first], []
        for k in range(n + 1):
            seen.append(self.around(chosen[None]))
            if k == len(order) < n:
                order.append(int(np.argmax(np.where(chosen, -np.inf, seen[-1][1][0]))))
            chosen[order[: k + 1]] = True
        value, toggled = (np.concatenate(one) for one in zip(*seen, strict=True))
        order = np.array(order)
        return Along(order, prefixes(order), value, toggled)

    def improved(
        self,
        begins: Sequence["Along"],
        area: Float[np.ndarray, " n"],
        passes: int,
        fixed: int = 0,
    ) -> tuple[Int[np.ndarray, " n"], float]:
        """Moves regions of the best of some orders while the area under F grows.

        A greedy order is myopic: it takes what is best now. Here all moves of one region are
        compared by the whole area, and the best ones that do not overlap are made together.

        Args:
          begins: orders of which the best is improved.
          area: share of the image in each region.
          passes: most rounds of moves.
          fixed: number of leading regions that stay.

        Returns:
          The order, and the area under F along it.
        """
        known = max(begins, key=lambda one: one.area(area))
        for _ in range(passes):
            gain = _move_gains(known, area[known.order])
            gain[:fixed], gain[:, :fixed] = -np.inf, -np.inf
            moves = _apart(gain)
            if not moves:
                break
            moved = self._moved(known, moves)
            if len(moves) > 1:
                # Together they may do less than the best of them alone.
                if moved.area(area) < known.area(area) + gain[moves[0]]:
                    moved = self._moved(known, moves[:1])
            known = moved
        return known.order, known.area(area)

    def _moved(self, known: "Along", moves) -> "Along":
        order = known.order
        for i, j in moves:
            order = np.insert(np.delete(order, i), j, order[i])
        sets, value, toggled = prefixes(order), known.value.copy(), known.toggled.copy()
        other = (sets != known.sets).any(1)
        value[other], toggled[other] = self.around(sets[other])
        return Along(order, sets, value, toggled)


class Along(NamedTuple):
    """An order, and what a process expects along it.

    Attributes:
      order: all regions.
      sets: its prefixes, from none to all regions.
      value: F of the prefixes.
      toggled: F of each prefix with a region taken out or, if not in, added.
    """

    order: Int[np.ndarray, " n"]
    sets: Bool[np.ndarray, "k n"]
    value: Float[np.ndarray, " k"]
    toggled: Float[np.ndarray, "k n"]

    def area(self, area: Float[np.ndarray, " n"]) -> float:
        """The area under F, each region as wide as its share of the image."""
        return area_under(self.value, area[self.order])


def least_certain(
    process: SetProcess, sets: Bool[np.ndarray, "b n"], count: int
) -> Int[np.ndarray, " count"]:
    """The sets whose scores would say most about all of them, one chosen after the other.

    Args:
      process: that knows the scores.
      sets: to choose from.
      count: how many to choose.

    Returns:
      Their numbers. Each reduces most the variance of the probabilities, summed over the sets,
      once those before it are known.
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


def area_under(value: Float[np.ndarray, " k"], share: Float[np.ndarray, " n"]) -> float:
    """The area under F along an order.

    Args:
      value: F of the first regions, from none to all n.
      share: of the image in each region, in the order.
    """
    return float(((value[1:] + value[:-1]) / 2) @ share)


def _move_gains(known: Along, share) -> np.ndarray:
    """What the area under F gains when region i of an order goes to place j."""
    n, value, toggled = len(share), known.value, known.toggled[:, known.order]
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    # Areas up to a place: of the order, and of the order with region i toggled.
    before = _running(value[:, None], share)[:, 0]
    changed = _running(toggled, share).T
    toggled = toggled.T
    later = changed[:, 1:] - changed[i, i + 1]
    later += (toggled[:, 1:] + value[1:]) / 2 * share[:, None]
    later -= before[1:] - before[:-1, None]
    earlier = changed[i, i] - changed[:, :-1]
    earlier += (toggled[:, :-1] + value[:-1]) / 2 * share[:, None]
    earlier -= before[1:, None] - before[:-1]
    return np.where(j > i, later, np.where(j < i, earlier, -np.inf))


def _running(values, share) -> np.ndarray:
    parts = (values[1:] + values[:-1]) / 2 * share[:, None]
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(parts, 0)])


def _apart(gain) -> list[tuple[int, int]]:
    """The best moves that do not touch each other's places."""
    places = np.arange(len(gain))
    first, last = np.minimum.outer(places, places), np.maximum.outer(places, places)
    moves = []
    while gain.max() > _LEAST:
        i, j = divmod(int(np.argmax(gain)), len(gain))
        moves.append((i, j))
        gain = np.where((first <= max(i, j)) & (last >= min(i, j)), -np.inf, gain)
    return moves
