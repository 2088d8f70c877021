"""One map over the pixels from the values of the regions of several partitions."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Float64

if TYPE_CHECKING:
    from eagle_jax.results.attribution import Attribution

# Value up to which the scale is linear on which maps of several partitions are averaged. Larger
# values count by their logarithm, so that a pixel needs the support of all partitions.
_LINEAR = 1e-3


def combined_map(attribution: "Attribution", rows: np.ndarray) -> Float32[np.ndarray, "H W"]:
    """Mean over the partitions of the value per area, on a scale that compresses large values.

    Args:
      attribution: an explanation with further partitions.
      rows: numbers of the target tokens, over which the mean is taken first.
    """
    densities = _densities(attribution, rows)
    scaled = [np.arcsinh(value / _LINEAR)[labels] for labels, value, _ in densities]
    return (_LINEAR * np.sinh(np.mean(scaled, axis=0))).astype(np.float32)


def combined_errors(attribution: "Attribution", rows: np.ndarray) -> Float32[np.ndarray, "H W"]:
    """Standard error of `combined_map`: its change by one error of the values of a partition.

    Args:
      attribution: an explanation with further partitions.
      rows: numbers of the target tokens, whose errors are taken to be independent.
    """
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


def mean_over_tokens(
    values: Float32[np.ndarray, "t n"], errors: Float32[np.ndarray, "t n"], rows: np.ndarray
) -> tuple[Float64[np.ndarray, "n"], Float64[np.ndarray, "n"]]:
    """Mean value of each region over some tokens, and its standard error.

    Args:
      values: value of each region for each token.
      errors: their standard errors; those of different tokens are taken to be independent.
      rows: numbers of the tokens.
    """
    error = np.linalg.norm(errors[rows].astype(np.float64), axis=0) / len(rows)
    return values[rows].mean(0, dtype=np.float64), error


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
    for maps, values, errors in (first, further):
        area = np.bincount(maps.ravel()) * attribution.regions / attribution.labels.size
        value, error = mean_over_tokens(values, errors, rows)
        densities += [(labels, value / area, error / area) for labels in maps]
    return densities
