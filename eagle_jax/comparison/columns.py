"""What a comparison says: a column for each measure, means and differences paired by item."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eagle_jax.comparison.judging import Perturbation, finished, judgement
from eagle_jax.evaluation import Evaluation
from eagle_jax.metrics.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    paired_difference,
)
from eagle_jax.results.measures import Kind
from eagle_jax.results.run_folder import read_result

# What is taken from each method's own evaluation: title, measure, and which way is better.
_OWN = {
    "pointing, mask": ("mask_pointing", "higher"),
    "pointing, box": ("box_pointing", "higher"),
    "AMCR": ("correction", "lower"),
    "CSR@10%": ("success", "higher"),
}


class Column(NamedTuple):
    """One measure of all methods, over items of one kind.

    Attributes:
      title: for tables.
      better: "higher" or "lower".
      values: mean and interval of each method.
      differences: EAGLE less each other method, paired by item.
      gains: by how much EAGLE's mean is above a method's, as a share of it: the paper's form.
    """

    title: str
    better: str
    values: dict[str, Interval]
    differences: dict[str, Paired]
    gains: dict[str, float]


class Cost(NamedTuple):
    """What a method took, means over the items.

    Attributes:
      forwards: images the model saw.
      backwards: of these, how many the gradient was taken of.
      seconds: that an item took, compilation included.
    """

    forwards: float
    backwards: float
    seconds: float


def columns_of(
    out: Path, evaluations: dict[str, Evaluation], perturbations: Sequence[Perturbation]
) -> dict[Kind, list[Column]]:
    """All columns, by kind of item.

    Args:
      out: folder of the comparison.
      evaluations: of each method's run.
      perturbations: that were judged.
    """
    kinds = {kind: None for one in evaluations.values() for kind in one.groups}
    columns = {}
    for kind in kinds:
        rows = {
            method: {row.name: row.values for row in one.groups[kind].rows}
            for method, one in evaluations.items()
            if kind in one.groups
        }
        found = []
        for perturbation in perturbations:
            where = f"{perturbation.partition}, {perturbation.fill}"
            for what, better in (("insertion", "higher"), ("deletion", "lower")):
                values = {
                    method: {
                        name: judged[what]
                        for name in items
                        if (judged := judgement(out, perturbation, method, name)) is not None
                    }
                    for method, items in rows.items()
                }
                found.append(_column(f"{what}, {where}", better, values))
        for title, (measure, better) in _OWN.items():
            values = {
                method: {n: v[measure] for n, v in items.items() if measure in v}
                for method, items in rows.items()
            }
            if any(values.values()):
                found.append(_column(title, better, values))
        columns[kind] = found
    return columns


def _column(title: str, better: str, values: dict[str, dict[str, float]]) -> Column:
    intervals = {
        method: bootstrap_interval(np.array([*items.values()], np.float64))
        for method, items in values.items()
    }
    differences, gains = {}, {}
    ours = values.get("eagle", {})
    for method, theirs in values.items():
        common = sorted(ours.keys() & theirs.keys())
        if method != "eagle" and common:
            first, second = (np.array([v[n] for n in common]) for v in (ours, theirs))
            differences[method] = paired_difference(first, second)
            mean = second.mean()
            gains[method] = float((first.mean() - mean) / mean) if mean else np.nan
    return Column(title, better, intervals, differences, gains)


def costs_of(out: Path, methods: Iterable[str]) -> dict[str, Cost]:
    """What each method took, from its finished items.

    Args:
      out: folder of the comparison.
      methods: that have some.
    """
    costs = {}
    for method in methods:
        found = [read_result(out / method, n).attribution for n in finished(out / method)]
        taken = [(one.forwards, one.backwards, one.seconds) for one in found]
        costs[method] = Cost(*np.mean(taken, axis=0).tolist())
    return costs
