"""Insertion and deletion AUC, highest confidence and related measures, on plain arrays.

Every function takes NumPy or JAX arrays, batches over leading axes and returns an array of the
same kind. The last axis of a curve holds its n + 1 points, so transpose curves stored as
(n + 1, t), or average them over tokens first. Curves of different lengths can share a batch:
pad the area with ones and the curve with its last value, which changes no result.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, one_line

# Published threshold on p(full image) - p(blank image) of a sensitive token.
SENSITIVITY = 0.2
# Smaller probabilities count as this; their logarithms would dominate every mean.
FLOOR = 1e-6
# Smallest |p(full image) - p(blank image)| that an AUC is divided by.
LEAST_RANGE = 0.05


@checked
def insertion_auc(
    area: Float[np.ndarray | jax.Array, "*#b points"],
    curve: Float[np.ndarray | jax.Array, "*#b points"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Area under the insertion curve, by the trapezoid rule; higher is better.

    Args:
      area: visible fraction of the image at each point, rising from 0 to 1.
      curve: target probability at each point, from the blank to the full image.

    Returns:
      A number in [0, 1] for each curve, not normalised.

    References:
      EAGLE, arXiv 2509.22496, section 4 (faithfulness metrics).
    """
    width = area[..., 1:] - area[..., :-1]
    return (width * (curve[..., 1:] + curve[..., :-1]) / 2).sum(-1)


@checked
def deletion_auc(
    area: Float[np.ndarray | jax.Array, "*#b points"],
    curve: Float[np.ndarray | jax.Array, "*#b points"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Area under the deletion curve, by the trapezoid rule; lower is better.

    Args:
      area: removed fraction of the image at each point, rising from 0 to 1.
      curve: target probability at each point, from the full to the blank image.

    Returns:
      A number in [0, 1] for each curve.

    References:
      EAGLE, arXiv 2509.22496, section 4 (faithfulness metrics). The published curve is drawn
      over the remaining area, 1 - area, which gives the same number.
    """
    remaining = 1 - area
    width = remaining[..., :-1] - remaining[..., 1:]
    return (width * (curve[..., 1:] + curve[..., :-1]) / 2).sum(-1)


@checked
def highest_confidence(
    insertion: Float[np.ndarray | jax.Array, "*b points"],
) -> Float[np.ndarray | jax.Array | np.floating, "*b"]:
    """Largest probability on an insertion curve, the blank image included.

    The published "average highest confidence" is its mean over samples.

    Args:
      insertion: target probability at each point of the curve.

    Returns:
      A number in [0, 1] for each curve.
    """
    if not insertion.shape[-1]:
        raise InputError("insertion is empty; a curve has at least one point")
    return insertion.max(-1)


@checked
def sensitive_tokens(
    full: Float[np.ndarray | jax.Array, "*b t"],
    blank: Float[np.ndarray | jax.Array, "*b t"],
    threshold: float = SENSITIVITY,
) -> Bool[np.ndarray | jax.Array, "*b t"]:
    """Tokens whose probability rises by more than `threshold` when the image is shown.

    Args:
      full: probability of each token with the full image (last row of the insertion curves).
      blank: probability of each token with the blank image (first row).
      threshold: lower bound on full - blank, excluded.

    Returns:
      True for the sensitive tokens.
    """
    return full - blank > threshold


@checked
def mean_over_tokens(
    curves: Float[np.ndarray | jax.Array, "*b points t"],
    tokens: Bool[np.ndarray | jax.Array, "*b t"],
) -> Float[np.ndarray | jax.Array, "*b points"]:
    """Averages the curves of chosen tokens, for the measures on sensitive tokens.

    Args:
      curves: one curve for each token.
      tokens: True for the tokens to average, for example from `sensitive_tokens`.

    Returns:
      One curve for each sample; NaN for a sample without chosen tokens. The published
      averages omit such samples, so average over samples with `nanmean`.
    """
    xp = curves.__array_namespace__()
    chosen = tokens[..., None, :]
    count = chosen.sum(-1)
    total = xp.where(chosen, curves, 0).sum(-1)
    return xp.where(count > 0, total / xp.maximum(count, 1), xp.nan).astype(curves.dtype)


@checked
def log_probability(
    curves: Float[np.ndarray | jax.Array, "*b"], floor: float = FLOOR
) -> Float[np.ndarray | jax.Array, "*b"]:
    """Natural logarithm of probabilities.

    Take logarithms of each token first and then the mean over tokens: a mean of probabilities
    hides the few tokens that the image decides among the many that it does not.

    Args:
      curves: probabilities.
      floor: smaller probabilities count as this.

    Returns:
      Values from log(floor) to 0.
    """
    xp = curves.__array_namespace__()
    return xp.log(xp.maximum(curves, xp.asarray(floor, dtype=curves.dtype)))


@checked
def normalised_auc(
    auc: Float[np.ndarray | jax.Array, "*#b"],
    full: Float[np.ndarray | jax.Array, "*#b"],
    blank: Float[np.ndarray | jax.Array, "*#b"],
    least: float = LEAST_RANGE,
) -> Float[np.ndarray | jax.Array, "*b"]:
    """An AUC on a scale where the blank image is 0 and the full image is 1.

    The scale removes the language prior: a curve that stays at the blank image's probability
    gives 0. Values outside [0, 1] are possible, because a few regions may raise the
    probability more than the full image does.

    Args:
      auc: AUC of insertion or deletion curves.
      full: target probability with the full image.
      blank: target probability with the blank image.
      least: if |full - blank| does not exceed this, the result is NaN, because the division
        would amplify noise.

    Returns:
      (auc - blank) / (full - blank), or NaN.
    """
    with one_line("auc, full and blank differ in shape", ValueError):
        np.broadcast_shapes(auc.shape, full.shape, blank.shape)
    xp = auc.__array_namespace__()
    span = full - blank
    wide = xp.abs(span) > least
    return xp.where(wide, (auc - blank) / xp.where(wide, span, 1), xp.nan).astype(auc.dtype)
