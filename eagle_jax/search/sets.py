"""Sets of regions along an order, and the curves of scores over them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from eagle_jax.argument_types import checked
from eagle_jax.metrics.faithfulness import deletion_auc, insertion_auc


@checked
class Curves(NamedTuple):
    """The scores along an order.

    Attributes:
      order: region numbers, most important first; k of the n regions, where k < n if the
        search ended early.
      insertion: target probabilities with the first i regions visible, in row i.
      deletion: target probabilities with the first i regions hidden, in row i.
    """

    order: Int32[np.ndarray, "k"]
    insertion: Float32[np.ndarray, "k+1 t"]
    deletion: Float32[np.ndarray, "k+1 t"]


@checked
def prefixes(order: Int[np.ndarray, " n"]) -> Bool[np.ndarray, "n+1 n"]:
    """The prefixes of an order of all regions, as sets.

    Args:
      order: region numbers, most important first.

    Returns:
      Row k has the first k regions visible, for k = 0 (blank image) to n (full image).
    """
    rank = np.argsort(order)
    return rank[None, :] < np.arange(len(order) + 1)[:, None]


def ends(regions: int) -> Bool[np.ndarray, "2 n"]:
    """The blank and the full image, where the curves begin."""
    return np.stack([np.zeros(regions, bool), np.ones(regions, bool)])


def both_ways(sets: Bool[np.ndarray, "b n"]) -> Bool[np.ndarray, "_ n"]:
    """The sets, then their complements: each set first visible alone, then hidden alone."""
    return np.concatenate([sets, ~sets])


def area_between(curves: Curves, area: Float[np.ndarray, " n"]) -> float:
    """Insertion AUC minus deletion AUC of the mean over target tokens.

    After a partial order, all regions that are left count as one step.

    Args:
      curves: curves along an order.
      area: fraction of the image in each region.
    """
    taken = np.append(0, np.cumsum(area[curves.order]))
    shown, removed = curves.insertion.mean(1), curves.deletion.mean(1)
    if len(curves.order) < len(area):
        taken = np.append(taken, 1.0)
        shown, removed = np.append(shown, removed[0]), np.append(removed, shown[0])
    return float(insertion_auc(taken, shown) - deletion_auc(taken, removed))


@checked
def curves_along(
    scorer: Callable[[Bool[np.ndarray, "b n"]], Float[np.ndarray, "b t"]],
    order: Int32[np.ndarray, "n"],
) -> Curves:
    """Insertion and deletion curves along any order of all regions.

    Args:
      scorer: the set function; it scores 2 n masked images in one call.
      order: region numbers, first to last.

    Returns:
      The curves, from the blank to the full image and back.
    """
    return curves_from(order, np.asarray(scorer(sets_along(order)), np.float32))


def sets_along(order: Int32[np.ndarray, "n"]) -> Bool[np.ndarray, "m n"]:
    """The sets whose scores make the curves along an order of all regions.

    Args:
      order: region numbers, first to last.

    Returns:
      The 2 n sets without duplicates, for `curves_from`.
    """
    inserted = prefixes(order)
    # The blank and the full image belong to both curves.
    return np.concatenate([inserted, ~inserted[1:-1]])


def curves_from(order: Int32[np.ndarray, "n"], scores: Float32[np.ndarray, "m t"]) -> Curves:
    """The curves along an order, from the scores of `sets_along`.

    Args:
      order: region numbers, first to last.
      scores: target probabilities of each set.
    """
    shown, removed = scores[: len(order) + 1], scores[len(order) + 1 :]
    return Curves(order, shown, np.concatenate([shown[-1:], removed, shown[:1]]))
