"""Pointing game, relevance mass, IoU and average precision: does a map lie on the object?

An object mask is boolean and has the size of the image; `box_mask` makes object masks of boxes.
Every map misses an object without pixels.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float16, Float64, Int32

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError

_LONGEST = 2**20  # pixels along a side of an image


@checked
def box_mask(
    boxes: Sequence[tuple[int, int, int, int]], height: int, width: int
) -> Bool[np.ndarray, "H W"]:
    """The union of boxes as an object mask.

    Args:
      boxes: x0, y0, x1, y1 of each box in pixels, ends excluded; clipped to the image.
      height: height of the image, in pixels.
      width: width of the image, in pixels.
    """
    if not (0 < height < _LONGEST and 0 < width < _LONGEST):
        raise InputError(f"the size is {width} x {height} pixels; an image has some pixels")
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask


@checked
def region_point(region: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """The pixel that a region points at: the pixel deepest inside the region.

    Unlike the centroid, this pixel always lies in the region. Among equally deep pixels the
    nearest to the centroid is taken, then the first in reading order. The edge of the image
    counts as an outline of the region.

    Args:
      region: True for the region's pixels, at least one.

    Returns:
      Row and column of the pixel.
    """
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.nonzero(region)
    top, left = rows.min(), columns.min()
    # The bounding box of the region, in a frame of one pixel outside the region.
    padded = np.pad(region[top : rows.max() + 1, left : columns.max() + 1], 1)
    depth = np.asarray(distance_transform_edt(padded))[rows - top + 1, columns - left + 1]
    off_centre = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    deepest = np.flatnonzero(depth == depth.max())
    best = deepest[np.argmin(off_centre[deepest])]
    return int(rows[best]), int(columns[best])


@checked
def region_means(
    labels: Int32[np.ndarray, "H W"], heat: Float[np.ndarray, "H W"]
) -> Float64[np.ndarray, "n"]:
    """The mean of a map over each region.

    Args:
      labels: region number of every pixel.
      heat: map over the pixels.
    """
    pixels = np.bincount(labels.ravel())
    return np.bincount(labels.ravel(), weights=heat.ravel().astype(np.float64)) / pixels


@checked
def pointing_game(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> bool:
    """Whether the most important region points at the object, by its `region_point`.

    A map over regions has no single largest pixel, so the middle of the first region stands
    for it; a region that only touches the object is a miss.

    Args:
      labels: region number of every pixel.
      order: the k leading regions, most important first.
      mask: object mask.
    """
    return bool(mask[region_point(labels == order[0])])


@checked
def published_pointing_game(
    saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]
) -> bool:
    """Whether any pixel with the largest value of a map lies in the object.

    On a map over regions all pixels of the first region have that value, so a hit only means
    that the region touches the object.

    Args:
      saliency: importance of every pixel; use `published_map` to reproduce published results.
        A map with NaN is a miss.
      mask: object mask.

    References:
      EAGLE, arXiv 2509.22496, pointing game.
    """
    # Comparisons with NaN are False.
    return bool((saliency[mask] == saliency.max()).any())


@checked
def published_map(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    objective: Float[np.ndarray, "k"],
    start: float,
) -> Float16[np.ndarray, "H W"]:
    """The saliency map as the published code computes it, in float16.

    Rounding makes the values of late regions equal. If all values are equal, the division by
    zero gives NaN.

    Args:
      labels: region number of every pixel.
      order: the k leading regions, most important first.
      objective: objective F of the first i regions, i = 1 to k.
      start: objective F of no regions; the published code takes 1 - p(full) + p(blank),
        whatever the weights are.

    References:
      EAGLE, arXiv 2509.22496, section 3.
    """
    changes = np.diff(np.append(start, objective.astype(np.float64)))
    value = -np.cumsum(np.abs(changes))
    by_region = np.full(labels.max() + 1, value[-1], np.float16)
    by_region[order] = value
    shifted = by_region - by_region.min()
    with np.errstate(invalid="ignore"):
        return (shifted / shifted.max())[labels]


@checked
def expected_hit(saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Probability that a random pixel among those with the largest value lies in the object.

    Args:
      saliency: importance of every pixel.
      mask: object mask.
    """
    return float(mask[saliency == saliency.max()].mean())


@checked
def relevance_mass(saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Fraction of the map's sum that lies in the object.

    Args:
      saliency: importance of every pixel, not negative; a map of zeros has no mass.
      mask: object mask.
    """
    total = float(saliency.sum(dtype=np.float64))
    return float(saliency[mask].sum(dtype=np.float64)) / total if total else 0.0


@checked
def best_iou(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> tuple[float, int]:
    """Largest intersection over union of the object and the first i regions, i = 1 to k.

    Args:
      labels: region number of every pixel.
      order: the k leading regions, most important first.
      mask: object mask.

    Returns:
      The largest IoU, and the smallest i that reaches it.
    """
    inside, area = _overlaps(labels, order, mask)
    iou = inside / (area + mask.sum() - inside)
    best = int(np.argmax(iou))
    return float(iou[best]), best + 1


@checked
def average_precision(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> float:
    """Average precision of the order as a ranking of pixels, object against background.

    The pixels of a region are tied, so each region is one step, whose precision is weighted by
    the fraction of the object in the region. A random order gives about the fraction of the
    image that the object covers.

    Args:
      labels: region number of every pixel.
      order: the k leading regions, most important first.
      mask: object mask.
    """
    inside, area = _overlaps(labels, order, mask)
    if not mask.any():
        return 0.0
    recall = np.diff(np.append(0, inside)) / mask.sum()
    return float((recall * inside / area).sum())


def _overlaps(labels, order, mask) -> tuple[np.ndarray, np.ndarray]:
    """Number of pixels of the first i regions: inside the object, and in total.

    All regions that are missing from the order form one last step.
    """
    area = np.bincount(labels.ravel())
    inside = np.bincount(labels[mask], minlength=area.size)
    sums = []
    for pixels in (inside, area):
        steps = np.cumsum(pixels[order])
        sums.append(steps if order.size == area.size else np.append(steps, pixels.sum()))
    return sums[0], sums[1]
