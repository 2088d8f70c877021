"""A search on a surrogate: few sets are scored, and a Gaussian process predicts the others.

Some random sets are scored, and the process learns from them. The order with the largest area
under F is sought with predicted scores alone. Its path is the sets that it runs through. In a
look, those sets of the path are scored of which the process is least certain; the process
learns from them, and so on. The process sees most where it predicts too much, which corrects
its errors. From time to time all sets of a path are scored: that gives the curves, and shows
how well the process predicts.
"""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from eagle_jax.search.estimates import estimate, learnt_from
from eagle_jax.search.gaussian_process import fit
from eagle_jax.search.paths import Surface, area_under, least_certain
from eagle_jax.search.rounds import Problem, Round, Rounds, Solution
from eagle_jax.search.scored import ScoredSets
from eagle_jax.search.sets import Curves, both_ways, ends, prefixes
from eagle_jax.search.steps import Steps

# Budget per region where no other budget is given.
_BUDGET = 6.5
# Sets are scored in multiples of this number, which fill batches of most sizes.
_BATCH = 16
# Per region: number of random sets at the start, number of sets in a look, and number of known
# sets before a whole path is scored.
_RANDOM, _LOOK, _FIRST = 1 / 2, 1 / 4, 4
# Smallest look, as a fraction of the known sets: the more is known, the less a set changes.
_GROWTH = 1 / 32
# Fraction of the area between the curves that counts as little, for at most _MANY regions. It
# grows with the number of regions beyond, as the cost of a path does.
_LITTLE, _MANY = 0.005, 64
# A whole path is scored after _STEADY looks in a row that changed the expected area little, or
# after _LOOKS looks.
_STEADY, _LOOKS = 2, 8
# Number of paths in a row that may improve little before the search ends.
_VAIN = 2
# Maximum number of passes in which moves of regions improve an order.
_PASSES = 10
# A token does not move if its range is below this fraction of the largest range.
_STILL = 0.01


def surrogate(problem: Problem) -> Rounds:
    """Orders the regions with at most 6.5 forwards per region, or with the given budget.

    The forwards of `Limits.top_k` are added to that number. The search ends earlier when a path
    had the scores that the process expected, and the process expects no better path.

    Args:
      problem: the regions, the objective and the limits.

    Returns:
      The curves of the best path that was scored, and the process's estimates.
    """
    exactly = 2 * problem.regions * (problem.limits.top_k or 0)
    usual = int(np.ceil(_BUDGET * problem.regions)) + exactly
    return (yield from _search(problem, problem.limits.budget or usual))


def until_trusted(problem: Problem) -> Rounds:
    """Orders the regions with as many forwards as the process needs, or with the given budget.

    The search ends when a path had the scores that the process expected, and the process
    expects no better path; or when two paths in a row improved little. Scores that are hard to
    predict may take as many forwards as the exact search.

    Args:
      problem: the regions, the objective and the limits.

    Returns:
      The curves of the best path that was scored, and the process's estimates.
    """
    n = problem.regions
    return (yield from _search(problem, problem.limits.budget or n * (n + 1)))


class _State(NamedTuple):
    """Progress of the search, as far as it decides what to score next.

    Attributes:
      best: curves of the best path that was scored; None before the first path.
      trusted: whether the last path that was scored had the area that the process expected.
      in_vain: number of paths in a row that improved little.
      expected: area that the process expected of its order in this round.
      steady: number of rounds in a row in which the expected area changed little.
      looks: number of looks since the last path, without those before enough sets are known.
    """

    best: Curves | None = None
    trusted: bool = False
    in_vain: int = 0
    expected: float = np.inf
    steady: int = 0
    looks: int = 0


def _search(problem: Problem, budget: int) -> Rounds:
    n, objective = problem.regions, problem.objective
    # Everything that a whole path may need is reserved from the start.
    path_cost = 2 * (n - 1)
    sets = _random_sets(n, budget - 2 - path_cost)
    scored = ScoredSets(sets, (yield Round(sets, None, budget)))
    fixed, over = yield from _leading(problem, scored, budget - path_cost)
    state, process, order = _State(), None, None
    enough, tolerance = _FIRST * n, _LITTLE * max(1, n / _MANY)
    while True:
        moving = _moving(scored.scores)
        kept = learnt_from(len(scored))
        process = fit(scored.sets[kept], scored.scores[kept][:, moving], process)
        order, expected = _promising(problem, Surface(process, objective), order, fixed)
        state = _expecting(state, expected, tolerance)
        unseen = scored.missing(both_ways(prefixes(order)))
        remaining = budget - len(scored)
        reached = -np.inf if state.best is None else _true_area(problem, state.best, moving)
        little = tolerance * abs(reached)
        if over or len(unseen) > remaining or _is_settled(state, reached, little):
            break
        look = _full(max(_LOOK * n, _GROWTH * len(scored)))
        reserved = path_cost if state.best is None else len(unseen)
        whole = _wants_whole_path(
            state, len(scored) >= enough, len(unseen), look, remaining, reserved
        )
        asked = unseen if whole else unseen[least_certain(process, unseen, look)]
        if len(asked):
            planned = max(enough, len(scored)) + len(unseen)
            scores = yield Round(asked, state.best, min(planned, budget))
            if scores is None:
                break
            scored.add(asked, scores)
        if not whole:
            state = state._replace(looks=state.looks + (len(scored) >= enough))
            continue
        if state.best is not None and not len(asked):
            break
        path = scored.curves(order)
        seen = _true_area(problem, path, moving)
        state = _State(
            best=path if seen > reached else state.best,
            trusted=abs(seen - expected) <= tolerance * abs(seen),
            in_vain=0 if state.best is None or seen - reached > little else state.in_vain + 1,
        )
    best = state.best
    if best is None:
        unseen = scored.missing(both_ways(prefixes(order)))
        if len(unseen):
            scored.add(unseen, (yield Round(unseen)))
        best = scored.curves(order)
    estimates = estimate(problem, best.order, scored.sets, scored.scores, process)
    return Solution(_restored(problem, best), estimates)


