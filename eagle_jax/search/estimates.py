"""Estimates of a Gaussian process: gain of F by each region, its error, and interactions."""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.paths import Surface
from eagle_jax.search.rounds import Estimates, Objective
from eagle_jax.search.sets import prefixes

# Number of places along the order at which regions are added and removed, number of regions of
# which all pairs are compared, and number of pairs in the result.
_PLACES, _LEADING, _PAIRS = 5, 12, 5


def estimate(
    process: SetProcess, objective: Objective, order: Int[np.ndarray, " n"]
) -> Estimates:
    """Gain of F by single regions and by pairs, mean over places along an order.

    Args:
      process: process that has learned from the scores.
      objective: what to maximise.
      order: all regions.

    Returns:
      The estimates. The errors follow from the process's uncertainty about sets without a
      score, to first order in the error of their logits.
    """
    n = len(order)
    surface = Surface(process, objective)
    base = prefixes(order)[np.unique(np.linspace(0, n, _PLACES).round().astype(int))]
    importance = _added(surface, base).mean(0)
    leading = np.sort(np.argsort(-np.abs(importance), kind="stable")[:_LEADING])
    pairs = np.array([*itertools.combinations(leading.tolist(), 2)], np.int32).reshape(-1, 2)
    # Row i: interactions of leading region i with all leading regions.
    interaction = np.stack(
        [_interaction(surface, base, region)[leading] for region in leading.tolist()]
    )
    first, second = np.searchsorted(leading, pairs).T
    strength = interaction[first, second]
    strongest = np.argsort(-np.abs(strength), kind="stable")[:_PAIRS]
    return Estimates(
        importance.astype(np.float32),
        _errors(process, objective, base).astype(np.float32),
        pairs[strongest],
        strength[strongest].astype(np.float32),
    )


def _added(surface: Surface, sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """F with each region in the set minus F without it."""
    value, toggled = surface.around(sets)
    return np.where(sets, value[:, None] - toggled, toggled - value[:, None])


def _interaction(
    surface: Surface, base: Bool[np.ndarray, "p n"], region: int
) -> Float[np.ndarray, " n"]:
    """How much more each region adds if a given region is in the set than if it is not."""
    beside = np.arange(base.shape[1]) == region
    return (_added(surface, base | beside) - _added(surface, base & ~beside)).mean(0)


def _errors(
    process: SetProcess, objective: Objective, base: Bool[np.ndarray, "p n"]
) -> Float[np.ndarray, " n"]:
    """Standard error of the gain of F by each region."""
    places, n = base.shape
    # For each region the sets with it and without it, shown and hidden.
    alone = np.eye(n, dtype=bool)[:, None]
    sets = np.stack([base | alone, base & ~alone], 1).reshape(n, -1, n)
    signs = to_signs(np.concatenate([sets, ~sets], 1).reshape(-1, n))
    weights = objective.insight_weight, -objective.necessity_weight
    sides = np.repeat(np.outer(weights, [1, -1]).ravel(), places) / places
    p = expit(process.logits(signs)).reshape(n, len(sides), -1)
    effect = sides[:, None] * p * (1 - p) / p.shape[2]
    known = process.known(signs).reshape(-1, n, len(sides))
    by_region = signs.reshape(sets.shape[0], -1, n)
    prior = np.stack([process.kernel(of_region, of_region) for of_region in by_region])
    unknown = prior - np.einsum("mra,mrb->rab", known, known, optimize=True)
    variance = np.einsum("rat,rab,rbt->rt", effect, unknown, effect, optimize=True)
    return np.sqrt(np.maximum(variance @ process.variance, 0.0))
