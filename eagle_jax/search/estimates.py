"""What a Gaussian process knows beside an order: what regions add, how surely, and pairs."""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from eagle_jax.search.gaussian_process import SetProcess, to_signs
from eagle_jax.search.paths import Surface
from eagle_jax.search.rounds import Estimates, Objective
from eagle_jax.search.sets import prefixes

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
    surface = Surface(process, objective)
    base = prefixes(order)[np.unique(np.linspace(0, n, _PLACES).round().astype(int))]
    importance = _added(surface, base).mean(0)
    leading = np.sort(np.argsort(-np.abs(importance), kind="stable")[:_LEADING])
    pairs = np.array([*itertools.combinations(leading.tolist(), 2)], np.int32).reshape(-1, 2)
    together = {one: _together(surface, base, one)[leading] for one in leading.tolist()}
    places = {one: place for place, one in enumerate(leading.tolist())}
    strength = np.array([together[a][places[b]] for a, b in pairs.tolist()])
    strongest = np.argsort(-np.abs(strength), kind="stable")[:_PAIRS]
    return Estimates(
        importance.astype(np.float32),
        _errors(process, objective, base).astype(np.float32),
        pairs[strongest],
        strength[strongest].astype(np.float32),
    )


def _added(surface: Surface, sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """What F is more with each region in sets than without it."""
    value, toggled = surface.around(sets)
    return np.where(sets, value[:, None] - toggled, toggled - value[:, None])


def _together(
    surface: Surface, base: Bool[np.ndarray, "p n"], region: int
) -> Float[np.ndarray, " n"]:
    """What each region adds more beside a region than without it."""
    beside = np.arange(base.shape[1]) == region
    return (_added(surface, base | beside) - _added(surface, base & ~beside)).mean(0)


def _errors(
    process: SetProcess, objective: Objective, base: Bool[np.ndarray, "p n"]
) -> Float[np.ndarray, " n"]:
    """Standard errors of what each region adds."""
    places, n = base.shape
    # Of each region the sets with it and without it, shown and hidden.
    alone = np.eye(n, dtype=bool)[:, None]
    sets = np.stack([base | alone, base & ~alone], 1).reshape(n, -1, n)
    signs = to_signs(np.concatenate([sets, ~sets], 1).reshape(-1, n))
    weights = objective.insight_weight, -objective.necessity_weight
    sides = np.repeat(np.outer(weights, [1, -1]).ravel(), places) / places
    p = expit(process.logits(signs)).reshape(n, len(sides), -1)
    share = sides[:, None] * p * (1 - p) / p.shape[2]
    known = process.known(signs).reshape(-1, n, len(sides))
    prior = np.stack([process.kernel(one, one) for one in signs.reshape(sets.shape[0], -1, n)])
    unknown = prior - np.einsum("mra,mrb->rab", known, known, optimize=True)
    variance = np.einsum("rat,rab,rbt->rt", share, unknown, share, optimize=True)
    return np.sqrt(np.maximum(variance @ process.variance, 0.0))
