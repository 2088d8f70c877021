"""Control orders that do not depend on the answer, to compare an explanation with.

A curve says little by itself: large regions shown first raise any score. Curves along a random
order, along a random order of regions of similar size, and along the regions by area show how
much of the score is due to the explanation.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

_STRATA = 4


def random_order(regions: int, seed: int | Sequence[int]) -> Int32[np.ndarray, "n"]:
    """The regions in random order.

    Args:
      regions: number of regions.
      seed: seed of the random numbers.
    """
    return np.random.default_rng(seed).permutation(regions).astype(np.int32)


def area_order(labels: Int32[np.ndarray, "H W"]) -> Int32[np.ndarray, "n"]:
    """The regions from the largest to the smallest, of equal regions the lowest number first.

    Args:
      labels: region number of every pixel.
    """
    return np.argsort(-np.bincount(labels.ravel()), kind="stable").astype(np.int32)


def matched_order(
    labels: Int32[np.ndarray, "H W"], order: Int32[np.ndarray, "n"], seed: int | Sequence[int]
) -> Int32[np.ndarray, "n"]:
    """A random order in which the areas of the regions follow those of another order.

    The regions are sorted by area and cut into four strata of equal size. A random region of
    the same stratum takes the place of each region. The difference between the curves of both
    orders is then not due to the size of the regions.

    Args:
      labels: region number of every pixel.
      order: order whose areas are matched.
      seed: seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    instead = np.empty_like(order)
    for stratum in np.array_split(area_order(labels), _STRATA):
        instead[stratum] = rng.permutation(stratum)
    return instead[order]


def control_orders(
    labels: Int32[np.ndarray, "H W"], order: Int32[np.ndarray, "n"], count: int, name: str
) -> dict[str, Int32[np.ndarray, "n"]]:
    """The control orders that an explanation is compared with.

    Args:
      labels: region number of every pixel.
      order: order of the explanation.
      count: number of random orders, and number of matched orders.
      name: name of the item, which seeds the random numbers: orders differ between items with
        the same regions, and are equal in every run over the same items.

    Returns:
      "random-0", "matched-0", "random-1", ... and "area", by name.
    """
    orders = {}
    for number in range(count):
        seed = (zlib.crc32(name.encode("utf-8", "surrogatepass")), number)
        orders[f"random-{number}"] = random_order(order.size, seed)
        orders[f"matched-{number}"] = matched_order(labels, order, seed)
    return orders | {"area": area_order(labels)}
