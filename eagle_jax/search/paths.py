"""Orders of regions that a Gaussian process thinks good, found without scoring anything."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.rounds import Objective
from eagle_jax.search.sets import prefixes

# Changes of the area that are rounding.
_LEAST = 1e-7


class Surface:
    """The objective as a process expects it, quickly for sets that differ in one region.

    One region more or less multiplies the similarity to each scored set by one of two numbers,
    and adds its own effect to the rest: a thousand neighbours of a set cost one matrix product.
    """

    def __init__(self, process: SetProcess, objective: Objective):
        """Prepares the products.

        Args:
          process: that knows the scores.
          objective: what is sought.
        """
        self.process, self.objective = process, objective
        self._alone = 2 * process.slope[:, None] * (process.signs.T @ process.weights)
        self._shown = np.exp(process.relevance[:, None] * process.signs.T)
        self._hidden = 1 / self._shown

    def greedy(self, first: tuple[int, ...] = ()) -> Int[np.ndarray, " n"]:
        """The order that takes the best region at each step.

        Args:
          first: regions it has to begin with.
        """
        n = len(self._alone)
        ends = np.stack([-np.ones(n), np.ones(n)])
        similar = self.process.similarity(ends, self.process.signs)
        linear = self.process.logits(ends) - similar @ self.process.weights
        order, left = [], np.arange(n)
        for step in range(n):
            if step < len(first):
                best = first[step]
            else:
                shown = self._shown[left] @ (similar[0, :, None] * self.process.weights)
                hidden = self._hidden[left] @ (similar[1, :, None] * self.process.weights)
                shown += linear[0] + self._alone[left]
                hidden += linear[1] - self._alone[left]
                value = self.objective.value(expit(shown), expit(hidden))
                best = int(left[np.argmax(value)])
            order.append(best)
            left = left[left != best]
            similar *= np.stack([self._shown[best], self._hidden[best]])
            linear += np.stack([self._alone[best], -self._alone[best]])
        return np.array(order)

    def values(self, order: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n+1"]:
        """F of the first k regions of an order, k = 0 to n."""
        signs = to_signs(prefixes(order))
        scores = expit(self.process.logits(np.concatenate([signs, -signs])))
        return self.objective.value(*np.split(scores, 2))

    def toggled(self, order: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n+1 n"]:
        """F of the first k regions with region order[i] taken out or, if not in, added."""
        signs = to_signs(prefixes(order))
        inside = np.arange(len(order)) < np.arange(len(order) + 1)[:, None]
        shown = self._with_one_changed(signs, inside, order)
        hidden = self._with_one_changed(-signs, ~inside, order)
        return self.objective.value(shown, hidden)

    def _with_one_changed(self, signs, visible, order) -> np.ndarray:
        process = self.process
        similar = process.similarity(signs, process.signs)
        linear = process.logits(signs) - similar @ process.weights
        # Tokens first, so that each is one product of matrices.
        similar = similar * process.weights.T[:, None, :]
        alone = self._alone[order].T[:, None, :]
        linear = linear.T[:, :, None]
        added = similar @ self._shown[order].T + linear + alone
        removed = similar @ self._hidden[order].T + linear - alone
        return expit(np.where(visible, removed, added)).transpose(1, 2, 0)

    def improved(
        self,
        order: Int[np.ndarray, " n"],
        area: Float[np.ndarray, " n"],
        passes: int,
        fixed: int = 0,
    ) -> Int[np.ndarray, " n"]:
        """Moves regions to other places of an order while the area under F grows.

        A greedy order is myopic: it takes what is best now. Here all moves of one region are
        compared by the whole area, and the best ones that do not overlap are made together.

        Args:
          order: where to begin.
          area: share of the image in each region.
          passes: most rounds of moves.
          fixed: number of leading regions that stay.
        """
        for _ in range(passes):
            gain = self._move_gains(order, area)
            gain[:fixed], gain[:, :fixed] = -np.inf, -np.inf
            moves = _apart(gain)
            if not moves:
                break
            moved = order
            for move in moves:
                moved = _moved(moved, *move)
            if len(moves) > 1:
                # Together they may do less than the best of them alone.
                before, after = (
                    area_under(self.values(one), area[one]) for one in (order, moved)
                )
                if after < before + gain[moves[0]]:
                    moved = _moved(order, *moves[0])
            order = moved
        return order

    def _move_gains(self, order, area) -> np.ndarray:
        """What the area under F gains when region i of an order goes to place j."""
        n, share = len(order), area[order]
        value, toggled = self.values(order), self.toggled(order)
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


def _running(values, share) -> np.ndarray:
    parts = (values[1:] + values[:-1]) / 2 * share[:, None]
    return np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(parts, 0)])


def _apart(gain) -> list[tuple[int, int]]:
    """The best moves that do not touch each other's places."""
    n = len(gain)
    taken, moves = np.zeros(n, bool), []
    for place in np.argsort(-gain, axis=None)[: 4 * n]:
        i, j = divmod(int(place), n)
        if gain[i, j] <= _LEAST:
            break
        between = slice(min(i, j), max(i, j) + 1)
        if not taken[between].any():
            taken[between] = True
            moves.append((i, j))
    return moves


def _moved(order, i: int, j: int) -> np.ndarray:
    return np.insert(np.delete(order, i), j, order[i])
