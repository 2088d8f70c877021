"""The table of searches, read by `explain`, `run`, `diagnose` and the command line."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eagle_jax.errors import InputError
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


class Search(NamedTuple):
    """A search that can be chosen by name.

    Attributes:
      begin: from a problem to its rounds.
      summary: what it does and costs, for `--help`.
      loss: per cent of insertion less deletion AUC that it loses against exact on the storybook
        benchmark, see docs/searches.md; below 0 it is better. None where nothing was measured.
    """

    begin: Callable[[Problem], Rounds]
    summary: str
    loss: float | None = None


# With so few regions the exact search takes hardly more than a surrogate would.
_FEW = 16
# Masked images a region that `auto` takes on the storybook benchmark where there are more.
_USUAL = 8


# SciPy is slow to import, and most of what knows this table never searches.
def _surrogate(problem: Problem) -> Rounds:
    from eagle_jax.search.surrogate import surrogate

    return surrogate(problem)


def _auto(problem: Problem) -> Rounds:
    if problem.regions <= _FEW:
        return (yield from exact(problem))._replace(search="exact")
    from eagle_jax.search.surrogate import until_trusted

    return (yield from until_trusted(problem))._replace(search="surrogate")


SEARCHES = {
    "exact": Search(exact, "every region at every step: n (n + 1) forwards", 0.0),
    "bidirectional": Search(
        bidirectional, "the published shortcut, from both ends: about a third of exact's", 1.49
    ),
    "lazy": Search(lazy, "only regions that may be the best, by what they gained before", 1.55),
    "surrogate": Search(
        _surrogate,
        "a model of the model, corrected where it is wrong: 6.5 n forwards at most",
        0.48,
    ),
    "auto": Search(
        _auto,
        "exact for few regions, else the surrogate until what it foresees comes true",
        -0.99,
    ),
}


def find_orders(
    scorers: Sequence[Scorer],
    search: str = "exact",
    *,
    objective: Objective | None = None,
    limits: Limits | None = None,
    together: int | None = None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[SearchResult]:
    """Searches for the order in which the regions of each image matter.

    Args:
      scorers: the set functions, `Case.scorer` or any callables like it; one is a list of one.
      search: name of the search.
      objective: what is sought; None for both weights 1.
      limits: where to end; None for no limits.
      together: number of images that programs are compiled for, see `Lockstep`.
      on_progress: called after each round.
      interrupted: asked before each round; once it says so, all searches conclude with what
        they have.

    Returns:
      For each scorer the order, the curves along it and what they cost.

    Raises:
      InputError: there is no such search, or its budget is too small.
    """
    return run_rounds(
        search,
        chosen_search(search).begin,
        scorers,
        objective or Objective(),
        limits or Limits(),
        together=together,
        on_progress=on_progress,
        interrupted=interrupted,
    )


def usual_forwards(regions: int) -> int:
    """Masked images that the default search takes, about, as on the storybook benchmark.

    What a model does that is harder to foresee takes more, see docs/searches.md.

    Args:
      regions: number of regions.
    """
    return regions * (regions + 1 if regions <= _FEW else _USUAL)


def chosen_search(name: str) -> Search:
    """The search of a name.

    Raises:
      InputError: there is none; the message lists those that there are.
    """
    if name not in SEARCHES:
        raise InputError(f"search is {name!r}; it must be one of {', '.join(SEARCHES)}")
    return SEARCHES[name]
