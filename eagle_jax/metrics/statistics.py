"""Statistics over many items: bootstrap intervals, paired differences and AUROC.

Intervals are percentile intervals of the mean over resampled items. Unlike bias-corrected
intervals they are defined when all values are equal, as rates near 0 or 1 and short lists often
are; below twenty items they are slightly too narrow.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError

LEVEL = 0.95
RESAMPLES = 5000
# Number of values drawn at once, which bounds the memory.
_BLOCK = 1 << 22


class Interval(NamedTuple):
    """A mean with its bootstrap interval.

    Attributes:
      mean: mean of the values; NaN without values.
      low: lower end of the interval; NaN for fewer than two values.
      high: upper end of the interval; NaN for fewer than two values.
      count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int


class Paired(NamedTuple):
    """The mean difference of two measurements of the same items.

    Attributes:
      mean: mean of the differences; NaN without pairs.
      low: lower end of the interval; NaN for fewer than two pairs.
      high: upper end of the interval; NaN for fewer than two pairs.
      count: number of pairs.
      higher: number of pairs whose first value is higher.
      lower: number of pairs whose first value is lower.
    """

    mean: float
    low: float
    high: float
    count: int
    higher: int
    lower: int


@checked
def bootstrap_interval(
    values: Float[np.ndarray, "items"],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a measure and its percentile bootstrap interval.

    Args:
      values: one value for each item; NaN values are omitted.
      level: coverage of the interval, a fraction.
      resamples: number of resampled means.
      seed: seed of the resampling; equal seeds give equal intervals.
    """
    if not 0 <= level <= 1:
        raise InputError(f"level is {level}; it must be a fraction from 0 to 1")
    if not 1 <= resamples < 2**31:
        raise InputError(f"resamples is {resamples}; it must be from 1 to {2**31 - 1}")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be at least 0")
    values = values[~np.isnan(values)].astype(np.float64)
    if not values.size:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if values.size < 2:
        return Interval(mean, np.nan, np.nan, values.size)
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), values.size)


@checked
def paired_difference(
    first: Float[np.ndarray, "items"],
    second: Float[np.ndarray, "items"],
) -> Paired:
    """Mean of `first - second` over the items that have both values, with its interval.

    Args:
      first: one value for each item; NaN where there is none.
      second: the same for the second measurement, in the same order of items.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    interval = bootstrap_interval(difference)
    return Paired(*interval, int((difference > 0).sum()), int((difference < 0).sum()))


@checked
def auroc(positive: Float[np.ndarray, "items"], negative: Float[np.ndarray, "others"]) -> float:
    """AUROC: probability that a random positive value is higher than a random negative value.

    This is the Mann-Whitney statistic divided by the number of pairs; a tie counts half.

    Args:
      positive: values of the group that should be higher.
      negative: values of the group that should be lower.

    Returns:
      1 if every positive value is higher, 0.5 for equal groups, NaN if one group is empty.
    """
    if not (positive.size and negative.size):
        return float("nan")
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left")
    not_above = np.searchsorted(ordered, positive, "right")
    return float((below + not_above).sum() / 2 / (positive.size * negative.size))


def _resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator):
    rows = max(1, _BLOCK // values.size)
    means = np.empty(resamples)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = rng.integers(values.size, size=(stop - start, values.size), dtype=np.int32)
        means[start:stop] = values[drawn].mean(axis=1)
    return means
