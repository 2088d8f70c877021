"""From values, or from an order and its curves, to a map over the pixels."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from eagle_jax.errors import InputError, require_choice
from eagle_jax.metrics.word_classes import phrase_tokens
from eagle_jax.results.consistency import valid_texts
from eagle_jax.results.curves import objective_along
from eagle_jax.results.partitions import combined_errors, combined_map, mean_over_tokens

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution

MapKind = Literal["values", "order"]
MapTarget = str | Sequence[int] | None
# A value is apart from 0 if it is at least this number of its standard errors away.
APART = 2
# A map without a value above this has nothing that speaks for the answer.
_LEAST = 1e-12


def map_of(
    attribution: "Attribution", target: MapTarget, by: MapKind | None
) -> Float32[np.ndarray, "H W"]:
    """Map over the pixels for all target tokens, or for a word of the answer.

    Args:
      attribution: the explanation.
      target: word or phrase of the answer, or positions; None for all target tokens.
      by: kind of map, as in `Attribution.map`.

    Raises:
      InputError: the target is not among the target tokens, or there are no values.
    """
    if by is not None:
        require_choice("by", by, get_args(MapKind))
    if by is None and target is None and attribution.values is None:
        if attribution.heat is not None:
            return stretched(attribution.heat)
        by = "order"
    if by == "order":
        objective = objective_along(attribution, _rows(attribution, target))
        return ranked_saliency(attribution.labels, attribution.order, objective)
    worth = region_values(attribution, target)
    if worth is None:
        raise InputError(
            f"an attribution by {attribution.search} has one map for all target tokens and no "
            "values: explain the word itself, as target"
        )
    if attribution.further_labels is not None:
        return combined_map(attribution, _rows(attribution, target))
    return worth.values[attribution.labels]


def errors_of(attribution: "Attribution", target: MapTarget) -> Float32[np.ndarray, "H W"]:
    """Standard error of the map by values.

    Args:
      attribution: the explanation.
      target: word or phrase of the answer, or positions; None for all target tokens.

    Raises:
      InputError: the target is not among the target tokens, or there are no values.
    """
    worth = region_values(attribution, target)
    if worth is None:
        raise InputError(f"an attribution by {attribution.search} has no values and no errors")
    if attribution.further_labels is not None:
        return combined_errors(attribution, _rows(attribution, target))
    return worth.errors[attribution.labels]


class RegionValues(NamedTuple):
    """What the regions are worth to target tokens, mean over the tokens.

    Attributes:
      values: value of each region, in probability.
      errors: standard error of each value; the errors of different tokens are taken to be
        independent, as they are in the process that the values come from.
    """

    values: Float32[np.ndarray, "n"]
    errors: Float32[np.ndarray, "n"]

    @property
    def apart(self) -> Bool[np.ndarray, "n"]:
        """Where a value is apart from 0: at least two errors away from it."""
        return np.abs(self.values) >= APART * self.errors


def region_values(
    attribution: "Attribution", target: str | Sequence[int] | None = None
) -> RegionValues | None:
    """What each region is worth to a word, with its error; None without values.

    Args:
      attribution: the explanation.
      target: word or phrase of the answer, or positions; None for all target tokens.

    Raises:
      InputError: the target is not among the target tokens.
    """
    rows = _rows(attribution, target)
    if attribution.values is None or attribution.errors is None:
        return None
    value, error = mean_over_tokens(attribution.values, attribution.errors, rows)
    return RegionValues(value.astype(np.float32), error.astype(np.float32))


def part_of(attribution: "Attribution", target: str | Sequence[int]) -> "Attribution":
    """The explanation of a word, as `Attribution.part` describes it."""
    rows = _rows(attribution, target)
    fields = {
        name: None if (array := getattr(attribution, name)) is None else array[rows]
        for name in (
            *("positions", "token_ids", "values", "errors"),
            *("further_values", "further_errors"),
        )
    }
    return dataclasses.replace(
        attribution,
        **fields,
        tokens=tuple(attribution.tokens[row] for row in rows),
        insertion=attribution.insertion[:, rows],
        deletion=attribution.deletion[:, rows],
        heat=None,
        pairs=None,
        interaction=None,
    )


def _rows(attribution: "Attribution", target: MapTarget) -> np.ndarray:
    """Rows of the target tokens that a word, or positions, name."""
    if target is None:
        return np.arange(attribution.positions.size)
    wanted = target
    if isinstance(target, str):
        wanted = phrase_tokens(valid_texts(attribution.answer_tokens), target)
    rows = np.flatnonzero(np.isin(attribution.positions, np.asarray(wanted, np.int64)))
    if not rows.size:
        raise InputError(
            f"{target!r} is not among the target tokens; they are "
            + ", ".join(map(repr, attribution.tokens))
        )
    return rows


def shown_map(values: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """A map from 0 to 1, without what speaks against the answer.

    Args:
      values: map with values on any scale; those below 0 become 0.
    """
    return np.maximum(values, 0) / np.float32(max(float(values.max()), _LEAST))


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
