"""Insertion and deletion AUC, highest confidence and their kin, on plain arrays.

Every function takes NumPy or JAX arrays, batches over leading axes and returns the kind it
was given. The last axis of a curve runs over its `k = n + 1` points, so curves stored as
`(n+1, t)` are transposed, or averaged over their tokens, first. Curves of different lengths
can share a batch: pad the area with ones and the curve with its last value, which adds
nothing to any of the numbers here.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float

# The published threshold on p(full image) - p(blank image) of a sensitive token.
SENSITIVITY = 0.2
# Probabilities below it are as good as none: their logarithms would swamp those of the rest.
FLOOR = 1e-6
# Smallest |p(full image) - p(blank image)| that an AUC is divided by.
LEAST_RANGE = 0.05


def insertion_auc(
    area: Float[np.ndarray | jax.Array, "*#b k"],
    curve: Float[np.ndarray | jax.Array, "*#b k"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Area under the insertion curve, by the trapezoid rule; higher is better.

    Args:
      area: share of the image that is visible at each point, rising from 0 to 1.
      curve: target probability at each point; point 0 is the blank image.

    Returns:
      One number in [0, 1] per curve, not normalised by the blank or full level.

    References:
      EAGLE, arXiv 2509.22496, section 4 (faithfulness metrics).
    """
    width = area[..., 1:] - area[..., :-1]
    return (width * (curve[..., 1:] + curve[..., :-1]) / 2).sum(-1)


def deletion_auc(
    area: Float[np.ndarray | jax.Array, "*#b k"],
    curve: Float[np.ndarray | jax.Array, "*#b k"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Area under the deletion curve, by the trapezoid rule; lower is better.

    The published curve is drawn over the area that is left, `1 - area`, from 1 down to 0.
    Only the sign of the steps differs from integrating over the area removed, so early
    removals weigh by their area, as early insertions do.

    Args:
      area: share of the image that is removed at each point, rising from 0 to 1.
      curve: target probability at each point; point 0 is the full image.

    Returns:
      One number in [0, 1] per curve.

    References:
      EAGLE, arXiv 2509.22496, section 4 (faithfulness metrics).
    """
    left = 1 - area
    width = left[..., :-1] - left[..., 1:]
    return (width * (curve[..., 1:] + curve[..., :-1]) / 2).sum(-1)


def highest_confidence(
    insertion: Float[np.ndarray | jax.Array, "*b k"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Largest probability an insertion curve reaches, the blank image included.

    The published "average highest confidence" is the mean of this over samples.

    Args:
      insertion: target probability with more and more regions visible.

    Returns:
      One number in [0, 1] per curve.
    """
    return insertion.max(-1)


def sensitive_tokens(
    full: Float[np.ndarray | jax.Array, "*b t"],
    blank: Float[np.ndarray | jax.Array, "*b t"],
    threshold: float = SENSITIVITY,
) -> Bool[np.ndarray | jax.Array, "*b t"]:
    """Which tokens the image raises by more than `threshold`.

    Args:
      full: probability of each token with the full image, the last insertion row.
      blank: probability of each token with the blank image, insertion row 0.
      threshold: strict lower bound on `full - blank`.

    Returns:
      True for the sensitive tokens.
    """
    return full - blank > threshold


def mean_over_tokens(
    curves: Float[np.ndarray | jax.Array, "*b k t"],
    tokens: Bool[np.ndarray | jax.Array, "*b t"],
) -> Float[np.ndarray | jax.Array, "*b k"]:
    """Average the curves of the chosen tokens, for the sensitive-token metrics.

    A sample with no chosen token gives NaN. The published averages leave such samples out,
    so average the metrics of these curves with `nanmean`.

    Args:
      curves: one curve per token.
      tokens: the tokens to average, for example from `sensitive_tokens`.

    Returns:
      One curve per sample.
    """
    xp = curves.__array_namespace__()
    chosen = tokens[..., None, :]
    count = chosen.sum(-1)
    total = xp.where(chosen, curves, 0).sum(-1)
    return xp.where(count > 0, total / xp.maximum(count, 1), xp.nan).astype(curves.dtype)


def log_probability(
    curves: Float[np.ndarray | jax.Array, "*b"], floor: float = FLOOR
) -> Float[np.ndarray | jax.Array, "*b"]:
    """Natural logarithm of probabilities, for curves that easy tokens do not dilute.

    Take it per token and average over the tokens afterwards: a mean of probabilities hides
    the one token that the image decides behind the many that it does not.

    Args:
      curves: probabilities.
      floor: what smaller ones count as.

    Returns:
      Values from log(floor) to 0.
    """
    xp = curves.__array_namespace__()
    return xp.log(xp.maximum(curves, xp.asarray(floor, dtype=curves.dtype)))


def normalised_auc(
    auc: Float[np.ndarray | jax.Array, "*#b"],
    full: Float[np.ndarray | jax.Array, "*#b"],
    blank: Float[np.ndarray | jax.Array, "*#b"],
    least: float = LEAST_RANGE,
) -> Float[np.ndarray | jax.Array, "*b"]:
    """An AUC on the scale where the blank image is 0 and the full image 1.

    It takes the language prior out of an AUC: a curve that is flat at the blank level gives
    0 at any level. It may leave [0, 1], as a few regions may say more than all of them.

    Args:
      auc: of insertion or deletion curves.
      full: level of the full image.
      blank: level of the blank image.
      least: where `|full - blank|` is not larger the image hardly matters, the division
        would blow up noise, and the result is NaN.

    Returns:
      `(auc - blank) / (full - blank)`, or NaN.
    """
    xp = auc.__array_namespace__()
    span = full - blank
    wide = xp.abs(span) > least
    return xp.where(wide, (auc - blank) / xp.where(wide, span, 1), xp.nan).astype(auc.dtype)
