"""Pointing game, relevance mass, IoU and average precision: does the map lie on the object?

The object is a boolean mask of the picture's size; a box becomes one by `box_mask`. An object
without pixels is missed by everything.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float16, Int32


def box_mask(
    boxes: Sequence[tuple[int, int, int, int]], height: int, width: int
) -> Bool[np.ndarray, "H W"]:
    """The pixels in any of some boxes.

    Args:
      boxes: x0, y0, x1, y1 of each in pixels, ends excluded; clipped to the picture.
      height: of the picture, in pixels.
      width: of the picture, in pixels.
    """
    mask = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in boxes:
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return mask


def region_point(region: Bool[np.ndarray, "H W"]) -> tuple[int, int]:
    """The one pixel that a region points at: the one deepest inside it.

    Unlike the centroid it never lies outside. Among equally deep pixels the nearest to the
    centroid counts, then the first in reading order; the picture's edge is an outline too.

    Args:
      region: at least one pixel.

    Returns:
      Row and column.
    """
    from scipy.ndimage import distance_transform_edt

    rows, columns = np.nonzero(region)
    top, left = rows.min(), columns.min()
    # The region alone, in a frame of one pixel that is outside it.
    own = np.pad(region[top : rows.max() + 1, left : columns.max() + 1], 1)
    depth = np.asarray(distance_transform_edt(own))[rows - top + 1, columns - left + 1]
    off_centre = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    deepest = np.flatnonzero(depth == depth.max())
    best = deepest[np.argmin(off_centre[deepest])]
    return int(rows[best]), int(columns[best])


def pointing_game(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> bool:
    """Whether the first region points into the object, by the one pixel of `region_point`.

    A map over regions has no single largest pixel, so the region answers for itself with its
    own middle; one that only grazes the object does not hit it.

    Args:
      labels: region number of every pixel.
      order: regions, most important first.
      mask: where the object is.
    """
    return bool(mask[region_point(labels == order[0])])


def published_pointing_game(
    saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]
) -> bool:
    """Whether any pixel of the map's largest value lies in the object.

    On a map over regions the whole first region has that value, so a hit only says that it
    touches the object. A map with NaN, as `published_map` gives where nothing changes, misses.

    Args:
      saliency: importance of every pixel, for parity from `published_map`.
      mask: where the object is.

    References:
      EAGLE, arXiv 2509.22496, pointing game.
    """
    # Comparisons with NaN are False.
    return bool((saliency[mask] == saliency.max()).any())


def published_map(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    objective: Float[np.ndarray, "k"],
    start: float,
) -> Float16[np.ndarray, "H W"]:
    """The heat map as the published code computes it, in float16.

    Late regions collapse to equal values, and where no value is left to tell regions apart
    the division by zero gives NaN.

    Args:
      labels: region number of every pixel.
      order: regions, most important first.
      objective: F of each chosen prefix, from one region to all.
      start: F of the empty prefix; published as 1 - p(full) + p(blank) for any weights.

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


def expected_hit(saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Chance that a random one of the map's largest pixels lies in the object.

    Args:
      saliency: importance of every pixel.
      mask: where the object is.

    Returns:
      Share of the pixels with the largest value, whole regions as a rule, that are inside.
    """
    return float(mask[saliency == saliency.max()].mean())


def relevance_mass(saliency: Float[np.ndarray, "H W"], mask: Bool[np.ndarray, "H W"]) -> float:
    """Share of the map's sum that lies in the object.

    Args:
      saliency: importance of every pixel, not negative and not all zero.
      mask: where the object is.
    """
    return float(saliency[mask].sum(dtype=np.float64) / saliency.sum(dtype=np.float64))


def best_iou(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> tuple[float, int]:
    """Largest intersection over union of the object and the first i regions, i = 1 to k.

    Args:
      labels: region number of every pixel.
      order: regions, most important first.
      mask: where the object is.

    Returns:
      The IoU and the smallest i that reaches it.
    """
    inside, area = _overlaps(labels, order, mask)
    iou = inside / (area + mask.sum() - inside)
    best = int(np.argmax(iou))
    return float(iou[best]), best + 1


def average_precision(
    labels: Int32[np.ndarray, "H W"],
    order: Int32[np.ndarray, "k"],
    mask: Bool[np.ndarray, "H W"],
) -> float:
    """Average precision of the pixels as a ranking of the object against the rest.

    The pixels of a region are tied, so each region is one step: its precision counts by the
    share of the object that it adds. A random order gives about the object's share of the
    picture.

    Args:
      labels: region number of every pixel.
      order: regions, most important first.
      mask: where the object is.
    """
    inside, area = _overlaps(labels, order, mask)
    if not mask.any():
        return 0.0
    recall = np.diff(np.append(0, inside)) / mask.sum()
    return float((recall * inside / area).sum())


def _overlaps(labels, order, mask) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the first i regions: those inside the object, and all.

    Regions that a search cut short did not come to are one last step together.
    """
    area = np.bincount(labels.ravel())
    inside = np.bincount(labels[mask], minlength=area.size)
    found = []
    for all_of, chosen in ((inside.sum(), inside[order]), (area.sum(), area[order])):
        steps = np.cumsum(chosen)
        found.append(steps if order.size == area.size else np.append(steps, all_of))
    return found[0], found[1]
