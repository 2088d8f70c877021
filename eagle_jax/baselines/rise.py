"""RISE: how well the model does, on average, when a region happens to be visible."""

import numpy as np

from eagle_jax.baselines.conversations import Estimate
from eagle_jax.scoring.scorer import Scorer

_VISIBLE = 0.5


def rise(scorer: Scorer, *, samples: int = 4000, seed: int = 0) -> Estimate:
    """Randomized input sampling, with regions in the place of a coarse grid of cells.

    Args:
      scorer: whose regions are ranked.
      samples: random sets, each region visible in half of them.
      seed: equal seeds give equal sets.

    Returns:
      The mean of ``p(S) [r in S]`` over the sets S, divided by the share of visible regions,
      for each region r.

    References:
      Petsiuk et al., RISE, arXiv 1806.07421, equation 6.
    """
    sets = np.random.default_rng(seed).random((samples, scorer.regions)) < _VISIBLE
    scores = yield sets
    return scores.mean(axis=1, dtype=np.float64) @ sets / (samples * _VISIBLE)
