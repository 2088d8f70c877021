"""LIME and KernelSHAP: a linear function of the visible regions, fitted to the model."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float64

from eagle_jax.baselines.conversations import Estimate
from eagle_jax.scoring.scorer import Scorer

# The width of the kernel and the weight of the ridge in the authors' image explainer.
_WIDTH = 0.25
_RIDGE = 1.0


def lime(scorer: Scorer, *, samples: int = 1000, seed: int = 0) -> Estimate:
    """A ridge regression on random sets, those like the whole image counting most.

    Args:
      scorer: whose regions are ranked.
      samples: sets, the whole image and others in which each region is visible by a half.
      seed: equal seeds give equal sets.

    Returns:
      The coefficient of each region.

    References:
      Ribeiro et al., LIME, arXiv 1602.04938, section 3; the distance is one minus the cosine
      to the whole image, as in the authors' image explainer.
    """
    n = scorer.regions
    sets = np.random.default_rng(seed).random((samples, n)) < 0.5
    sets[0] = True
    scores = yield sets
    distance = 1 - np.sqrt(sets.mean(axis=1))
    weight = np.sqrt(np.exp(-((distance / _WIDTH) ** 2)))
    value = scores.mean(axis=1, dtype=np.float64)
    # Both centred, so that the intercept is free of the ridge.
    inputs = sets - np.average(sets, axis=0, weights=weight)
    outputs = value - np.average(value, weights=weight)
    normal = (inputs.T * weight) @ inputs + _RIDGE * np.eye(n)
    return np.linalg.solve(normal, (inputs.T * weight) @ outputs)


def kernelshap(scorer: Scorer, *, samples: int = 2048, seed: int = 0) -> Estimate:
    """Shapley values by weighted least squares.

    Args:
      scorer: whose regions are ranked.
      samples: sets besides the blank and the whole image. Where there are no more sets than
        that, all are asked for and the values are exact; else each set is drawn together with
        its complement.
      seed: equal seeds give equal sets.

    Returns:
      The value of each region; together they are ``p(V) - p()``.

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
        # Drawn as often as the kernel weighs them, the sets count alike.
        sets = _paired_sets(n, samples, np.random.default_rng(seed))
        weight = np.ones(len(sets))
    ends = np.array([[False], [True]]).repeat(n, axis=1)
    scores = yield np.concatenate([ends, sets])
    (blank, full), value = np.split(scores.mean(axis=1, dtype=np.float64), [2])
    return _efficient_fit(sets, value - blank, full - blank, weight)


def _paired_sets(
    n: int, samples: int, rng: np.random.Generator
) -> Bool[np.ndarray, "samples n"]:
    size = np.arange(1, n)
    share = 1 / (size * (n - size))
    sizes = rng.choice(size, -(-samples // 2), p=share / share.sum())
    rank = rng.random((len(sizes), n)).argsort(axis=1)
    sets = rank < sizes[:, None]
    return np.stack([sets, ~sets], axis=1).reshape(-1, n)[:samples]


def _efficient_fit(
    sets: Bool[np.ndarray, "b n"],
    value: Float64[np.ndarray, "b"],
    total: float,
    weight: Float64[np.ndarray, "b"],
) -> Float64[np.ndarray, "n"]:
    """Coefficients that fit values of sets best among those that add up to a total."""
    # The last coefficient is what the others leave of the total.
    last = sets[:, -1].astype(np.float64)
    inputs = sets[:, :-1] - last[:, None]
    root = np.sqrt(weight)
    first, *_ = np.linalg.lstsq(inputs * root[:, None], (value - last * total) * root)
    return np.append(first, total - first.sum())
