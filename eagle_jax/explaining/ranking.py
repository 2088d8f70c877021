"""How regions are ranked: by a search or another method, on one partition or several."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from eagle_jax.baselines.methods import (
    MethodChoice,
    Option,
    Ranking,
    chosen_method,
    full_options,
    method_name,
    rank_regions,
)
from eagle_jax.errors import InputError
from eagle_jax.inputs.regions import MOST_PARTITIONS, Regions, further_partitions, segment
from eagle_jax.interrupts import never
from eagle_jax.scoring.case import Case, divided_again
from eagle_jax.search import SEARCHES, Limits, Objective, Progress, find_orders
from eagle_jax.search.methods import DEFAULT_SEARCH, SearchFunction, chosen_search
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
    if count not in (1, ()):
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


def rank_cases(
    cases: Sequence[Case],
    approach: Approach,
    *,
    together: int | None = None,
    on_progress: Callable[[Progress], Any] = lambda progress: None,
    interrupted: Callable[[], bool] = never,
) -> list[Ranking]:
    """Finds the order of regions of several cases in lockstep, by EAGLE or another method.

    Further partitions are searched after the first, which they leave as it is.

    Args:
      cases: cases of one model.
      approach: a method and its settings.
      together: number of images that programs are compiled for; None for as many as there are.
      on_progress: called after each round.
      interrupted: called before each round of a search; once it returns True, all searches end
        and return their partial results.

    Returns:
      One ranking for each case.

    Raises:
      InputError: as `check_approach`, or the budget is too small.
    """
    if chosen_method(approach.method).searches:
        begin = time.monotonic()
        further = [_further_cases(case, approach.partitions) for case in cases]
        limits, share = _shared(approach.limits, cases, further)
        results = find_orders(
            [case.scorer for case in cases],
            approach.search,
            objective=approach.objective,
            limits=limits,
            together=together,
            on_progress=on_progress,
            interrupted=interrupted,
        )
        rankings = [Ranking(result) for result in results]
        for group in zip(*further, strict=True):
            left = None if limits.seconds is None else limits.seconds + begin - time.monotonic()
            if interrupted() or left is not None and left <= 0:
                break
            results = find_orders(
                [case.scorer for case in group],
                _few_forwards,
                objective=approach.objective,
                limits=Limits(share, left),
                together=together,
                on_progress=_continued(on_progress, rankings),
                interrupted=interrupted,
            )
            rankings = [
                ranking._replace(further=(*ranking.further, (case.labels, result)))
                for ranking, case, result in zip(rankings, group, results, strict=True)
            ]
        return rankings
    total = 0

    def count(forwards: int) -> None:
        nonlocal total
        total += forwards
        on_progress(Progress(total, None, None, (None,) * len(cases)))

    return rank_regions(
        cases, approach.method, approach.options, together=together, on_progress=count
    )


def forwards_of(ranking: Ranking) -> int:
    """Number of forwards that a ranking took, on all partitions."""
    return ranking.result.forwards + sum(result.forwards for _, result in ranking.further)


def _further_cases(case: Case, partitions: int | Sequence[Regions]) -> list[Case]:
    if isinstance(partitions, int):
        maps = further_partitions(case.image, case.labels, partitions)
    else:
        maps = [segment(case.image, regions) for regions in partitions]
    return [divided_again(case, labels) for labels in maps]


def _shared(
    limits: Limits, cases: Sequence[Case], further: Sequence[Sequence[Case]]
) -> tuple[Limits, int | None]:
    """The limits of the first search, and the budget of the search of a further partition."""
    count = len(further[0])
    if limits.budget is None or not count:
        return limits, None
    first = max(case.scorer.regions for case in cases)
    most = max(case.scorer.regions for group in further for case in group)
    least = 4 * max(first, count * most)
    if limits.budget < least:
        raise InputError(
            f"budget is {limits.budget}; {1 + count} partitions take at least {least} masked "
            "images, half of them for the first; set a larger budget or fewer partitions"
        )
    share = limits.budget // 2 // count
    return dataclasses.replace(limits, budget=limits.budget - count * share), share


def _few_forwards(problem: Problem) -> Rounds:
    """The surrogate, which learns the values of a further partition."""
    budget = problem.limits.budget or FURTHER_FORWARDS * problem.regions
    limits = dataclasses.replace(problem.limits, budget=budget)
    return (yield from SEARCHES["surrogate"].begin(problem._replace(limits=limits)))


def _continued(
    on_progress: Callable[[Progress], Any], rankings: Sequence[Ranking]
) -> Callable[[Progress], Any]:
    """Adds what has been ranked to the progress of the search of a further partition."""
    done = sum(map(forwards_of, rankings))
    curves = tuple(ranking.result.curves for ranking in rankings)

    def report(state: Progress) -> None:
        planned = None if state.planned is None else done + state.planned
        on_progress(Progress(done + state.forwards, planned, None, curves))

    return report
