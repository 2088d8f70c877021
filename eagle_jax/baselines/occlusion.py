"""Loss of score when regions are hidden from the full image; and a random order as a control.

Like all methods that need only probabilities, these are generators: they yield sets of regions,
are sent the scores, and return the importance of each region.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int32

from eagle_jax.baselines.conversations import Conversation, Estimate
from eagle_jax.errors import InputError
from eagle_jax.scoring.scorer import Scorer


def leave_one_out(scorer: Scorer) -> Estimate:
    """Loss of score when a single region is hidden: n + 1 forwards.

    Args:
      scorer: set function whose regions are ranked.

    Returns:
      ``p(V) - p(V without r)`` for each region r, mean over the target tokens.
    """
    return (yield from _drops(np.eye(scorer.regions, dtype=bool)))


def occlusion(scorer: Scorer) -> Estimate:
    """Loss of score when a sliding window is hidden: n + 1 forwards.

    A window is a region with all regions that touch it: 3 x 3 cells of a grid. It hides
    neighbours that carry the same information together, which `leave_one_out` never does.

    Args:
      scorer: set function whose regions are ranked; it must have ``labels``.

    Returns:
      For each region, the mean of ``p(V) - p(V without the window)`` over the windows that
      contain the region.

    Raises:
      InputError: the scorer has no ``labels``.

    References:
      Zeiler and Fergus, arXiv 1311.2901, section 4.2, where the window is a square of pixels.
    """
    labels = getattr(scorer, "labels", None)
    if labels is None:
        raise InputError(
            "occlusion needs to know which regions touch, and this scorer has no labels; "
            "choose leave-one-out, which needs none"
        )
    windows = neighbours(labels)
    drops = yield from _drops(windows)
    return windows.T @ drops / windows.sum(axis=0)


def random(scorer: Scorer, *, seed: int = 0) -> Estimate:
    """Random numbers, as a control.

    Args:
      scorer: set function whose regions are ranked.
      seed: seed of the numbers.
    """
    yield from ()  # A generator like the other methods; it asks for no scores.
    return np.random.default_rng(seed).random(scorer.regions)


def neighbours(labels: Int32[np.ndarray, "H W"]) -> Bool[np.ndarray, "n n"]:
    """True for regions that touch, at least at a corner of two pixels; a region touches itself.

    Args:
      labels: region of every pixel.
    """
    n = int(labels.max()) + 1
    touching = np.eye(n, dtype=bool)
    for here, there in (
        (labels[1:], labels[:-1]),
        (labels[:, 1:], labels[:, :-1]),
        (labels[1:, 1:], labels[:-1, :-1]),
        (labels[1:, :-1], labels[:-1, 1:]),
    ):
        touching[here, there] = True
    return touching | touching.T


def _drops(
    hidden: Bool[np.ndarray, "b n"],
) -> Conversation[Float64[np.ndarray, "b"]]:
    """Loss of score when each of some sets of regions is hidden."""
    full = np.ones_like(hidden[:1])
    scores = yield np.concatenate([full, ~hidden])
    value = scores.mean(axis=1, dtype=np.float64)
    return value[0] - value[1:]
