"""A Gaussian process over sets of regions: what scored sets say about the others.

Each target token has a process of its own on the logit of its probability, all of them with one
kernel of two sets S and S':

    constant + sum_r slope_r s_r s'_r + exp(- sum over r in one of S, S' of relevance_r)

with s_r = 1 for a visible region and -1 for a hidden one. The first two parts are a constant
and what each region does alone, the last is everything else, and forgets a region that does not
matter. Relevance, slope and noise are learnt by maximising the likelihood of what was scored.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpotri  # pyright: ignore[reportAttributeAccessIssue]
from scipy.optimize import minimize

_CONSTANT = 2.0
# Beyond it a logit says little of the probability and much of its rounding.
_CLIP = 1e-3
# A region of this relevance leaves sets without it nothing to say.
_MOST = 8.0
# Where learning begins, and what it is drawn to while little is known: similarity, slope and
# noise, of regions of relevance 1.
_SCALES = np.log([1 / 8, 1 / 16, 0.02])
# Learning takes the time of a Cholesky factor of its sets at each step, and says something new
# once this much more is known.
_LEARN_FROM = 400
_FIRST_STEPS, _STEPS = 15, 3
_MORE = 1.25


@dataclasses.dataclass(frozen=True)
class SetProcess:
    """What is known of a set function after some of its sets were scored.

    Attributes:
      signs: the scored sets, 1 for a visible region and -1 for a hidden one.
      relevance: of each region to all that regions do together.
      slope: variance of what each region does alone.
      noise: variance of a score around the process.
      mean: mean logit of each token.
      weights: what each scored set adds to each token's logit, by its kernel.
      variance: scale of each token's process.
      factor: lower Cholesky factor of the scored sets' kernel.
      scales: logarithms from which learning goes on when more is known.
      learnt: number of sets that were known when they were learnt.
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
        """The last part of the kernel of sets and others: 1 for equal ones, falling to 0."""
        return _similarity(signs, others, self.relevance)

    def kernel(
        self, signs: Float[np.ndarray, "b n"], others: Float[np.ndarray, "c n"]
    ) -> Float[np.ndarray, "b c"]:
        """The kernel of sets and others."""
        return _CONSTANT + (signs * self.slope) @ others.T + self.similarity(signs, others)

    def logits(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b t"]:
        """The expected logit of each token for some sets."""
        return self.kernel(signs, self.signs) @ self.weights + self.mean

    @property
    def linear(self) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, "n t"]]:
        """Of the expected logits, what all sets share and what each region does alone."""
        constant = _CONSTANT * self.weights.sum(0) + self.mean
        return constant, self.slope[:, None] * (self.signs.T @ self.weights)

    def covariance(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "b b"]:
        """Covariance of what is not known of some sets, of a token of variance 1."""
        known = self.known(signs)
        return self.kernel(signs, signs) - known.T @ known

    def known(self, signs: Float[np.ndarray, "b n"]) -> Float[np.ndarray, "m b"]:
        """What the scored sets say of some sets: its square is taken from their covariance."""
        known = self.kernel(self.signs, signs)
        return solve_triangular(self.factor, known, lower=True, check_finite=False)


def to_signs(sets: Bool[np.ndarray, "b n"]) -> Float[np.ndarray, "b n"]:
    """1 for a visible region, -1 for a hidden one."""
    return 2.0 * sets - 1.0


def fit(
    sets: Bool[np.ndarray, "m n"],
    scores: Float[np.ndarray, "m t"],
    before: SetProcess | None = None,
) -> SetProcess:
    """Learns a process from scored sets.

    Args:
      sets: that were scored, no two the same.
      scores: target probabilities.
      before: learnt from fewer sets, to go on from.

    Returns:
      The process; the same for the same sets in the same order.
    """
    signs, p = to_signs(sets), np.clip(scores.astype(np.float64), _CLIP, 1 - _CLIP)
    logits = np.log(p / (1 - p))
    mean = logits.mean(0)
    logits = logits - mean
    # A token whose probability hardly moves has little say in what matters.
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
    weights = cho_solve((factor, True), logits, check_finite=False)
    variance = np.maximum((logits * weights).mean(0), 1e-12)
    return SetProcess(
        signs, relevance, slope, noise, mean, weights, variance, factor, scales, learnt
    )


def _factor(signs, relevance, slope, noise, known) -> np.ndarray:
    """The Cholesky factor of the kernel of sets, from that of the first of them."""
    m = len(known)
    fresh = signs[m:]
    rows = _CONSTANT + (fresh * slope) @ signs.T + _similarity(fresh, signs, relevance)
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
    """A first guess: a region matters as much as a linear model says it moves the logits."""
    m, n = signs.shape
    gram = signs.T @ signs + 0.03 * m * np.eye(n)
    moved = np.abs(np.linalg.solve(gram, signs.T @ logits)) @ say
    region = 0.1 + 0.9 * moved / max(moved.mean(), 1e-12)
    return np.concatenate([np.log(region / region.mean()), _SCALES])


def _learn(signs, logits, say, start, steps: int) -> np.ndarray:
    """Maximises the likelihood, of each token with its best variance, and a prior."""
    m = len(signs)

    def loss(scales):
        relevance, slope, noise = _parameters(scales)
        similarity = _similarity(signs, signs, relevance)
        kernel = _CONSTANT + (signs * slope) @ signs.T + similarity
        kernel[np.diag_indices_from(kernel)] += noise
        factor, _ = cho_factor(kernel, lower=True, check_finite=False)
        weights = cho_solve((factor, True), logits, check_finite=False)
        variance = np.maximum((logits * weights).mean(0), 1e-12)
        likelihood = -m / 2 * (say @ np.log(variance)) - np.log(np.diag(factor)).sum()
        inverse, _ = dpotri(factor, lower=True)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        # The derivative by the kernel, half of it; then by the logarithms.
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
