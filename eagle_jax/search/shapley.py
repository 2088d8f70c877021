"""Shapley values of the regions for each target token, with standard errors, from a process.

The Shapley value of a region is the mean over fractions q from 0 to 1, and over sets that
contain every other region with probability q, of the probability with the region minus the
probability without it. The mean is taken over drawn sets, or over all sets of few regions, and
the process predicts the probabilities. No forward is needed.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.linalg import solve_triangular
from scipy.special import expit

from eagle_jax.search.gaussian_process import CONSTANT, SetProcess, to_signs
from eagle_jax.search.paths import Surface
from eagle_jax.search.rounds import Objective

# Up to this number of regions all sets are taken.
_ALL = 9
# Number of drawn sets for the values, and for their errors.
_DRAWN, _DRAWN_FOR_ERRORS = 1024, 128
# Factor by which a process underestimates its errors, measured on set functions with known
# values: weighted majorities, and sums of ANDs and of ORs, see tests/search/test_shapley.py.
_CAUTION = 2.2
# Number of parts in which the sets are predicted, and largest number of tokens at once; both
# bound the memory.
_PARTS, _TOKENS = 8, 16


class Values(NamedTuple):
    """What each region is worth to each target token.

    Attributes:
      values: Shapley values, in probability: the values of a token add up to its probability
        for the full image minus its probability for the blank image.
      errors: standard errors of the values.
      gap: largest difference over the tokens between this sum and the sum of the values as the
        process predicts them; the values were corrected by it.
      unseen: mean error of the probabilities that the process predicts for sets without a
        score, as it estimates this error itself.
    """

    values: Float32[np.ndarray, "t n"]
    errors: Float32[np.ndarray, "t n"]
    gap: float
    unseen: float


def shapley_values(
    process: SetProcess, blank: Float[np.ndarray, " t"], full: Float[np.ndarray, " t"]
) -> Values:
    """Shapley values of the predicted probabilities, and their errors; deterministic.

    Args:
      process: process of all tokens that has learned from the scores.
      blank: target probabilities of the blank image.
      full: target probabilities of the full image.

    Returns:
      The values. An error combines the uncertainty of the process about sets without a score,
      to first order in the error of their logits, and the error of the mean over drawn sets.

    References:
      Shapley 1953; as an integral: Owen 1972, Multilinear extensions of games.
    """
    sets, weights = _sets(process.signs.shape[1])
    parts = [
        _some_values(
            dataclasses.replace(
                process,
                mean=process.mean[some],
                weights=process.weights[:, some],
                variance=process.variance[some],
            ),
            sets,
            weights,
            (full - blank).astype(np.float64)[some],
        )
        for some in np.array_split(np.arange(len(full)), math.ceil(len(full) / _TOKENS))
    ]
    values, errors, gaps, unseen = map(np.concatenate, zip(*parts, strict=True))
    return Values(
        values.astype(np.float32),
        errors.astype(np.float32),
        float(np.abs(gaps).max()),
        float(unseen.mean()),
    )


def _some_values(
    process: SetProcess,
    sets: Bool[np.ndarray, "b n"],
    weights: Float[np.ndarray, "b n"],
    total: Float[np.ndarray, " t"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values, errors, gap and mean error of unseen sets, for each of a few tokens."""
    n = sets.shape[1]
    shown, hidden = _probabilities(process, sets)
    added = shown - hidden
    values = np.einsum("bn,btn->tn", weights, added)
    variance = np.zeros_like(values)
    step = 1
    if n > _ALL:
        # A set and its complement stand side by side and balance each other.
        pairs = added.reshape(-1, 2, *added.shape[1:]).mean(1)
        variance += pairs.var(0) / len(pairs)
        step = len(sets) // _DRAWN_FOR_ERRORS
    some = np.arange(len(sets)).reshape(-1, 2)[::step].ravel()
    # The derivative of a probability by its logit is p (1 - p).
    shown, hidden = (
        step * weights[some, None] * p[some] * (1 - p[some]) for p in (shown, hidden)
    )
    variance += _CAUTION**2 * _variance(process, sets[some], shown, hidden)
    # The sum is known: each value is corrected by its part of the variance of the sum.
    gap = total - values.sum(1)
    part = variance + 1e-12
    part /= part.sum(1, keepdims=True)
    errors = np.sqrt(variance * (1 - part))
    return values + part * gap[:, None], errors, gap, _mean_errors(process, sets[some])


