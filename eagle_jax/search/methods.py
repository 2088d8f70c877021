"""The table of searches, and how a search of the table, or your own, is run."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, require_choice
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.bidirectional import bidirectional
from eagle_jax.search.conversations import OpenConversation, answer_in_lockstep
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
from eagle_jax.search.sets import area_between

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
      together: number of images that programs are compiled for, see `Lockstep`.
      on_progress: called after each round.
      interrupted: called before each round; once it returns True, all searches end and return
        their partial results.

    Returns:
      For each scorer the order, the curves along it and the number of forwards.

    Raises:
      InputError: there is no search of this name, or the budget is too small.
    """
    name, begin = chosen_search(search)
    objective, limits = objective or Objective(), limits or Limits()
    problems = [_problem(scorer, objective, limits) for scorer in scorers]
    for problem in problems:
        limits.require_budget(problem.regions)
    clock = time.monotonic()
    searches = [OpenConversation(_searched(name, begin, problem)) for problem in problems]
    ended: list[str | None] = [None] * len(searches)

    def reason(search: OpenConversation[Round, Solution]) -> str | None:
        if interrupted():
            return "interrupt"
        if limits.seconds is not None and time.monotonic() - clock > limits.seconds:
            return "seconds"
        spent = search.forwards + len(search.asked.sets)
        return "budget" if limits.budget is not None and spent > limits.budget else None

    def end_early() -> None:
        for i, search in enumerate(searches):
            if search.running and search.rounds and not ended[i]:
                ended[i] = reason(search)
                if ended[i]:
                    search.answer(None)

    answer_in_lockstep(
        searches,
        scorers,
        lambda asked: asked.sets,
        together=together,
        before_round=end_early,
        after_round=lambda forwards: on_progress(_progress(problems, searches)),
    )
    return [_result(name, search, why) for search, why in zip(searches, ended, strict=True)]


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


def _result(
    name: str, search: OpenConversation[Round, Solution], ended: str | None
) -> SearchResult:
    solution = search.outcome
    assert solution is not None, "the search has ended"
    return SearchResult(
        solution.curves,
        search.forwards,
        search.rounds,
        solution.search or name,
        solution.estimates,
        ended,
    )


def _progress(
    problems: Sequence[Problem], searches: Sequence[OpenConversation[Round, Solution]]
) -> Progress:
    curves = [(search.outcome or search.asked).curves for search in searches]
    planned = [
        search.asked.planned if search.running else search.forwards for search in searches
    ]
    areas = [
        area_between(so_far, problem.area)
        for problem, so_far in zip(problems, curves, strict=True)
        if so_far is not None
    ]
    known = [count for count in planned if count is not None]
    return Progress(
        sum(search.forwards for search in searches),
        sum(known) if len(known) == len(planned) else None,
        float(np.mean(areas)) if len(areas) == len(curves) else None,
        tuple(curves),
    )


def _problem(scorer: Scorer, objective: Objective, limits: Limits) -> Problem:
    n = scorer.regions
    labels = getattr(scorer, "labels", None)
    if labels is None:
        return Problem(n, np.full(n, 1 / n), objective, limits)
    area = np.bincount(labels.ravel(), minlength=n) / labels.size
    return Problem(n, area, objective, limits)
