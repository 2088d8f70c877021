"""Language prior against perceptual evidence, token by token."""

import numpy as np
from jaxtyping import Float, Float32

from eagle_jax.metrics.faithfulness import insertion_auc


def token_reliance(
    area: Float[np.ndarray, "k"], insertion: Float[np.ndarray, "k t"]
) -> Float32[np.ndarray, "t"]:
    """How much the image raises each token: I_t = AUC of its insertion curve - its minimum.

    Near 0 the token is as likely without the image as with it, so the language prior
    carries it; a token that a small part of the image makes certain comes close to 1.

    Args:
      area: share of the image that is visible at each of the k = n + 1 points, from 0 to 1.
      insertion: probability of each token at each point; row 0 is the blank image.

    Returns:
      One raw value in [0, 1) per token, comparable between answers.

    References:
      EAGLE, arXiv 2509.22496, section 3 (modality-aware analysis): the published code takes
      the lift above the minimum as an area-weighted mean, and so does this.
    """
    auc = insertion_auc(area.astype(np.float64), insertion.T.astype(np.float64))
    # A flat curve may come out a rounding error below zero.
    return np.maximum(auc - insertion.min(axis=0), 0).astype(np.float32)


def sentence_scale(reliance: Float[np.ndarray, "t"]) -> Float32[np.ndarray, "t"]:
    """Stretch the reliance of one answer to [0, 1] for display.

    The scale is relative: an answer that is all language prior still shows a token at 1.
    Compare answers by the raw values.

    Args:
      reliance: raw values of `token_reliance`.

    Returns:
      0 for the least, 1 for the most image-driven token; 0.5 everywhere when all are equal.
    """
    low, high = reliance.min(), reliance.max()
    if high == low:
        return np.full(reliance.shape, 0.5, np.float32)
    return ((reliance - low) / (high - low)).astype(np.float32)
