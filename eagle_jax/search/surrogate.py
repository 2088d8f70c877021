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
from eagle_jax.search.exact import exact
from eagle_jax.search.gaussian_process import fit
from eagle_jax.search.paths import Surface, area_under, least_certain
from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.scored import ScoredSets
from eagle_jax.search.sets import Curves, both_ways, prefixes
from eagle_jax.search.steps import Steps, ends

# Masked images for each region that the search may take when nobody says how many.
_BUDGET = 6.5
# For each region: random sets to begin with, and sets that are looked at along a path.
_RANDOM, _LOOK = 1 / 2, 1 / 4
# The more is known, the more has to be seen to change it.
_GROWTH = 1 / 16
# Looks before the first whole path, and between one and the next.
_LOOKS, _MORE_LOOKS = 10, 3
# Share of the area between the curves that counts as little.
_LITTLE = 0.005
# Rounds of moves by which an order is improved.
_PASSES = 10
# Share of the range of the most moved token under which another stands still.
_STILL = 0.01
# Sets a process is made of; the oldest are forgotten.
_MEMORY = 2048
# With so few regions the exact search takes hardly more than a surrogate would.
_FEW = 16


def surrogate(problem: Problem) -> Rounds:
    """Orders the regions with at most 6.5 forwards for each, or with the budget that is given.

    Regions that are wanted exactly come on top of that. Ends earlier when a path was scored as
    the process expected it, and is no better than the one before.

    Args:
      problem: the regions, and what is sought.

    Returns:
      The curves of the best path that was scored, and the process's estimates.
    """
    exactly = 2 * problem.regions * (problem.limits.top_k or 0)
    usual = int(np.ceil(_BUDGET * problem.regions)) + exactly
    return (yield from _search(problem, problem.limits.budget or usual))


def auto(problem: Problem) -> Rounds:
    """The exact search for few regions, and for more the surrogate until it can be trusted.

    That is when a path was scored as the process expected it, and is no better than the one
    before. What is easily modelled takes little, what is not as much as the exact search.

    Args:
      problem: the regions, and what is sought.

    Returns:
      What the search that was chosen returns.
    """
    n = problem.regions
    if n <= _FEW:
        return (yield from exact(problem))._replace(search="exact")
    solution = yield from _search(problem, problem.limits.budget or n * (n + 1))
    return solution._replace(search="surrogate")


def _search(problem: Problem, budget: int) -> Rounds:
    n, objective = problem.regions, problem.objective
    # The curves are paid for first: all that a path can lack is set aside.
    curves = 2 * (n - 1)
    sets = _random_sets(n, budget - 2 - curves)
    scored = ScoredSets(sets, (yield Round(sets, None, budget)))
    fixed, over = yield from _leading(problem, scored, budget - curves)
    process, order, best = None, None, None
    looks = _LOOKS
    while True:
        moving = _moving(scored.scores)
        known = scored.scores[-_MEMORY:, moving]
        process = fit(scored.sets[-_MEMORY:], known, process)
        surface = Surface(process, objective)
        order, expected = _promising(problem, surface, order, fixed)
        unseen = scored.missing(both_ways(prefixes(order)))
        room = budget - len(scored)
        if over or len(unseen) > room:
            break
        look = int(np.ceil(max(_LOOK * n, _GROWTH * len(scored))))
        # A path in between is worth its price only if another can follow.
        due = looks <= 0 and room >= 2 * len(unseen) + _MORE_LOOKS * look
        last = look + (curves if best is None else len(unseen)) > room
        whole = due or last or look >= len(unseen)
        asked = unseen if whole else unseen[least_certain(process, unseen, look)]
        if len(asked):
            planned = len(scored) + max(looks, 0) * look + len(unseen)
            scores = yield Round(asked, best, min(planned, budget))
            if scores is None:
                break
            scored.add(asked, scores)
        looks -= 1
        if whole:
            path, before = scored.curves(order), best
            if before is None or _true_area(problem, path) > _true_area(problem, before):
                best = path
            seen = [_true_area(problem, one, moving) for one in (path, before or path)]
            little = _LITTLE * abs(seen[0])
            settled = abs(seen[0] - expected) <= little and seen[0] - seen[1] <= little
            if before is not None and (settled or not len(asked)):
                break
            looks = _MORE_LOOKS
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


def _random_sets(n: int, room: int) -> Bool[np.ndarray, "_ n"]:
    """The ends, and sets of any size with their complements."""
    rng = np.random.default_rng(n)
    pairs = min(int(np.ceil(_RANDOM * n / 2)), room // 2)
    half = rng.random((pairs, n)) < rng.random((pairs, 1))
    sets = np.concatenate([ends(n), *(np.stack([one, ~one]) for one in half)])
    _, first = np.unique(sets, axis=0, return_index=True)
    return sets[np.sort(first)]


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

    def area(order):
        whole = area_under(surface.values(order), problem.area[order])
        return whole - problem.objective.necessity_weight

    begins = [surface.greedy(fixed)] + ([] if before is None else [before])
    order = surface.improved(max(begins, key=area), problem.area, _PASSES, len(fixed))
    return order, area(order)


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
