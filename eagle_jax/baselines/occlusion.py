"""What is lost when something is hidden from the whole image; and the order that knows nothing.

Like all methods that need probabilities alone, these are generators: they yield sets of
regions, are sent the scores, and return how much each region matters.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int32

from eagle_jax.baselines.conversations import Conversation, Estimate
from eagle_jax.errors import InputError
from eagle_jax.scoring.scorer import Scorer


def leave_one_out(scorer: Scorer) -> Estimate:
    """What is lost when a region alone is hidden: n + 1 forwards.

    Args:
      scorer: whose regions are ranked.

    Returns:
      ``p(V) - p(V without r)`` of each region r, means over the target tokens.
    """
    drops = yield from _drops(np.eye(scorer.regions, dtype=bool))
    return drops


def occlusion(scorer: Scorer) -> Estimate:
    """What is lost when a window is hidden that slides over the image: n + 1 forwards.

    A window is a region with all that touch it, on a grid of cells 3 x 3 of them. Neighbours
    that stand in for each other are so hidden together, which `leave_one_out` never does.

    Args:
      scorer: whose regions are ranked; it must have ``labels``.

    Returns:
      The mean over the windows that hold a region of ``p(V) - p(V without the window)``.

    Raises:
      InputError: the scorer does not say where its regions are.

    References:
      Zeiler and Fergus, arXiv 1311.2901, section 4.2; there with a square of pixels.
    """
    labels = getattr(scorer, "labels", None)
    if labels is None:
        raise InputError(
            "occlusion slides a window over neighbouring regions, and this scorer has no "
            "labels that say where they are; leave-one-out needs none"
        )
    windows = neighbours(labels)
    drops = yield from _drops(windows)
    return windows.T @ drops / windows.sum(axis=0)


def random(scorer: Scorer, *, seed: int = 0) -> Estimate:
    """Numbers that know nothing of the model, as a control.

    Args:
      scorer: whose regions are ranked.
      seed: equal seeds give equal numbers.
    """
    return np.random.default_rng(seed).random(scorer.regions)
    yield  # what makes a generator of it; no set is asked for


def neighbours(labels: Int32[np.ndarray, "H W"]) -> Bool[np.ndarray, "n n"]:
    """Which regions touch each other, by a side or a corner of a pixel; each touches itself.

    Args:
      labels: region of every pixel.
    """
    n = int(labels.max()) + 1
    touching = np.eye(n, dtype=bool)
    for one, other in (
        (labels[1:], labels[:-1]),
        (labels[:, 1:], labels[:, :-1]),
        (labels[1:, 1:], labels[:-1, :-1]),
        (labels[1:, :-1], labels[:-1, 1:]),
    ):
        touching[one, other] = True
    return touching | touching.T


def _drops(
    hidden: Bool[np.ndarray, "b n"],
) -> Conversation[Float64[np.ndarray, "b"]]:
    """What hiding each of some sets of regions costs."""
    full = np.ones_like(hidden[:1])
    scores = yield np.concatenate([full, ~hidden])
    value = scores.mean(axis=1, dtype=np.float64)
    return value[0] - value[1:]
