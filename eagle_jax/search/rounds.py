"""Searches as conversations: each asks for scores of sets, and several are answered together.

A search is a generator. It yields sets of regions, is sent their scores, and so on, round by
round, until it returns the curves of the order it found:

    def search(problem):
        scores = yield sets          # Bool[b, n] -> Float32[b, t]
        ...
        return Curves(order, insertion, deletion)

So a search knows nothing of batches, devices, other images or counting.
"""

import dataclasses
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32

from eagle_jax.errors import InputError
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.lockstep import Lockstep
from eagle_jax.search.sets import Curves

Rounds = Generator[Bool[np.ndarray, "b n"], Float32[np.ndarray, "b t"], Curves]


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a search maximises: F, the mean over target tokens of insight and necessity.

    ``insight_weight * p(token | S visible) + necessity_weight * (1 - p(token | S hidden))``

    Attributes:
      insight_weight: lambda 1, of what the chosen regions suffice for.
      necessity_weight: lambda 2, of what is lost without them.

    Raises:
      InputError: a weight is negative or no number, or both are 0.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """

    insight_weight: float = 1.0
    necessity_weight: float = 1.0

    def __post_init__(self):
        weights = self.insight_weight, self.necessity_weight
        if not all(np.isfinite(w) and w >= 0 for w in weights) or sum(weights) == 0:
            raise InputError(
                f"insight_weight and necessity_weight are {weights[0]} and {weights[1]}; "
                "they must be 0 or more, and not both 0"
            )

    def value(
        self, shown: Float[np.ndarray, "*b t"], hidden: Float[np.ndarray, "*b t"]
    ) -> Float[np.ndarray, "*b"]:
        """F of sets.

        Args:
          shown: target probabilities with the set visible and nothing else.
          hidden: target probabilities with the set hidden and nothing else.
        """
        gain = self.insight_weight * shown + self.necessity_weight * (1.0 - hidden)
        return gain.mean(axis=-1)


class Problem(NamedTuple):
    """What a search is told.

    Attributes:
      regions: number of regions n.
      area: share of the image in each region.
      objective: what is sought.
    """

    regions: int
    area: Float[np.ndarray, " n"]
    objective: Objective


class Found(NamedTuple):
    """What came of a search.

    Attributes:
      curves: the order, and the scores along it.
      forwards: masked images that were scored for it.
      rounds: batches of them that had to wait for each other.
    """

    curves: Curves
    forwards: int
    rounds: int


def run_rounds(
    begin: Callable[[Problem], Rounds],
    scorers: Sequence[Scorer],
    objective: Objective,
    room: int | None = None,
    report: Callable[[int], Any] = lambda forwards: None,
) -> list[Found]:
    """Runs one search for each scorer, all of them in lockstep.

    Args:
      begin: the search.
      scorers: the set functions; those of one model and one kind share their batches, see
        `Lockstep`.
      objective: what is sought.
      room: see `Lockstep`.
      report: called after each round with the number of masked images it scored.

    Returns:
      What each search found: the same that it finds alone.
    """
    together = Lockstep(scorers, room)
    running = {i: begin(_problem(scorer, objective)) for i, scorer in enumerate(scorers)}
    asked = {i: next(search) for i, search in running.items()}
    forwards, rounds = np.zeros(len(scorers), int), np.zeros(len(scorers), int)
    found: dict[int, Found] = {}
    while asked:
        scores = together({i: np.asarray(sets, bool) for i, sets in asked.items()})
        for i, sets in tuple(asked.items()):
            forwards[i] += len(sets)
            rounds[i] += 1
            try:
                asked[i] = running[i].send(scores[i])
            except StopIteration as end:
                found[i] = Found(end.value, int(forwards[i]), int(rounds[i]))
                del asked[i]
        report(sum(map(len, scores.values())))
    return [found[i] for i in range(len(scorers))]


def _problem(scorer: Scorer, objective: Objective) -> Problem:
    n = scorer.regions
    labels = getattr(scorer, "labels", None)
    if labels is None:
        return Problem(n, np.full(n, 1 / n), objective)
    return Problem(n, np.bincount(labels.ravel(), minlength=n) / labels.size, objective)
