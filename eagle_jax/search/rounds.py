"""Searches as conversations: each asks for scores of sets, and several are answered together.

A search is a generator. It yields rounds, sets of regions to be scored, is sent their scores,
and so on, until it returns what it found:

    def search(problem):
        scores = yield Round(sets)          # Bool[b, n] -> Float32[b, t]
        ...
        return Solution(curves)

Where it has to end early, by its budget, its time or its user, it is sent None in place of
scores: what it asked for was not scored. It may then ask once more, for what it needs to
conclude, and returns what it has. The first round is always scored.

So a search knows nothing of batches, devices, other images, clocks or counting.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from threadpoolctl import ThreadpoolController

from eagle_jax.errors import InputError
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.limits import Limits
from eagle_jax.search.lockstep import Lockstep
from eagle_jax.search.sets import Curves, area_between


class Round(NamedTuple):
    """What a search asks for.

    Attributes:
      sets: True for a visible region.
      curves: the best the search has so far, for those who watch; None for nothing yet.
      planned: masked images that the whole search will have taken; None where it cannot say.
    """

    sets: Bool[np.ndarray, "b n"]
    curves: Curves | None = None
    planned: int | None = None


class Estimates(NamedTuple):
    """What a search that models the set function knows beside the order.

    Attributes:
      importance: what each region adds to F, on average over places along the order.
      uncertainty: standard error of that.
      pairs: the regions that interact most, the strongest pair first.
      interaction: what both add to F together beyond what each adds without the other: above 0
        they need each other, below 0 one does for both.
    """

    importance: Float32[np.ndarray, " n"]
    uncertainty: Float32[np.ndarray, " n"]
    pairs: Int32[np.ndarray, "m 2"]
    interaction: Float32[np.ndarray, " m"]


class Solution(NamedTuple):
    """What a search returns.

    Attributes:
      curves: the order, and the scores along it.
      estimates: of a search that models what it did not score.
      search: the search that did it, where one chose among others.
    """

    curves: Curves
    estimates: Estimates | None = None
    search: str | None = None


# Sent are the scores, Float32[b, t], or None where the search has to conclude.
Rounds = Generator[Round, Any, Solution]


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
      limits: where to end.
    """

    regions: int
    area: Float[np.ndarray, " n"]
    objective: Objective = Objective()
    limits: Limits = Limits()


class SearchResult(NamedTuple):
    """What came of a search.

    Attributes:
      curves: the order, and the scores along it.
      forwards: masked images that were scored for it.
      rounds: batches of them that had to wait for each other.
      search: the search that did it.
      estimates: of a search that models what it did not score.
      ended: what cut the search short, "budget", "seconds" or "interrupt"; None for nothing.
    """

    curves: Curves
    forwards: int
    rounds: int
    search: str
    estimates: Estimates | None = None
    ended: str | None = None


class Progress(NamedTuple):
    """How far the searches of some scorers are.

    Attributes:
      forwards: masked images scored so far.
      planned: how many it will be; None where a search cannot say.
      area: insertion AUC minus deletion AUC of what was found so far, mean over the scorers;
        None before all of them have found something.
      curves: what was found so far for each of the scorers; None for nothing yet.
    """

    forwards: int
    planned: int | None
    area: float | None
    curves: tuple[Curves | None, ...]


def run_rounds(
    name: str,
    begin: Callable[[Problem], Rounds],
    scorers: Sequence[Scorer],
    objective: Objective,
    limits: Limits,
    *,
    together: int | None = None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[SearchResult]:
    """Runs one search for each scorer, all of them in lockstep.

    Args:
      name: of the search.
      begin: the search.
      scorers: the set functions; those of one model and one kind share their batches, see
        `Lockstep`.
      objective: what is sought.
      limits: of each search; the time is that of all of them.
      together: see `Lockstep`.
      on_progress: called after each round.
      interrupted: asked before each round; once it says so, all searches conclude.

    Returns:
      What each search found: but for the limit of time the same that it finds alone.

    Raises:
      InputError: the budget is too small for the regions of a scorer.
    """
    problems = [_problem(scorer, objective, limits) for scorer in scorers]
    for problem in problems:
        limits.require_room(problem.regions)
    clock = time.monotonic()
    lockstep = Lockstep(scorers, together)
    running = [begin(problem) for problem in problems]
    asked = {i: next(search) for i, search in enumerate(running)}
    latest = list(asked.values())
    forwards, rounds = np.zeros(len(scorers), int), np.zeros(len(scorers), int)
    found: dict[int, SearchResult] = {}
    ended: dict[int, str] = {}

    def answer(i: int, scores: Float32[np.ndarray, "b t"] | None) -> None:
        try:
            # What searches compute is small: more threads would wait for each other, most of
            # all beside other work.
            with _libraries().limit(limits=1, user_api="blas"):
                asked[i] = latest[i] = running[i].send(scores)
        except StopIteration as end:
            del asked[i]
            solution = end.value
            found[i] = SearchResult(
                solution.curves,
                int(forwards[i]),
                int(rounds[i]),
                solution.search or name,
                solution.estimates,
                ended.get(i),
            )
            latest[i] = Round(latest[i].sets, solution.curves, int(forwards[i]))

    def reason(i: int) -> str | None:
        if not rounds[i] or i in ended:
            return None
        if interrupted():
            return "interrupt"
        if limits.seconds is not None and time.monotonic() - clock > limits.seconds:
            return "seconds"
        spent = forwards[i] + len(asked[i].sets)
        return "budget" if limits.budget is not None and spent > limits.budget else None

    while asked:
        for i in tuple(asked):
            if why := reason(i):
                ended[i] = why
                answer(i, None)
        if not asked:
            break
        scores = lockstep({i: np.asarray(one.sets, bool) for i, one in asked.items()})
        for i, own in scores.items():
            forwards[i] += len(own)
            rounds[i] += 1
            answer(i, own)
        on_progress(_progress(problems, latest, int(forwards.sum())))
    return [found[i] for i in range(len(scorers))]


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _progress(problems: Sequence[Problem], latest: Sequence[Round], forwards: int) -> Progress:
    planned = [one.planned for one in latest if one.planned is not None]
    areas = [
        area_between(one.curves, problem.area)
        for problem, one in zip(problems, latest, strict=True)
        if one.curves is not None
    ]
    return Progress(
        forwards,
        sum(planned) if len(planned) == len(latest) else None,
        float(np.mean(areas)) if len(areas) == len(latest) else None,
        tuple(one.curves for one in latest),
    )


def _problem(scorer: Scorer, objective: Objective, limits: Limits) -> Problem:
    n = scorer.regions
    labels = getattr(scorer, "labels", None)
    if labels is None:
        return Problem(n, np.full(n, 1 / n), objective, limits)
    area = np.bincount(labels.ravel(), minlength=n) / labels.size
    return Problem(n, area, objective, limits)