def _sets(n: int) -> tuple[Bool[np.ndarray, "b n"], Float[np.ndarray, "b n"]]:
    """Sets, and the weight of each set in the value of each region."""
    if n <= _ALL:
        sets = (np.arange(2**n)[:, None] >> np.arange(n)) % 2 == 1
        # Each set of the other regions occurs twice, with the region and without it.
        others = sets.sum(1, keepdims=True) - sets
        weights = np.array([1 / (2 * n * math.comb(n - 1, k)) for k in range(n)])
        return sets, weights[others]
    rng = np.random.default_rng(n)
    half = _DRAWN // 2
    fraction = (np.arange(half) + rng.random(half)) / half
    drawn = rng.random((half, n)) < fraction[:, None]
    sets = np.stack([drawn, ~drawn], 1).reshape(-1, n)
    return sets, np.full(sets.shape, 1 / len(sets))


def _probabilities(
    process: SetProcess, sets: Bool[np.ndarray, "b n"]
) -> tuple[Float[np.ndarray, "b t n"], Float[np.ndarray, "b t n"]]:
    """Expected probabilities of each set with each region added, and with it removed."""
    surface, signs = Surface(process, Objective()), to_signs(sets).astype(np.float32)
    p = np.concatenate(
        [surface.scores(part) for part in np.array_split(signs, min(_PARTS, len(signs)))]
    )
    p = p.swapaxes(1, 2).astype(np.float64)
    unchanged, toggled, inside = p[:, :, -1:], p[:, :, :-1], sets[:, None]
    return np.where(inside, unchanged, toggled), np.where(inside, toggled, unchanged)


def _mean_errors(process: SetProcess, sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, " t"]:
    """Mean absolute error of each token's probabilities for sets, as the process expects."""
    signs = to_signs(sets)
    p, known = expit(process.logits(signs)), process.known(signs)
    # A set is as similar to itself as any set to itself: the kernel's diagonal is constant.
    unknown = CONSTANT + process.slope.sum() + 1 - (known**2).sum(0)
    deviation = np.sqrt(np.maximum(unknown, 0)[:, None] * process.variance) * p * (1 - p)
    return _CAUTION * np.sqrt(2 / np.pi) * deviation.mean(0)


def _variance(
    process: SetProcess,
    sets: Bool[np.ndarray, "b n"],
    shown: Float[np.ndarray, "b t n"],
    hidden: Float[np.ndarray, "b t n"],
) -> Float[np.ndarray, "t n"]:
    """Variance of a value that the scores leave, from weights of the logits of its sets.

    The similarity of a set S to a scored set J is a product over the regions. Without the
    factor of region r it is ``alike * (agree + differ * s_r * j_r)``, and its factor with r in
    S, or without r, is ``near +- far * j_r``. So two matrix products give the covariances of
    all values with all scores.
    """
    signs = to_signs(sets)
    # Sum and difference of the weights of S with r and S without r, by token, region and set.
    even, odd = (np.moveaxis(part, 0, -1) for part in (shown - hidden, shown + hidden))
    relevance, slope = process.relevance[:, None], process.slope
    agree, differ = (1 + np.exp(relevance)) / 2, (1 - np.exp(relevance)) / 2
    near, far = (1 + np.exp(-relevance)) / 2, (1 - np.exp(-relevance)) / 2
    own = signs.T
    alike = process.similarity(signs, process.signs)
    shared = (near * agree * even + far * differ * odd * own) @ alike
    by_sign = (far * agree * odd + near * differ * even * own) @ alike
    effects = even @ signs
    diagonal = np.arange(len(slope))
    effects[:, diagonal, diagonal] = odd.sum(2)
    constant = CONSTANT * even.sum(2, keepdims=True)
    with_scores = shared + process.signs.T * by_sign + constant
    with_scores += (effects * slope) @ process.signs.T
    among = process.similarity(signs, signs)

    def square(weights):
        return ((weights @ among) * weights).sum(2)

    prior = near[:, 0] * (agree[:, 0] * square(even) + differ[:, 0] * square(even * own)) + far[
        :, 0
    ] * (agree[:, 0] * square(odd) + differ[:, 0] * square(odd * own))
    prior += constant[:, :, 0] ** 2 / CONSTANT + effects**2 @ slope
    known = solve_triangular(
        process.factor,
        with_scores.reshape(-1, len(process.signs)).T,
        lower=True,
        check_finite=False,
    )
    explained = (known**2).sum(0).reshape(prior.shape)
    return np.maximum(prior - explained, 0) * process.variance[:, None]
