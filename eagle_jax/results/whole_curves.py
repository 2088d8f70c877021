"""The curves of an attribution from the blank to the full image."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float32

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution


class WholeCurves(NamedTuple):
    """Curves from the blank to the full image.

    Attributes:
      area: fraction of the image in the regions taken so far, from 0 to 1.
      insertion: probability of each target token with these regions visible.
      deletion: the same with these regions removed.
    """

    area: Float32[np.ndarray, "m"]
    insertion: Float32[np.ndarray, "m t"]
    deletion: Float32[np.ndarray, "m t"]


def whole_curves(attribution: "Attribution") -> WholeCurves:
    """The curves up to the full and the blank image.

    A search that was cut short did not score the sets after its last region: all missing
    regions are taken as one step, so that areas under curves remain comparable.

    Args:
      attribution: the explanation.
    """
    curves = attribution.area, attribution.insertion, attribution.deletion
    if attribution.order.size == attribution.regions:
        return WholeCurves(*curves)
    ends = np.ones(1, np.float32), attribution.deletion[:1], attribution.insertion[:1]
    return WholeCurves(*map(np.concatenate, zip(curves, ends, strict=True)))


def mean_auc(metric: Callable, area: np.ndarray, curves: np.ndarray) -> float:
    """Area under the mean of curves over the target tokens.

    Args:
      metric: `insertion_auc` or `deletion_auc`.
      area: fraction of the image at each step.
      curves: one curve for each token.
    """
    return float(metric(area.astype(np.float64), curves.mean(axis=1, dtype=np.float64)))
