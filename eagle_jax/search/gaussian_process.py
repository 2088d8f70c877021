"""A Gaussian process over sets of regions, which predicts scores of sets from scored sets.

The logit of each target token's probability has a process of its own. All processes share the
kernel of two sets S and S':

    constant + sum_r slope_r s_r s'_r + exp(- sum over r in one of S, S' of relevance_r)

with s_r = 1 for a visible and -1 for a hidden region. The first two parts are a constant and
the effect of each region alone; the last part, the similarity, is everything else, and ignores
regions of relevance 0. Relevance, slope and noise maximise the likelihood of the scores.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri  # pyright: ignore[reportAttributeAccessIssue]
from scipy.optimize import minimize

CONSTANT = 2.0
"""Variance of the constant part of the kernel."""
# Probabilities are clipped to this distance from 0 and 1, where logits amplify rounding.
_CLIP = 1e-3
# Largest relevance: sets that differ in such a region have a similarity of almost 0.
_MOST = 8.0
# Logarithms of relevance, slope and noise at the start, which are also the mean of their prior.
_SCALES = np.log([1 / 8, 1 / 16, 0.02])
# Each step of learning computes a Cholesky factor, so it uses at most this number of sets.
_LEARN_FROM = 400
# Maximum number of steps for the first process and for later processes.
_FIRST_STEPS, _STEPS = 15, 3
# Learning is repeated when the number of sets has grown by this factor.
_MORE = 1.25


@dataclasses.dataclass(frozen=True)
class SetProcess:
    """The processes of all target tokens after some sets were scored.

    Attributes:
      signs: the scored sets, 1 for a visible and -1 for a hidden region.
      relevance: relevance of each region in the similarity.
      slope: variance of the effect of each region alone.
      noise: variance of the logits around the process.
      mean: mean logit of each token.
      weights: for each scored set and token, the factor of its kernel in a predicted logit.
      variance: scale of each token's process.
      factor: lower Cholesky factor of the kernel of the scored sets.
      scales: logarithms of the learnt parameters, from which later learning starts.
      learnt: number of sets from which the parameters were learnt.
    """

    signs: Float[np.ndarray, "m n"]
    relevance: Float[np.ndarray, " n"]
    slope: Float[np.ndarray, " n"]
    noise: float
    mean: Float[np.ndarray, " t"]
    weights: Float[np.ndarray, "m t"]
    variance: Float[np.ndarray, " t"]
    factor: Float[np.ndarray, "m m"]
    scales: Float[np.ndarray, "n+3"]
    learnt: int

    def similarity(
        self, signs: Float[np.ndarray, "b n"], others: Float[np.ndarray, "c n"]
    ) -> Float[np.ndarray, "b c"]:
        """The last part of the kernel of two groups of sets: 1 for equal sets, down to 0."""
        return _similarity(signs, others, self.relevance)

    def kernel(
        self, signs: Float[np.ndarray, "b n"], others: Float[np.ndarray, "c n"]
    ) -> Float[np.ndarray, "b c"]:
        """The kernel of two groups of sets."""
        return CONSTANT + (signs * self.slope) @ others.T + self.similarity(signs, others)

    def logits(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b t"]:
        """The expected logit of each token for some sets."""
        return self.kernel(signs, self.signs) @ self.weights + self.mean

    @property
    def linear(self) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "n t"]]:
        """The constant of the expected logits, and the effect of each region alone."""
        constant = CONSTANT * self.weights.sum(0) + self.mean
        return constant, self.slope[:, None] * (self.signs.T @ self.weights)

    def covariance(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b b"]:
        """Covariance of the logits of sets given the scores, for a token of variance 1."""
        known = self.known(signs)
        return self.kernel(signs, signs) - known.T @ known

    def known(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "m b"]:
        """A factor of the covariance that the scores explain: ``known.T @ known``."""
        known = self.kernel(self.signs, signs)
        return solve_triangular(self.factor, known, lower=True, check_finite=False)


def to_signs(sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """1 for a visible and -1 for a hidden region."""
    return 2.0 * sets - 1.0


def fit(
    sets: Bool[np.ndarray, "m n"],
    scores: Float[np.ndarray, "m t"],
    before: SetProcess | None = None,
) -> SetProcess:
    """Learns a process from scored sets; deterministic.

    Args:
      sets: scored sets without duplicates.
      scores: target probabilities of each set.
      before: process learnt from fewer sets, from which learning starts; None for none.
    """
    signs, p = to_signs(sets), np.clip(scores.astype(np.float64), _CLIP, 1 - _CLIP)
    logits = np.log(p / (1 - p))
    mean = logits.mean(0)
    logits = logits - mean
    # Tokens whose probability hardly changes have little weight in learning.
    say = scores.var(0, dtype=np.float64) + 1e-9
    say /= say.sum()
    if before is None or len(sets) >= _MORE * before.learnt:
        some = np.arange(len(sets))
        if len(sets) > _LEARN_FROM:
            some = np.random.default_rng(0).choice(len(sets), _LEARN_FROM, replace=False)
        start = _ridge_scales(signs, logits, say) if before is None else before.scales
        steps = _FIRST_STEPS if before is None else _STEPS
        scales, learnt = _learn(signs[some], logits[some], say, start, steps), len(sets)
        known = np.zeros((0, 0))
    else:
        scales, learnt, known = before.scales, before.learnt, before.factor
        if not np.array_equal(before.signs, signs[: len(known)]):
            known = np.zeros((0, 0))
    relevance, slope, noise = _parameters(scales)
    factor = _factor(signs, relevance, slope, noise, known)
    weights, variance = _weights(factor, logits)
    return SetProcess(
        signs, relevance, slope, noise, mean, weights, variance, factor, scales, learnt
    )


def _weights(factor, logits) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the scored sets, and the likeliest variance of each token."""
    weights = cho_solve((factor, True), logits, check_finite=False)
    return weights, np.maximum((logits * weights).mean(0), 1e-12)


