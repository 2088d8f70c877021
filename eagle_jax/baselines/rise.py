"""RISE: mean score over random sets that contain a region."""

import numpy as np

from eagle_jax.baselines.conversations import Estimate
from eagle_jax.scoring.scorer import Scorer

_VISIBLE = 0.5


def rise(scorer: Scorer, *, samples: int = 4000, seed: int = 0) -> Estimate:
    """Randomized input sampling, with regions in place of a coarse grid of cells.

    Args:
      scorer: set function whose regions are ranked.
      samples: number of random sets; each region is visible in half of them on average.
      seed: seed of the sets.

    Returns:
      For each region r, the mean of ``p(S) [r in S]`` over the sets S, divided by the expected
      fraction of visible regions.

    References:
      Petsiuk et al., RISE, arXiv 1806.07421, equation 6.
    """
    sets = np.random.default_rng(seed).random((samples, scorer.regions)) < _VISIBLE
    scores = yield sets
    return scores.mean(axis=1, dtype=np.float64) @ sets / (samples * _VISIBLE)
