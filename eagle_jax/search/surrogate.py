"""A search on a model of the model: few sets are scored, and a Gaussian process knows the rest.

Some random sets are scored, the process learns from them, and the order with the largest area
under F is sought on the process alone. Along it those sets are scored of which the process is
least certain; it learns from them, and so on. What it was too hopeful about is what it gets to
see, so its mistakes mend themselves. From time to time a whole path is scored, which gives the
curves, and shows how far the process is to be trusted.
"""

from collections.abc import Generator

import numpy as np
from jaxtyping import Bool, Float32, Int

from eagle_jax.search.estimates import estimate
from eagle_jax.search.gaussian_process import fit
from eagle_jax.search.paths import Surface, area_under, least_certain
from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.scored import ScoredSets
from eagle_jax.search.sets import Curves, both_ways, prefixes
from eagle_jax.search.steps import Steps, ends

# Masked images for each region that the search may take when nobody says how many.
_BUDGET = 6.5
# Sets are asked for in such numbers, so that whole batches are scored whatever their size.
_BATCH = 16
# For each region: random sets to begin with, sets that are looked at along a path, and sets
# that are known before a whole path is scored.
_RANDOM, _LOOK, _FIRST = 1 / 2, 1 / 4, 4
# The more is known, the more has to be seen to change it.
_GROWTH = 1 / 32
# Share of the area between the curves that counts as little; of more regions, for which a
# path costs more, a larger one in proportion.
_LITTLE, _MANY = 0.005, 64
# A whole path is scored when so many looks in a row changed little of what is expected, or
# after so many looks.
_STEADY, _LOOKS = 2, 8
# Paths in a row that may be in vain.
_VAIN = 2
# Rounds of moves by which an order is improved.
_PASSES = 10
# Share of the range of the most moved token under which another stands still.
_STILL = 0.01
# Sets a process is made of. The first of them, random ones, know what all orders have in
# common, the last what the order at hand is like; those between are forgotten.
_FIRST_SETS, _LAST_SETS = 512, 1536


def surrogate(problem: Problem) -> Rounds:
    """Orders the regions with at most 6.5 forwards for each, or with the budget that is given.

    Regions that are wanted exactly come on top of that. Ends earlier when a path was scored as
    the process expected it, and no other is thought better.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves of the best path that was scored, and the process's estimates.
    """
    exactly = 2 * problem.regions * (problem.limits.top_k or 0)
    usual = int(np.ceil(_BUDGET * problem.regions)) + exactly
    return (yield from _search(problem, problem.limits.budget or usual))


def until_trusted(problem: Problem) -> Rounds:
    """Orders the regions with as many forwards as it takes to be trusted, or with the budget.

    That is when a path was scored as the process expected it, and no other is thought better;
    or when two paths in a row are in vain. What is easily modelled takes little, what is not
    may take as much as the exact search.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves of the best path that was scored, and the process's estimates.
    """
    n = problem.regions
    return (yield from _search(problem, problem.limits.budget or n * (n + 1)))


def _search(problem: Problem, budget: int) -> Rounds:
    n, objective = problem.regions, problem.objective
    # The curves are paid for first: all that a path can lack is set aside.
    curves = 2 * (n - 1)
    sets = _random_sets(n, budget - 2 - curves)
    scored = ScoredSets(sets, (yield Round(sets, None, budget)))
    fixed, over = yield from _leading(problem, scored, budget - curves)
    process, order, best = None, None, None
    trusted, vain, enough = False, 0, _FIRST * n
    steady, looks, before = 0, 0, np.inf
    tolerance = _LITTLE * max(1, n / _MANY)
    while True:
        moving = _moving(scored.scores)
        kept = _kept(len(scored))
        process = fit(scored.sets[kept], scored.scores[kept][:, moving], process)
        surface = Surface(process, objective)
        order, expected = _promising(problem, surface, order, fixed)
        unseen = scored.missing(both_ways(prefixes(order)))
        steady = steady + 1 if abs(expected - before) <= tolerance * abs(expected) else 0
        before = expected
        room = budget - len(scored)
        reached = -np.inf if best is None else _true_area(problem, best, moving)
        little = tolerance * abs(reached)
        settled = trusted and expected - reached <= little
        if over or len(unseen) > room or settled or vain >= _VAIN:
            break
        look = _full(max(_LOOK * n, _GROWTH * len(scored)))
        whole = len(scored) >= enough and (steady >= _STEADY or looks >= _LOOKS)
        # A path in between is worth its price only if another can follow.
        whole &= room >= 2 * len(unseen) + _STEADY * look
        last = look + (curves if best is None else len(unseen)) > room
        whole = whole or last or look >= len(unseen)
        asked = unseen if whole else unseen[least_certain(process, unseen, look)]
        if len(asked):
            planned = max(enough, len(scored)) + len(unseen)
            scores = yield Round(asked, best, min(planned, budget))
            if scores is None:
                break
            scored.add(asked, scores)
        if whole:
            path = scored.curves(order)
            seen = _true_area(problem, path, moving)
            trusted = abs(seen - expected) <= tolerance * abs(seen)
            vain = 0 if best is None or seen - reached > little else vain + 1
            if best is not None and not len(asked):
                break
            if seen > reached:
                best = path
            steady, looks, before = 0, 0, np.inf
        else:
            looks += len(scored) >= enough
    if best is None:
        if len(unseen):
            scored.add(unseen, (yield Round(unseen)))
        best = scored.curves(order)
    found = estimate(process, objective, best.order)
    # The tokens that do not move have their share in F as well.
    share = np.float32(moving.mean())
    found = found._replace(
        importance=share * found.importance,
        uncertainty=share * found.uncertainty,
        interaction=share * found.interaction,
    )
    return Solution(_restored(problem, best), found)


