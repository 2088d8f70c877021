"""From an order and its curves to a map over the pixels."""

import numpy as np
from jaxtyping import Float32, Float64, Int32


def ranked_saliency(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    objective: Float64[np.ndarray, "m"],
) -> Float32[np.ndarray, "H W"]:
    """Map by an order: 1 on the first region, falling to 0 on the last.

    The value of a region is minus the sum of all absolute changes of the objective F up to it,
    so a drop of F lowers the map just as a gain does; then the values are stretched to [0, 1].
    Where F never changes after the first region, the first is 1 and the others are 0. Regions
    that the order lacks are 0.

    Args:
      labels: region number of every pixel.
      order: region numbers, most important first; k of the n regions.
      objective: F from no region to all regions, k + 1 values, or k + 2 where the order lacks
        regions, which then count as one step.

    References:
      EAGLE, arXiv 2509.22496, section 3. The published map is float16, where late regions
      collapse to equal values, and its start value takes both weights as 1.
    """
    if not order.size:
        return np.zeros(labels.shape, np.float32)
    value = -np.cumsum(np.abs(np.diff(objective)))
    spread = value[0] - value[-1]
    if spread > 0:
        value = (value - value[-1]) / spread
    else:
        value = (np.arange(value.size) == 0).astype(np.float64)
    by_region = np.zeros(labels.max() + 1, np.float32)
    by_region[order] = value[: order.size]
    return by_region[labels]


def stretched(heat: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """A map stretched to [0, 1]; 0 where all its values are equal."""
    low, high = heat.min(), heat.max()
    return (heat - low) / (high - low if high > low else np.float32(1))
