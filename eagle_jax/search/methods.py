"""The table of searches, and how a search of the table, or your own, is run."""

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, require_choice
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.bidirectional import bidirectional
from eagle_jax.search.conversations import Conversation, answer_alone
from eagle_jax.search.exact import exact
from eagle_jax.search.lazy import lazy
from eagle_jax.search.limits import Limits
from eagle_jax.search.rounds import (
    Objective,
    Problem,
    Progress,
    Round,
    Rounds,
    SearchResult,
    Solution,
)
from eagle_jax.search.scheduler import Task, answer_together
from eagle_jax.search.sets import Curves, area_between

# A generator function: from a problem to rounds of sets, see `eagle_jax.search.rounds`.
SearchFunction = Callable[[Problem], Rounds]
DEFAULT_SEARCH = "auto"


class Search(NamedTuple):
    """A search that can be chosen by name.

    Attributes:
      begin: the generator function.
      summary: what the search does, and its number of forwards for n regions; for `--help`.
    """

    begin: SearchFunction
    summary: str


# With at most this many regions the exact search takes hardly more forwards than a surrogate.
_FEW = 16
# Forwards per region that `auto` takes on the storybook benchmark where there are more regions.
_USUAL = 8


# SciPy is slow to import, and most users of this table never search.
def _surrogate(problem: Problem) -> Rounds:
    from eagle_jax.search.surrogate import surrogate

    return surrogate(problem)


def _auto(problem: Problem) -> Rounds:
    if problem.regions <= _FEW:
        return (yield from exact(problem))._replace(search="exact")
    from eagle_jax.search.surrogate import until_trusted

    return (yield from until_trusted(problem))._replace(search="surrogate")


SEARCHES = {
    "exact": Search(exact, "tries every remaining region at every step, n (n + 1) forwards"),
    "bidirectional": Search(
        bidirectional,
        "the published shortcut, which chooses the most and the least important region at each "
        "step, about a third of the forwards of exact",
    ),
    "lazy": Search(
        lazy, "tries only regions whose earlier gains say that they may be the best"
    ),
    "surrogate": Search(
        _surrogate,
        "fits a model to the scores and checks its predictions, at most 6.5 n forwards",
    ),
    "auto": Search(
        _auto,
        f"exact for at most {_FEW} regions, otherwise the surrogate until its predictions "
        "come true",
    ),
}


