"""What a Gaussian process knows beside an order: what regions add, how surely, and pairs."""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.rounds import Estimates, Objective
from eagle_jax.search.sets import both_ways, prefixes

# Places along the order at which regions are added and taken out, regions that are compared in
# pairs, and pairs that are told.
_PLACES, _LEADING, _PAIRS = 5, 12, 5


def estimate(
    process: SetProcess, objective: Objective, order: Int[np.ndarray, " n"]
) -> Estimates:
    """What single regions and pairs add to F, on average over places along an order.

    Args:
      process: that knows the scores.
      objective: what is sought.
      order: all regions.

    Returns:
      The estimates. The errors are the process's own: how far the effects may be from those
      that a score of every set would give, to first order in what is not known of the logits.
    """
    n = len(order)
    base = prefixes(order)[np.unique(np.linspace(0, n, _PLACES).round().astype(int))]
    alone = [_contrast(base, (region,)) for region in range(n)]
    importance = np.array([_effect(process, objective, *one) for one in alone])
    error = np.array([_error(process, objective, *one) for one in alone])
    leading = np.sort(np.argsort(-np.abs(importance), kind="stable")[:_LEADING])
    pairs = [*itertools.combinations(leading.tolist(), 2)]
    strength = np.array([_effect(process, objective, *_contrast(base, pair)) for pair in pairs])
    strongest = np.argsort(-np.abs(strength), kind="stable")[:_PAIRS]
    return Estimates(
        importance.astype(np.float32),
        error.astype(np.float32),
        np.array(pairs, np.int32).reshape(-1, 2)[strongest],
        strength[strongest].astype(np.float32),
    )


def _contrast(
    base: Bool[np.ndarray, "p n"], regions: tuple[int, ...]
) -> tuple[Bool[np.ndarray, "b n"], Float[np.ndarray, " b"]]:
    """Sets with regions added and taken out, and the share of each in their mean difference."""
    sets, signs = [], []
    for visible in itertools.product((True, False), repeat=len(regions)):
        one = base.copy()
        one[:, regions] = visible
        sets.append(one)
        signs += [(-1) ** visible.count(False) / len(base)] * len(base)
    return np.concatenate(sets), np.array(signs)


def _effect(process: SetProcess, objective: Objective, sets, signs) -> float:
    scores = expit(process.logits(to_signs(both_ways(sets))))
    return float(signs @ objective.value(*np.split(scores, 2)))


def _error(process: SetProcess, objective: Objective, sets, signs) -> float:
    all_signs = to_signs(both_ways(sets))
    p = expit(process.logits(all_signs))
    weights = objective.insight_weight * signs, -objective.necessity_weight * signs
    share = np.concatenate(weights)[:, None] * p * (1 - p) / p.shape[1]
    variance = np.einsum("bt,bc,ct->t", share, process.covariance(all_signs), share)
    return float(np.sqrt(max(variance @ process.variance, 0.0)))
