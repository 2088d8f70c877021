"""Estimates from all scores of a search: values of the regions, their errors, interactions."""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from eagle_jax.search.gaussian_process import SetProcess, fit
from eagle_jax.search.paths import Surface
from eagle_jax.search.rounds import Estimates, Problem, Rounds
from eagle_jax.search.sets import ends, prefixes
from eagle_jax.search.shapley import shapley_values

# Number of places along the order at which regions are added and removed, number of regions of
# which all pairs are compared, and number of pairs in the result.
_PLACES, _LEADING, _PAIRS = 5, 12, 5
# Number of the first and of the last scored sets that a process learns from. The first sets of
# a search say what all orders have in common, the last sets lie along its last order.
_FIRST_SETS, _LAST_SETS = 512, 1536


def learnt_from(known: int) -> Int[np.ndarray, " m"]:
    """Numbers of the scored sets that a process learns from, which bounds its time.

    Args:
      known: number of scored sets.
    """
    first = min(_FIRST_SETS, known)
    return np.r_[:first, max(first, known - _LAST_SETS) : known]


def estimate(
    problem: Problem,
    order: Int[np.ndarray, " k"],
    sets: Bool[np.ndarray, "m n"],
    scores: Float32[np.ndarray, "m t"],
    before: SetProcess | None = None,
) -> Estimates:
    """Estimates what the regions are worth, from everything that a search has scored.

    Args:
      problem: the problem of the search.
      order: the order that the search found; regions may be missing.
      sets: scored sets without duplicates, the blank and the full image among them.
      scores: target probabilities of each set.
      before: process that has learned from some of these sets; None for none.

    Returns:
      The values with their errors, from `shapley_values`, and the strongest interactions, mean
      over places along the order.
    """
    kept = learnt_from(len(sets))
    process = fit(sets[kept], scores[kept], before)
    size = sets.sum(1)
    known = shapley_values(process, scores[size == 0][0], scores[size == problem.regions][0])
    ranked = np.argsort(-np.abs(known.values.mean(0)), kind="stable")
    leading = np.sort(ranked[:_LEADING])
    whole = np.append(order, ranked[~np.isin(ranked, order)]).astype(np.int64)
    places = np.unique(np.linspace(0, len(whole), _PLACES).round().astype(int))
    base = prefixes(whole)[places]
    surface = Surface(process, problem.objective)
    pairs = np.array([*itertools.combinations(leading.tolist(), 2)], np.int32).reshape(-1, 2)
    # Row i: interactions of leading region i with all leading regions.
    interaction = np.stack(
        [_interaction(surface, base, region)[leading] for region in leading.tolist()]
    )
    first, second = np.searchsorted(leading, pairs).T
    strength = interaction[first, second]
    strongest = np.argsort(-np.abs(strength), kind="stable")[:_PAIRS]
    return Estimates(
        known.values,
        known.errors,
        pairs[strongest],
        strength[strongest].astype(np.float32),
        known.gap,
        known.unseen,
    )


def with_estimates(search: Rounds, problem: Problem) -> Rounds:
    """A search that returns estimates from all scores that it was sent.

    Args:
      search: a search that has not begun; one that makes its own estimates keeps them.
      problem: its problem.
    """
    sets, scores = [], []
    asked = next(search)
    while True:
        answer = yield asked
        if answer is not None:
            sets.append(np.asarray(asked.sets, bool))
            scores.append(answer)
        try:
            asked = search.send(answer)
        except StopIteration as end:
            solution = end.value
            break
    if solution.estimates is not None:
        return solution
    order, insertion, deletion = solution.curves
    # A search of a user's own need not have asked for the blank and the full image.
    sets = np.concatenate([ends(problem.regions), *sets])
    scores = np.concatenate([insertion[:1], deletion[:1], *scores])
    first = np.sort(np.unique(sets, axis=0, return_index=True)[1])
    return solution._replace(estimates=estimate(problem, order, sets[first], scores[first]))


def _interaction(
    surface: Surface, base: Bool[np.ndarray, "p n"], region: int
) -> Float[np.ndarray, " n"]:
    """How much more each region adds if a given region is in the set than if it is not."""
    beside = np.arange(base.shape[1]) == region
    return (_added(surface, base | beside) - _added(surface, base & ~beside)).mean(0)


def _added(surface: Surface, sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """F with each region in the set minus F without it."""
    value, toggled = surface.around(sets)
    return np.where(sets, value[:, None] - toggled, toggled - value[:, None])
