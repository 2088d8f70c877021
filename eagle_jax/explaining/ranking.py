"""How regions are ranked: by a search or another method, on one partition or several."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from eagle_jax.baselines.methods import (
    MethodChoice,
    Option,
    chosen_method,
    full_options,
    method_name,
)
from eagle_jax.baselines.ranking import Ranking, ranking_of
from eagle_jax.errors import InputError
from eagle_jax.inputs.regions import MOST_PARTITIONS, Regions, further_partitions, segment
from eagle_jax.interrupts import never
from eagle_jax.scoring.case import Case, divided_again
from eagle_jax.search import SEARCHES, Limits, Objective, Progress, find_orders
from eagle_jax.search.conversations import Conversation
from eagle_jax.search.methods import (
    DEFAULT_SEARCH,
    SearchFunction,
    SearchInProgress,
    chosen_search,
    progress_of,
)
from eagle_jax.search.rounds import Problem, Rounds

FURTHER_FORWARDS = 3
"""Forwards per region of a further partition, without a budget."""


class Approach(NamedTuple):
    """How the order of regions is found, as in `explain`.

    Attributes:
      method: name of a method, a `Method`, or a function.
      options: given options of a method other than EAGLE.
      search: name of EAGLE's search, or a search function.
      objective: weights of EAGLE's objective.
      limits: limits of EAGLE's search.
      partitions: number of partitions of the image, or the regions of each further partition.
        The first partition gives the order and its curves; all give the map.
    """

    method: MethodChoice = "eagle"
    options: Mapping[str, Option] = MappingProxyType({})
    search: str | SearchFunction = DEFAULT_SEARCH
    objective: Objective = Objective()
    limits: Limits = Limits()
    partitions: int | Sequence[Regions] = 1


def check_approach(approach: Approach) -> None:
    """Raises unless there is such a method with such options, and such a search.

    Args:
      approach: a method and its settings.

    Raises:
      InputError: the method, an option or the search does not exist, the number of partitions
        is out of range, or limits or several partitions are given to a method without a search.
    """
    chosen_search(approach.search)
    options = full_options(approach.method, approach.options)
    count = approach.partitions
    if isinstance(count, int) and not 1 <= count <= MOST_PARTITIONS:
        raise InputError(f"partitions is {count}; it must be from 1 to {MOST_PARTITIONS}")
    if chosen_method(approach.method).searches:
        return
    if count not in (1, (), []):
        raise InputError(
            f"{method_name(approach.method)} has no search: only the searches of eagle take "
            "several partitions"
        )
    for name, value in vars(approach.limits).items():
        if value is not None:
            raise InputError(
                f"{name} limits the searches of eagle; the cost of "
                f"{method_name(approach.method)} depends on its options: "
                f"{', '.join(options) or 'it has no options'}"
            )


def rank_case(
    case: Case,
    approach: Approach,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    interrupted: Callable[[], bool] = never,
) -> Conversation[Ranking]:
    """Finds the order of regions of a case, by EAGLE or another method, as a conversation.

    Further partitions are searched after the first, which they leave as it is.

    Args:
      case: from `eagle_jax.ask`.
      approach: a method and its settings.
      on_progress: called after each round.
      interrupted: called before each round of a search; once it returns True, the search ends
        and returns its partial result.

    Yields:
      Sets of regions to be scored, see `eagle_jax.search.conversations`.

    Returns:
      The order, its curves and what the method found besides.

    Raises:
      InputError: as `check_approach`, or the budget is too small.
    """
    if chosen_method(approach.method).searches:
        begin = time.monotonic()
        further = _further_cases(case, approach.partitions)
        limits, share = _shared(approach.limits, case, further)
        search = SearchInProgress(
            case.scorer,
            approach.search,
            approach.objective,
            limits,
            lambda: on_progress(progress_of([search])),
            interrupted,
        )
        ranking = Ranking((yield from search.conversation()))
        for again in further:
            left = None if limits.seconds is None else limits.seconds + begin - time.monotonic()
            if interrupted() or left is not None and left <= 0:
                break
            # Scored here: a conversation asks for sets of its own scorer alone.
            (result,) = find_orders(
                [again.scorer],
                _few_forwards,
                objective=approach.objective,
                limits=Limits(share, left),
                on_progress=_continued(on_progress, ranking),
                interrupted=interrupted,
            )
            ranking = ranking._replace(further=(*ranking.further, (again.labels, result)))
        return ranking
    ranking = ranking_of(case, approach.method, approach.options)
    forwards, scores = 0, None
    while True:
        try:
            sets = ranking.send(scores)  # type: ignore[arg-type]
        except StopIteration as end:
            return end.value
        scores = yield sets
        forwards += len(scores)
        on_progress(Progress(forwards, None, None, (None,)))


def _further_cases(case: Case, partitions: int | Sequence[Regions]) -> list[Case]:
    if isinstance(partitions, int):
        maps = further_partitions(case.image, case.labels, partitions)
    else:
        maps = [segment(case.image, regions) for regions in partitions]
    return [divided_again(case, labels) for labels in maps]


def _shared(limits: Limits, case: Case, further: Sequence[Case]) -> tuple[Limits, int | None]:
    """The limits of the first search, and the budget of the search of a further partition."""
    if limits.budget is None or not further:
        return limits, None
    most = max(again.scorer.regions for again in further)
    least = 4 * max(case.scorer.regions, len(further) * most)
    if limits.budget < least:
        raise InputError(
            f"budget is {limits.budget}; {1 + len(further)} partitions take at least {least} "
            "masked images, half of them for the first; set a larger budget or fewer partitions"
        )
    share = limits.budget // 2 // len(further)
    return dataclasses.replace(limits, budget=limits.budget - len(further) * share), share


def _few_forwards(problem: Problem) -> Rounds:
    """The surrogate, which learns the values of a further partition."""
    budget = problem.limits.budget or FURTHER_FORWARDS * problem.regions
    limits = dataclasses.replace(problem.limits, budget=budget)
    return (yield from SEARCHES["surrogate"].begin(problem._replace(limits=limits)))


def _continued(
    on_progress: Callable[[Progress], Any], ranking: Ranking
) -> Callable[[Progress], Any]:
    """Adds what has been ranked to the progress of the search of a further partition."""

    def report(state: Progress) -> None:
        done, curves = ranking.forwards, (ranking.result.curves,)
        planned = None if state.planned is None else done + state.planned
        on_progress(Progress(done + state.forwards, planned, None, curves))

    return report
