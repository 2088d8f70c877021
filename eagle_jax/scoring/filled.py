"""The set function with something else than black in the place of hidden regions."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import plan_image
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import whole_patches
from eagle_jax.scoring.set_function import log_score_patches

FILLS = ("black", "mean", "blur")


def blurred(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """An image without its content: a Gaussian almost as flat as it is wide.

    Args:
      image: RGB.

    References:
      The sizes for an image's width are those of Xing et al., arXiv 2503.13891, in their code.
    """
    import scipy.ndimage

    width = image.shape[1]
    kernel = 501 if width >= 2000 else 301 if width >= 800 else 201 if width >= 500 else 101
    values = scipy.ndimage.gaussian_filter(
        image.astype(np.float32),
        (kernel - 1, kernel - 1, 0),
        mode="mirror",
        radius=(kernel // 2, kernel // 2, 0),
    )
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def require_fill(fill: str) -> None:
    """Raises unless there is such a fill.

    Raises:
      InputError: there is none; the message lists those that there are.
    """
    if fill not in FILLS:
        raise InputError(f"fill is {fill!r}; it must be one of {', '.join(FILLS)}")


class FilledScorer:
    """`Case.scorer`, but hidden regions show the mean colour or a blurred image.

    Attributes:
      labels: int32 (H, W), the region of each source pixel.
      regions: number of regions.
    """

    def __init__(self, case: Case, fill: str):
        """Prepares what is shown in the place of hidden regions.

        Args:
          case: that is asked.
          fill: "black", "mean" or "blur".

        Raises:
          InputError: there is no such fill.
        """
        require_fill(fill)
        self.labels, self.regions = case.labels, case.scorer.regions
        self._scorer = case.scorer
        image = case.image
        if fill == "blur":
            shown = blurred(image)
        else:
            colour = image.mean(axis=(0, 1)).round() if fill == "mean" else np.zeros(3)
            shown = np.broadcast_to(colour.astype(np.uint8), image.shape)
        self._fill = plan_image(shown, case.labels, case.model.image_settings).image

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """Probability of each target token with only some regions of the image visible."""
        size, question = self._scorer.batch_size, self._scorer.question
        scores = [np.zeros((0, len(self._scorer.tokens)), np.float32)]
        for start in range(0, len(visible), size):
            part = visible[start : start + size]
            sets = np.pad(part, ((0, size - len(part)), (0, 0)))
            found = _score(self._scorer.network, question, self._fill, sets)
            scores.append(np.asarray(found)[: len(part)])
        return np.concatenate(scores)


@jax.jit
def _score(network, question, fill, sets):
    plan = question.plan

    def patches(row):
        return whole_patches(question, jnp.where(row[plan.labels], plan.image, fill))[0]

    return jnp.exp(log_score_patches(network, question, jax.lax.map(patches, sets)))
