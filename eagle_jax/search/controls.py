"""Orders that know nothing of the answer, to hold an explanation against.

A curve means little by itself: large regions shown first raise any score. The same curves
along a random order, along an order of like-sized regions, and along the regions by area say
how much of it is owed to the explanation.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

_STRATA = 4


def random_order(regions: int, seed: int | Sequence[int]) -> Int32[np.ndarray, "n"]:
    """The regions in random order.

    Args:
      regions: their number.
      seed: equal seeds give equal orders.
    """
    return np.random.default_rng(seed).permutation(regions).astype(np.int32)


def area_order(labels: Int32[np.ndarray, "H W"]) -> Int32[np.ndarray, "n"]:
    """The regions from the largest to the smallest, by number among equals.

    Args:
      labels: region number of every pixel.
    """
    return np.argsort(-np.bincount(labels.ravel()), kind="stable").astype(np.int32)


def matched_order(
    labels: Int32[np.ndarray, "H W"], order: Int32[np.ndarray, "n"], seed: int | Sequence[int]
) -> Int32[np.ndarray, "n"]:
    """A random order whose areas follow those of another order.

    The regions are sorted by area and cut into four strata; each region's place in the order
    is taken by a random one of its stratum. What is left of a difference between the two
    orders' curves is not owed to the size of the regions.

    Args:
      labels: region number of every pixel.
      order: to be matched.
      seed: equal seeds give equal orders.
    """
    rng = np.random.default_rng(seed)
    instead = np.empty_like(order)
    for stratum in np.array_split(area_order(labels), _STRATA):
        instead[stratum] = rng.permutation(stratum)
    return instead[order]


def control_orders(
    labels: Int32[np.ndarray, "H W"], order: Int32[np.ndarray, "n"], count: int, name: str
) -> dict[str, Int32[np.ndarray, "n"]]:
    """The orders that an explanation is held against.

    Args:
      labels: region number of every pixel.
      order: the explanation's.
      count: number of random and of matched orders.
      name: of the item. It seeds the orders, which so differ between items of one layout and
        agree between runs over the same items.

    Returns:
      "random-0", "matched-0", "random-1", ... and "area", by name.
    """
    orders = {}
    for number in range(count):
        seed = (zlib.crc32(name.encode("utf-8", "surrogatepass")), number)
        orders[f"random-{number}"] = random_order(order.size, seed)
        orders[f"matched-{number}"] = matched_order(labels, order, seed)
    return orders | {"area": area_order(labels)}