@checked
def find_orders(
    scorers: Sequence[Scorer],
    search: str | SearchFunction = DEFAULT_SEARCH,
    *,
    objective: Objective | None = None,
    limits: Limits | None = None,
    together: int | None = None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[SearchResult]:
    """Searches for the order in which the regions of each image matter.

    Args:
      scorers: set functions, one for each image: `Case.scorer`, or any `eagle_jax.Scorer`.
      search: a name of `SEARCHES`, or a search of your own: a generator function that takes a
        `Problem`, yields `Round`s of sets, is sent their scores and returns a `Solution`.
      objective: what an order should maximise; None for both weights 1.
      limits: when a search ends early; None for no limits.
      together: number of images that are searched at once, and for which programs are
        compiled; None for all.
      on_progress: called after each round of each search, never twice at the same time.
      interrupted: called before each round; once it returns True, all searches end and return
        their partial results.

    Returns:
      For each scorer the order, the curves along it and the number of forwards.

    Raises:
      InputError: there is no search of this name, or the budget is too small.
    """
    objective, limits = objective or Objective(), limits or Limits()
    lock = threading.Lock()

    def after_round() -> None:
        with lock:
            on_progress(progress_of(searches))

    searches = [
        SearchInProgress(scorer, search, objective, limits, after_round, interrupted)
        for scorer in scorers
    ]
    if len(searches) == 1:
        answer_alone(scorers[0], searches[0].conversation())
    else:
        begins = [
            functools.partial(Task, scorer, search.conversation())
            for scorer, search in zip(scorers, searches, strict=True)
        ]
        answer_together(begins, together or max(1, len(begins)))
    return [search.result for search in searches]


class SearchInProgress:
    """A search, what it has scored and why it ended.

    Attributes:
      problem: the problem of the search.
      latest: the last round that the search asked for, or its solution.
      forwards: number of masked images scored for it.
      rounds: number of times that it was sent scores.
      ended: why it ended early; None if it did not.
    """

    def __init__(
        self,
        scorer: Scorer,
        search: str | SearchFunction,
        objective: Objective,
        limits: Limits,
        after_round: Callable[[], Any] = lambda: None,
        interrupted: Callable[[], bool] = lambda: False,
    ):
        """Chooses a search, which begins with its conversation.

        Args:
          scorer: set function whose regions are ordered.
          search: name of a search, or a search of your own, as in `find_orders`.
          objective: what the order should maximise.
          limits: when the search ends early.
          after_round: called after each round.
          interrupted: called before each round; once it returns True, the search ends.

        Raises:
          InputError: there is no search of this name, or the budget is too small.
        """
        self._name, self._begin = chosen_search(search)
        self._after_round, self._interrupted = after_round, interrupted
        self.problem = _problem(scorer, objective, limits)
        limits.require_budget(self.problem.regions)
        self.latest: Round | Solution | None = None
        self.forwards = self.rounds = 0
        self.ended: str | None = None

    def conversation(self) -> Conversation[SearchResult]:
        """Asks for the scores of each round, and returns the result."""
        from eagle_jax.search.estimates import with_estimates

        clock, rounds = time.monotonic(), _searched(self._name, self._begin, self.problem)
        rounds = with_estimates(rounds, self.problem)
        scores = None
        while True:
            asked = None
            try:
                self.latest = asked = rounds.send(scores)
            except StopIteration as end:
                self.latest = end.value
            if scores is not None:
                self._after_round()
            if asked is None:
                return self.result
            if self.rounds and not self.ended:
                self.ended = self._reason(len(asked.sets), clock)
                if self.ended:
                    scores = None
                    continue
            scores = yield asked.sets
            self.forwards += len(scores)
            self.rounds += 1

    def _reason(self, sets: int, clock: float) -> str | None:
        limits = self.problem.limits
        if self._interrupted():
            return "interrupt"
        if limits.seconds is not None and time.monotonic() - clock > limits.seconds:
            return "seconds"
        over = limits.budget is not None and self.forwards + sets > limits.budget
        return "budget" if over else None

    @property
    def result(self) -> SearchResult:
        """The result of a search whose conversation has ended."""
        solution = self.latest
        assert isinstance(solution, Solution), "the search has ended"
        return SearchResult(
            solution.curves,
            self.forwards,
            self.rounds,
            solution.search or self._name,
            solution.estimates,
            self.ended,
        )

    @property
    def planned(self) -> int | None:
        """Number of masked images that the whole search will score; None if unknown."""
        if isinstance(self.latest, Solution):
            return self.forwards
        return None if self.latest is None else self.latest.planned

    @property
    def curves(self) -> Curves | None:
        """Curves of the best order so far; None before the first."""
        return None if self.latest is None else self.latest.curves


def usual_forwards(regions: int) -> int:
    """Estimates the number of forwards of the default search, from the storybook benchmark.

    An image where the model's scores are harder to predict takes more, see docs/searches.md.

    Args:
      regions: number of regions.
    """
    return regions * (regions + 1 if regions <= _FEW else _USUAL)


def chosen_search(search: str | SearchFunction) -> tuple[str, SearchFunction]:
    """The name of a search, and its generator function.

    Args:
      search: a name of `SEARCHES`, or a generator function, whose name is its `__name__`.

    Raises:
      InputError: there is no search of this name; the message lists the names.
    """
    if callable(search):
        return name_of(search), search
    require_choice("search", search, SEARCHES)
    return search, SEARCHES[search].begin


def name_of(function: Callable[..., Any]) -> str:
    """The name under which results record a search or method of a user's own."""
    return getattr(function, "__name__", type(function).__name__)


def _searched(name: str, begin: SearchFunction, problem: Problem) -> Rounds:
    """The rounds of a search, which may be a user's own."""
    rounds = begin(problem)
    if not hasattr(rounds, "send"):
        raise InputError(
            f"search {name} returned {type(rounds).__name__}; it must be a generator function, "
            "which yields rounds"
        )
    try:
        asked = next(rounds)
        while True:
            if not isinstance(asked, Round):
                raise InputError(
                    f"search {name} yielded {type(asked).__name__}; it must yield Round(sets)"
                )
            asked = rounds.send((yield asked))
    except StopIteration as end:
        if not isinstance(end.value, Solution):
            raise InputError(
                f"search {name} ended with {type(end.value).__name__}; it must return "
                "Solution(curves)"
            ) from None
        return end.value


def progress_of(searches: Sequence[SearchInProgress]) -> Progress:
    """How far some searches have come together."""
    curves = tuple(search.curves for search in searches)
    planned = [search.planned for search in searches]
    areas = [
        area_between(so_far, search.problem.area)
        for search, so_far in zip(searches, curves, strict=True)
        if so_far is not None
    ]
    known = [count for count in planned if count is not None]
    return Progress(
        sum(search.forwards for search in searches),
        sum(known) if len(known) == len(planned) else None,
        float(np.mean(areas)) if len(areas) == len(curves) else None,
        curves,
    )


def _problem(scorer: Scorer, objective: Objective, limits: Limits) -> Problem:
    n = scorer.regions
    labels = getattr(scorer, "labels", None)
    if labels is None:
        return Problem(n, np.full(n, 1 / n), objective, limits)
    area = np.bincount(labels.ravel(), minlength=n) / labels.size
    return Problem(n, area, objective, limits)
