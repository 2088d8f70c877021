"""Tables as plain text, for terminals."""

import math
from collections.abc import Sequence

from eagle_jax.metrics.statistics import Interval, Paired


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns cells in columns: the first column to the left, the others to the right.

    Args:
      rows: cells of each row, the title row included; all rows of the same length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def interval(value: Interval | Paired, signed: bool = False) -> str:
    """The bounds of a confidence interval; "-" where there is none, as for a single item.

    Args:
      value: a mean or a mean difference.
      signed: show the sign of positive bounds.
    """
    if math.isnan(value.low):
        return "-"
    return f"{number(value.low, signed)} to {number(value.high, signed)}"


def estimate(value: Interval | Paired, signed: bool = False) -> tuple[str, str, str]:
    """Cells of a mean, its confidence interval and the number of values.

    Args:
      value: a mean or a mean difference.
      signed: show the sign of a positive mean.
    """
    return number(value.mean, signed), interval(value), f"{value.count:,}"


def number(value: float, signed: bool = False) -> str:
    """A number with four decimals, or "-" for NaN.

    Args:
      value: the number.
      signed: show the sign of a positive number.
    """
    return "-" if math.isnan(value) else format(value, "+.4f" if signed else ".4f")
