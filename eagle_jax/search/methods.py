"""The table of searches, read by `explain`, `run`, `diagnose` and the command line."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.exact import exact
from eagle_jax.search.rounds import Found, Objective, Problem, Rounds, run_rounds


class Search(NamedTuple):
    """A search that can be chosen by name.

    Attributes:
      begin: from a problem to its rounds.
      summary: what it does and costs, for `--help`.
    """

    begin: Callable[[Problem], Rounds]
    summary: str


SEARCHES = {
    "exact": Search(exact, "every region at every step: n (n + 1) forwards"),
}


def find_orders(
    scorers: Sequence[Scorer],
    search: str = "exact",
    *,
    objective: Objective | None = None,
    room: int | None = None,
    report: Callable[[int], Any] = lambda forwards: None,
) -> list[Found]:
    """Searches for the order in which the regions of each image matter.

    Args:
      scorers: the set functions, `Case.scorer` or any callables like it; one is a list of one.
      search: name of the search.
      objective: what is sought; None for both weights 1.
      room: number of images that programs are compiled for, see `Lockstep`.
      report: called after each round with the number of masked images it scored.

    Returns:
      For each scorer the order, the curves along it and what they cost.

    Raises:
      InputError: there is no such search.
    """
    begin = chosen_search(search).begin
    return run_rounds(begin, scorers, objective or Objective(), room, report)


def chosen_search(name: str) -> Search:
    """The search of a name.

    Raises:
      InputError: there is none; the message lists those that there are.
    """
    if name not in SEARCHES:
        raise InputError(f"search is {name!r}; it must be one of {', '.join(SEARCHES)}")
    return SEARCHES[name]