def _moving(scores: Float32[np.ndarray, "m t"]) -> Bool[np.ndarray, " t"]:
    """Tokens that the regions move; the grammar settles many others, and they cost time."""
    moved = np.ptp(scores, axis=0)
    return moved >= _STILL * moved.max()


def _kept(known: int) -> Int[np.ndarray, " m"]:
    """Numbers of the scored sets that a process is made of."""
    first = min(_FIRST_SETS, known)
    return np.r_[:first, max(first, known - _LAST_SETS) : known]


def _full(sets: float) -> int:
    """About so many sets that fill their batches."""
    return _BATCH * max(1, round(sets / _BATCH))


def _random_sets(n: int, room: int) -> Bool[np.ndarray, "_ n"]:
    """The ends, and sets of any size with their complements."""
    rng = np.random.default_rng(n)
    count = min(_BATCH * int(np.ceil(_RANDOM * n / _BATCH)), room + 2)
    half = rng.random((count, n)) < rng.random((count, 1))
    sets = np.concatenate([ends(n), *(np.stack([one, ~one]) for one in half)])
    _, first = np.unique(sets, axis=0, return_index=True)
    return sets[np.sort(first)[:count]]


def _leading(
    problem: Problem, scored: ScoredSets, spendable: int
) -> Generator[Round, np.ndarray | None, tuple[tuple[int, ...], bool]]:
    """The first steps of the exact search, and whether the search is over already."""
    n, wanted = problem.regions, min(problem.limits.top_k or 0, problem.regions)
    steps = Steps(problem, *scored.of(ends(n)))
    while len(steps.order) < wanted:
        candidates = np.flatnonzero(~steps.chosen)
        sets = both_ways(steps.chosen | (np.arange(n) == candidates[:, None]))
        asked = scored.missing(sets)
        if len(scored) + len(asked) > spendable:
            break
        if len(asked):
            scores = yield Round(asked, steps.curves)
            if scores is None:
                return tuple(steps.order), True
            scored.add(asked, scores)
        shown, hidden = np.split(scored.of(sets), 2)
        best = int(np.argmax(problem.objective.value(shown, hidden)))
        steps.take(int(candidates[best]), shown[best], hidden[best])
    return tuple(steps.order), False


def _promising(
    problem: Problem, surface: Surface, before: Int[np.ndarray, " n"] | None, fixed
) -> tuple[Int[np.ndarray, " n"], float]:
    """A good order by what the process knows, and the area it expects between the curves."""
    begins = [surface.greedy(fixed)] + ([] if before is None else [surface.along(before)])
    order, whole = surface.improved(begins, problem.area, _PASSES, len(fixed))
    return order, whole - problem.objective.necessity_weight


def _true_area(
    problem: Problem, curves: Curves, tokens: Bool[np.ndarray, " t"] | slice = slice(None)
) -> float:
    """The area between curves, each with its weight."""
    shown, hidden = curves.insertion[:, tokens], curves.deletion[:, tokens]
    value = problem.objective.value(shown, hidden)
    return area_under(value, problem.area[curves.order]) - problem.objective.necessity_weight


def _restored(problem: Problem, curves: Curves) -> Curves:
    """The curves up to where the limits let them end."""
    stop = problem.limits.stop
    if stop is None:
        return curves
    enough = curves.insertion.mean(1) >= stop * curves.deletion[0].mean()
    last = 1 + int(np.argmax(enough[1:]))
    if not enough[last]:
        return curves
    return Curves(
        curves.order[:last], curves.insertion[: last + 1], curves.deletion[: last + 1]
    )