def _expecting(state: _State, expected: float, tolerance: float) -> _State:
    """The state after the process has learned and expects an area of its new order."""
    steady = abs(expected - state.expected) <= tolerance * abs(expected)
    return state._replace(expected=expected, steady=state.steady + 1 if steady else 0)


def _is_settled(state: _State, reached: float, little: float) -> bool:
    """Whether the process is trusted and expects little more than the best path reached."""
    confirmed = state.trusted and state.expected - reached <= little
    return confirmed or state.in_vain >= _VAIN


def _wants_whole_path(
    state: _State, enough: bool, unseen: int, look: int, remaining: int, reserved: int
) -> bool:
    """Whether all sets of the path are scored that are not known yet, instead of a look."""
    due = enough and (state.steady >= _STEADY or state.looks >= _LOOKS)
    # A path is worth its cost only if the budget allows another path after it.
    affordable = remaining >= 2 * unseen + _STEADY * look
    last_chance = look + reserved > remaining
    return due and affordable or last_chance or look >= unseen


def _moving(scores: Float32[np.ndarray, "m t"]) -> Bool[np.ndarray, " t"]:
    """Tokens whose scores depend on the regions; modelling the others would only take time."""
    moved = np.ptp(scores, axis=0)
    return moved >= _STILL * moved.max()


def _full(sets: float) -> int:
    """The number of sets, rounded to whole batches."""
    return _BATCH * max(1, round(sets / _BATCH))


def _random_sets(n: int, remaining: int) -> Bool[np.ndarray, "_ n"]:
    """The blank and the full image, and random sets of any size with their complements."""
    rng = np.random.default_rng(n)
    count = min(_BATCH * int(np.ceil(_RANDOM * n / _BATCH)), remaining + 2)
    half = rng.random((count, n)) < rng.random((count, 1))
    sets = np.concatenate([ends(n), *(np.stack([visible, ~visible]) for visible in half)])
    _, first = np.unique(sets, axis=0, return_index=True)
    return sets[np.sort(first)[:count]]


def _leading(
    problem: Problem, scored: ScoredSets, spendable: int
) -> Generator[Round, np.ndarray | None, tuple[tuple[int, ...], bool]]:
    """The regions of `Limits.top_k` as the exact search orders them; True if it has to end."""
    n, wanted = problem.regions, min(problem.limits.top_k or 0, problem.regions)
    steps = Steps(problem, *scored.of(ends(n)))
    while len(steps.order) < wanted:
        candidates = np.flatnonzero(~steps.chosen)
        sets = steps.with_each(candidates)
        asked = scored.missing(sets)
        if len(scored) + len(asked) > spendable:
            break
        if len(asked):
            scores = yield Round(asked, steps.curves)
            if scores is None:
                return tuple(steps.order), True
            scored.add(asked, scores)
        steps.take_best(candidates, scored.of(sets))
    return tuple(steps.order), False


def _promising(
    problem: Problem, surface: Surface, before: Int[np.ndarray, " n"] | None, fixed
) -> tuple[Int[np.ndarray, " n"], float]:
    """An order with a large expected area between the curves, and this area."""
    begins = [surface.greedy(fixed)] + ([] if before is None else [surface.along(before)])
    order, whole = surface.improved(begins, problem.area, _PASSES, len(fixed))
    return order, whole - problem.objective.necessity_weight


def _true_area(
    problem: Problem, curves: Curves, tokens: Bool[np.ndarray, " t"] | slice = slice(None)
) -> float:
    """The area between the scored curves, each with its weight in the objective."""
    shown, hidden = curves.insertion[:, tokens], curves.deletion[:, tokens]
    value = problem.objective.value(shown, hidden)
    return area_under(value, problem.area[curves.order]) - problem.objective.necessity_weight


def _restored(problem: Problem, curves: Curves) -> Curves:
    """The curves up to the first set that reaches `Limits.stop`."""
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