def _factor(signs, relevance, slope, noise, known) -> np.ndarray:
    """The Cholesky factor of the kernel of sets, given the factor of the first sets."""
    m = len(known)
    fresh = signs[m:]
    rows = CONSTANT + (fresh * slope) @ signs.T + _similarity(fresh, signs, relevance)
    corner = rows[:, m:]
    corner[np.diag_indices_from(corner)] += noise
    factor = np.zeros((len(signs), len(signs)))
    factor[:m, :m] = known
    if m:
        side = solve_triangular(known, rows[:, :m].T, lower=True, check_finite=False).T
        factor[m:, :m] = side
        corner = corner - side @ side.T
    factor[m:, m:] = np.tril(cho_factor(corner, lower=True, check_finite=False)[0])
    return factor


def _similarity(signs, others, relevance) -> np.ndarray:
    return np.exp(((signs * relevance) @ others.T - relevance.sum()) / 2)


def _parameters(scales) -> tuple[np.ndarray, np.ndarray, float]:
    region = np.exp(np.clip(scales[:-3], -6, 4))
    similarity, slope, noise = np.exp(np.clip(scales[-3:], -9, 4))
    return np.minimum(similarity * region, _MOST), slope * region, float(noise)


def _ridge_scales(signs, logits, say) -> np.ndarray:
    """A first guess: the relevance of a region is its effect in a linear model of logits."""
    m, n = signs.shape
    gram = signs.T @ signs + 0.03 * m * np.eye(n)
    moved = np.abs(np.linalg.solve(gram, signs.T @ logits)) @ say
    region = 0.1 + 0.9 * moved / max(moved.mean(), 1e-12)
    return np.concatenate([np.log(region / region.mean()), _SCALES])


def _learn(signs, logits, say, start, steps: int) -> np.ndarray:
    """Maximises likelihood times prior, with the best variance of each token."""
    m = len(signs)

    def loss(scales):
        relevance, slope, noise = _parameters(scales)
        similarity = _similarity(signs, signs, relevance)
        kernel = CONSTANT + (signs * slope) @ signs.T + similarity
        kernel[np.diag_indices_from(kernel)] += noise
        factor, _ = cho_factor(kernel, lower=True, check_finite=False)
        weights, variance = _weights(factor, logits)
        likelihood = -m / 2 * (say @ np.log(variance)) - np.log(np.diag(factor)).sum()
        inverse, _ = dpotri(factor, lower=True)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        # Half of the derivative by the kernel, then the derivatives by the logarithms.
        outer = ((weights * (say / variance)) @ weights.T - inverse) / 2
        by_slope = slope * ((outer @ signs) * signs).sum(0)
        outer_similar = outer * similarity
        by_relevance = (outer_similar @ signs * signs).sum(0) - outer_similar.sum()
        by_relevance *= relevance / 2
        ends = by_relevance.sum(), by_slope.sum(), noise * np.trace(outer)
        away = np.append(scales[:-3], scales[-3:] - _SCALES)
        gradient = np.concatenate([by_relevance + by_slope, ends]) - away
        return away @ away / 2 - likelihood, -gradient

    options = {"maxiter": steps, "maxfun": steps + 5}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
