"""Curves along an order from the blank to the full image, and the objective along them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

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
    """The curves of an attribution, with one step for all regions that its order lacks."""
    curves = attribution.area, attribution.insertion, attribution.deletion
    if attribution.order.size == attribution.regions:
        return WholeCurves(*curves)
    ends = np.ones(1, np.float32), attribution.deletion[:1], attribution.insertion[:1]
    return WholeCurves(*map(np.concatenate, zip(curves, ends, strict=True)))


def objective_along(
    attribution: "Attribution", rows: np.ndarray | slice = slice(None)
) -> Float64[np.ndarray, "m"]:
    """The objective F of the first i regions of the whole order, mean over target tokens.

    Args:
      attribution: the explanation.
      rows: numbers of the target tokens; all by default.
    """
    _, insertion, deletion = attribution.whole
    shown, hidden = (
        curve[:, rows].mean(axis=1, dtype=np.float64) for curve in (insertion, deletion)
    )
    return attribution.insight_weight * shown + attribution.necessity_weight * (1 - hidden)


def mean_auc(
    metric: Callable[..., Any],
    area: Float32[np.ndarray, "m"],
    curves: Float32[np.ndarray, "m t"],
) -> float:
    """A measure of the mean curve over the target tokens, computed in float64."""
    return float(metric(area.astype(np.float64), curves.mean(axis=1, dtype=np.float64)))
