"""From values, or from an order and its curves, to a map over the pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Float32, Float64, Int32

from eagle_jax.errors import InputError, require_choice
from eagle_jax.metrics.word_classes import phrase_tokens

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution

MapKind = Literal["values", "order"]
MapTarget = str | Sequence[int] | None
# A map without a value above this has nothing that speaks for the answer.
_LEAST = 1e-12
# Value up to which the scale is linear on which maps of several partitions are averaged. Larger
# values count by their logarithm, so that a pixel needs the support of all partitions.
_LINEAR = 1e-3


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
    rows = _rows(attribution, target)
    if by == "order":
        return ranked_saliency(
            attribution.labels, attribution.order, objective_along(attribution, rows)
        )
    if attribution.values is None:
        raise InputError(
            f"an attribution by {attribution.search} has one map for all target tokens and no "
            "values: explain the word itself, as target"
        )
    if attribution.further_labels is not None:
        return _combined(attribution, rows)
    value = attribution.values[rows].mean(0, dtype=np.float64)
    return value.astype(np.float32)[attribution.labels]


def errors_of(attribution: "Attribution", target: MapTarget) -> Float32[np.ndarray, "H W"]:
    """Standard error of the map by values.

    Args:
      attribution: the explanation.
      target: word or phrase of the answer, or positions; None for all target tokens.

    Raises:
      InputError: the target is not among the target tokens, or there are no values.
    """
    rows = _rows(attribution, target)
    if attribution.errors is None:
        raise InputError(f"an attribution by {attribution.search} has no values and no errors")
    if attribution.further_labels is not None:
        return _combined_errors(attribution, rows)
    # The errors of the tokens come from the same sets, so they may all have one sign.
    error = attribution.errors[rows].mean(0, dtype=np.float64)
    return error.astype(np.float32)[attribution.labels]


def _combined(attribution: "Attribution", rows: np.ndarray) -> Float32[np.ndarray, "H W"]:
    """Mean over the partitions of the value per area, on a scale that large values compress."""
    densities = _densities(attribution, rows)
    scaled = [np.arcsinh(value / _LINEAR)[labels] for labels, value, _ in densities]
    return (_LINEAR * np.sinh(np.mean(scaled, axis=0))).astype(np.float32)


def _combined_errors(
    attribution: "Attribution", rows: np.ndarray
) -> Float32[np.ndarray, "H W"]:
    """Change of `_combined` by one standard error of the values of each partition."""
    densities = _densities(attribution, rows)
    scaled = [np.arcsinh(value / _LINEAR)[labels] for labels, value, _ in densities]
    total, variance = np.sum(scaled, axis=0), np.zeros(attribution.labels.shape)
    for own, (labels, value, error) in zip(scaled, densities, strict=True):
        low, high = (
            np.sinh((total - own + np.arcsinh(end / _LINEAR)[labels]) / len(scaled))
            for end in (value - error, value + error)
        )
        # The partitions have no scores in common, so their errors are independent.
        variance += (_LINEAR * (high - low) / 2) ** 2
    return np.sqrt(variance).astype(np.float32)


def _densities(
    attribution: "Attribution", rows: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Label map of each partition, and value and error of its regions per area.

    The unit of area is a mean region of the first partition.
    """
    first: tuple[Any, ...] = attribution.labels[None], attribution.values, attribution.errors
    further: tuple[Any, ...] = (
        attribution.further_labels,
        attribution.further_values,
        attribution.further_errors,
    )
    densities = []
    for maps, *estimates in (first, further):
        area = np.bincount(maps.ravel()) * attribution.regions / attribution.labels.size
        value, error = (each[rows].mean(0, dtype=np.float64) / area for each in estimates)
        densities += [(labels, value, error) for labels in maps]
    return densities


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


def _rows(attribution: "Attribution", target: MapTarget) -> np.ndarray:
    """Rows of the target tokens that a word, or positions, name."""
    if target is None:
        return np.arange(attribution.positions.size)
    wanted = target
    if isinstance(target, str):
        wanted = phrase_tokens(attribution.answer_tokens, target)
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
