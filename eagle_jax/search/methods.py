"""The table of searches, and how one of them is run: a name of the table, or your own."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eagle_jax.argument_types import checked
from eagle_jax.errors import require_choice
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.bidirectional import bidirectional
from eagle_jax.search.exact import exact
from eagle_jax.search.lazy import lazy
from eagle_jax.search.limits import Limits
from eagle_jax.search.rounds import (
    Objective,
    Problem,
    Progress,
    Rounds,
    SearchResult,
    run_rounds,
)

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
    return run_rounds(
        name,
        begin,
        scorers,
        objective or Objective(),
        limits or Limits(),
        together=together,
        on_progress=on_progress,
        interrupted=interrupted,
    )


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
