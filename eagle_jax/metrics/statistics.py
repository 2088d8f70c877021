"""What measures of many items say: bootstrap intervals, differences, and separation.

Intervals are percentile intervals of the mean, from resampled items. They are chosen over
bias-corrected ones because they stay defined when all values agree, which rates near 0 or 1
and small lists often do; they are a little narrow below twenty items.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
RESAMPLES = 5000
# Values drawn at once, which bounds the memory.
_BLOCK = 1 << 22


class Interval(NamedTuple):
    """A mean and how sure it is.

    Attributes:
      mean: of the values; NaN without any.
      low: lower end of the interval; NaN below two values.
      high: upper end.
      count: number of values.
    """

    mean: float
    low: float
    high: float
    count: int


class Paired(NamedTuple):
    """The difference of two measurements of the same items.

    Attributes:
      mean: of the differences.
      low: lower end of its interval; NaN below two pairs.
      high: upper end.
      count: number of pairs.
      higher: pairs in which the first is higher.
      lower: pairs in which the first is lower.
    """

    mean: float
    low: float
    high: float
    count: int
    higher: int
    lower: int


def bootstrap_interval(
    values: Float[np.ndarray, "items"],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of a measure and its percentile bootstrap interval.

    Args:
      values: one per item; NaN where the measure does not apply, which is left out.
      level: coverage of the interval.
      resamples: number of resampled means.
      seed: of the resampling; equal seeds give equal intervals.
    """
    values = values[~np.isnan(values)].astype(np.float64)
    if not values.size:
        return Interval(np.nan, np.nan, np.nan, 0)
    means = _resampled_means(values, resamples, np.random.default_rng(seed))
    return Interval(float(values.mean()), *_ends(means, level, values.size), values.size)


def paired_difference(
    first: Float[np.ndarray, "items"],
    second: Float[np.ndarray, "items"],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Mean of `first - second` over the items that have both, with its interval.

    Args:
      first: one value per item; NaN where it does not apply.
      second: of the same items in the same order.
      level: coverage of the interval.
      resamples: number of resampled means.
      seed: of the resampling.
    """
    difference = first.astype(np.float64) - second.astype(np.float64)
    interval = bootstrap_interval(difference, level, resamples, seed)
    return Paired(*interval, int((difference > 0).sum()), int((difference < 0).sum()))


def auroc(positive: Float[np.ndarray, "items"], negative: Float[np.ndarray, "others"]) -> float:
    """How well a value separates two groups: the chance that a random pair is in order.

    The Mann-Whitney statistic over the number of pairs; equal values count half.

    Args:
      positive: values of the group that should be higher.
      negative: values of the group that should be lower.

    Returns:
      1 when every positive is higher, 0.5 for groups that look alike; NaN when one is empty.
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


def _ends(means: np.ndarray, level: float, count: int) -> tuple[float, float]:
    if count < 2:
        return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
