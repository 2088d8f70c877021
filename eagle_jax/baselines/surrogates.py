"""LIME and KernelSHAP: a linear function of the visible regions, fitted to the model."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float64

from eagle_jax.baselines.conversations import Estimate
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.sets import ends

# The width of the kernel and the weight of the ridge in the authors' image explainer.
_WIDTH = 0.25
_RIDGE = 1.0


def lime(scorer: Scorer, *, samples: int = 1000, seed: int = 0) -> Estimate:
    """Ridge regression on random sets, weighted by their similarity to the full image.

    Args:
      scorer: set function whose regions are ranked.
      samples: number of sets: the full image, and random sets in which each region is visible
        with probability 1/2.
      seed: seed of the sets.

    Returns:
      The coefficient of each region.

    References:
      Ribeiro et al., LIME, arXiv 1602.04938, section 3. The distance is one minus the cosine
      similarity to the full image, as in the authors' image explainer.
    """
    n = scorer.regions
    sets = np.random.default_rng(seed).random((samples, n)) < 0.5
    sets[0] = True
    scores = yield sets
    distance = 1 - np.sqrt(sets.mean(axis=1))
    weight = np.sqrt(np.exp(-((distance / _WIDTH) ** 2)))
    value = scores.mean(axis=1, dtype=np.float64)
    # Inputs and outputs are centred, so that the ridge does not shrink the intercept.
    inputs = sets - np.average(sets, axis=0, weights=weight)
    outputs = value - np.average(value, weights=weight)
    normal = (inputs.T * weight) @ inputs + _RIDGE * np.eye(n)
    return np.linalg.solve(normal, (inputs.T * weight) @ outputs)


def kernelshap(scorer: Scorer, *, samples: int = 2048, seed: int = 0) -> Estimate:
    """Shapley values by weighted least squares.

    Args:
      scorer: set function whose regions are ranked.
      samples: maximum number of sets besides the blank and the full image. If so many sets
        do not exist, all sets are scored and the values are exact; otherwise each set is drawn
        together with its complement.
      seed: seed of the sets.

    Returns:
      The value of each region; the sum of the values is ``p(V) - p()``.

    References:
      Lundberg and Lee, SHAP, arXiv 1705.07874, theorem 2; paired sampling: Covert and Lee,
      arXiv 2012.01536, section 3.3.
    """
    n = scorer.regions
    if 2**n - 2 <= samples:
        sets = np.array([*itertools.product([False, True], repeat=n)])[1:-1]
        size = sets.sum(axis=1)
        count = np.array([math.comb(n, k) for k in range(n + 1)], np.float64)
        weight = (n - 1) / (count[size] * size * (n - size))
    else:
        # The sets are drawn in proportion to the kernel's weights, so all weights are equal.
        sets = _paired_sets(n, samples, np.random.default_rng(seed))
        weight = np.ones(len(sets))
    scores = yield np.concatenate([ends(n), sets])
    (blank, full), value = np.split(scores.mean(axis=1, dtype=np.float64), [2])
    return _efficient_fit(sets, value - blank, full - blank, weight)


def _paired_sets(
    n: int, samples: int, rng: np.random.Generator
) -> Bool[np.ndarray, "samples n"]:
    size = np.arange(1, n)
    chance = 1 / (size * (n - size))
    sizes = rng.choice(size, -(-samples // 2), p=chance / chance.sum())
    rank = rng.random((len(sizes), n)).argsort(axis=1)
    sets = rank < sizes[:, None]
    return np.stack([sets, ~sets], axis=1).reshape(-1, n)[:samples]


def _efficient_fit(
    sets: Bool[np.ndarray, "b n"],
    value: Float64[np.ndarray, "b"],
    total: float,
    weight: Float64[np.ndarray, "b"],
) -> Float64[np.ndarray, "n"]:
    """Least-squares coefficients under the constraint that their sum is a given total."""
    # The last coefficient is the total minus the sum of the others.
    last = sets[:, -1].astype(np.float64)
    inputs = sets[:, :-1] - last[:, None]
    root = np.sqrt(weight)
    first, *_ = np.linalg.lstsq(inputs * root[:, None], (value - last * total) * root)
    return np.append(first, total - first.sum())
