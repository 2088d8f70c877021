"""Searches as generators: each asks for scores of sets, and many are answered at once.

A search is a generator function. It yields rounds, sets of regions to be scored, is sent their
scores, and so on, until it returns a solution:

    def search(problem):
        scores = yield Round(sets)          # Bool[b, n] -> Float32[b, t]
        ...
        return Solution(curves)

If a search has to end early, because of its budget, its time or its user, it is sent None in
place of scores: the sets of this round are not scored. It may then ask for one more round,
which is scored, and returns its partial result. The first round is always scored.

So a search does not depend on batches, devices, other images, clocks or counting.
"""

import dataclasses
import math
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.search.limits import Limits
from eagle_jax.search.sets import Curves


@checked
class Round(NamedTuple):
    """Sets that a search asks to be scored, and its progress.

    Attributes:
      sets: one row per masked image, True for a visible region.
      curves: curves of the best order so far, for progress; None before the first.
      planned: number of masked images that the whole search will score; None if unknown.
    """

    sets: Bool[np.ndarray, "b n"]
    curves: Curves | None = None
    planned: int | None = None


@checked
class Estimates(NamedTuple):
    """What follows from all scores of a search, in addition to the order.

    A Gaussian process that learns from the scores predicts those of all other sets.

    Attributes:
      values: what each region is worth to each target token: its Shapley value, in
        probability. The values of a token add up to its probability for the full image minus
        its probability for the blank image. The Shapley value of the objective F is the mean
        over the tokens times the sum of both weights, as insight and necessity have the same.
      errors: standard errors of the values.
      pairs: regions that interact most, the strongest pair first.
      interaction: gain of F by both regions of a pair together, minus the gain of each without
        the other: above 0 each needs the other, below 0 either suffices.
      gap: largest difference over the tokens between the sum to which values must add up and
        the sum as the process predicts it; the values were corrected by it.
      unseen: expected mean error of predicted probabilities of sets without a score.
    """

    values: Float32[np.ndarray, "t n"]
    errors: Float32[np.ndarray, "t n"]
    pairs: Int32[np.ndarray, "m 2"]
    interaction: Float32[np.ndarray, " m"]
    gap: float
    unseen: float


@checked
class Solution(NamedTuple):
    """What a search returns.

    Attributes:
      curves: the order, and the scores along it.
      estimates: values of the regions and interactions; None leaves them to `find_orders`.
      search: name of the search that found the order, if a search chose among others.
    """

    curves: Curves
    estimates: Estimates | None = None
    search: str | None = None


# Is sent the scores, Float32[b, t], or None if the search has to end.
Rounds = Generator[Round, Any, Solution]


@checked
@dataclasses.dataclass(frozen=True)
class Objective:
    """What a search maximises: F, the mean over target tokens of insight plus necessity.

    ``insight_weight * p(token | S visible) + necessity_weight * (1 - p(token | S hidden))``

    Attributes:
      insight_weight: weight of insight (lambda 1), the score with the regions of S alone.
      necessity_weight: weight of necessity (lambda 2), the loss of score without them.

    Raises:
      InputError: a weight is negative or not finite, or both are 0.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """

    insight_weight: float = 1.0
    necessity_weight: float = 1.0

    def __post_init__(self):
        weights = self.insight_weight, self.necessity_weight
        if not all(math.isfinite(w) and w >= 0 for w in weights) or sum(weights) == 0:
            raise InputError(
                f"insight_weight and necessity_weight are {weights[0]} and {weights[1]}; "
                "they must be 0 or more, and not both 0"
            )

    @checked
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
    """What a search has to solve.

    Attributes:
      regions: number of regions n.
      area: fraction of the image in each region.
      objective: what to maximise.
      limits: when to end early.
    """

    regions: int
    area: Float[np.ndarray, " n"]
    objective: Objective = Objective()
    limits: Limits = Limits()


class SearchResult(NamedTuple):
    """The result of a search.

    Attributes:
      curves: the order, and the scores along it.
      forwards: number of masked images that were scored.
      rounds: number of rounds, each of which needed the scores of the round before.
      search: name of the search.
      estimates: values of the regions and interactions; None for methods without a search.
      ended: why the search ended early: "budget", "seconds" or "interrupt"; None if it did not.
    """

    curves: Curves
    forwards: int
    rounds: int
    search: str
    estimates: Estimates | None = None
    ended: str | None = None


class Progress(NamedTuple):
    """Progress of the searches of some scorers.

    Attributes:
      forwards: number of masked images scored so far.
      planned: number of masked images that all searches will score; None if unknown.
      area: insertion AUC minus deletion AUC of the best orders so far, mean over the scorers;
        None until every search has an order.
      curves: curves of the best order so far of each scorer; None before the first.
    """

    forwards: int
    planned: int | None
    area: float | None
    curves: tuple[Curves | None, ...]
