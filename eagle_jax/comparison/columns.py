"""Measures of a comparison: means of each method, and differences paired by item."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eagle_jax.comparison.judging import Perturbation, judgement
from eagle_jax.metrics.statistics import Interval, Paired, bootstrap_interval, paired_difference
from eagle_jax.results.evaluation import Evaluation
from eagle_jax.results.measures import Kind
from eagle_jax.results.run_folder import finished_names, read_result

# Measures of each method's own evaluation: title, name, and the direction that is better.
_MEASURES = {
    "pointing, mask": ("mask_pointing", "higher"),
    "pointing, box": ("box_pointing", "higher"),
    "AMCR": ("correction", "lower"),
    "CSR@10%": ("success", "higher"),
}


class Column(NamedTuple):
    """One measure of all methods, over items of one kind.

    Attributes:
      title: heading of the column.
      better: "higher" or "lower".
      values: mean and interval of each method.
      differences: EAGLE minus each other method, paired by item.
      gains: (EAGLE's mean - a method's mean) / the method's mean, as the paper reports it.
    """

    title: str
    better: str
    values: dict[str, Interval]
    differences: dict[str, Paired]
    gains: dict[str, float]


class Cost(NamedTuple):
    """Mean cost of an item.

    Attributes:
      forwards: number of forwards.
      backwards: number of these forwards that had a backward pass.
      seconds: seconds, compilation included.
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
      evaluations: evaluation of each method's run.
      perturbations: perturbations that were judged.
    """
    kinds = {kind: None for evaluation in evaluations.values() for kind in evaluation.groups}
    columns = {}
    for kind in kinds:
        rows = {
            method: {row.name: row.values for row in evaluation.groups[kind].rows}
            for method, evaluation in evaluations.items()
            if kind in evaluation.groups
        }
        measured = []
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
                measured.append(_column(f"{what}, {where}", better, values))
        for title, (measure, better) in _MEASURES.items():
            values = {
                method: {n: v[measure] for n, v in items.items() if measure in v}
                for method, items in rows.items()
            }
            if any(values.values()):
                measured.append(_column(title, better, values))
        columns[kind] = measured
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
    """Mean cost of each method, over its finished items.

    Args:
      out: folder of the comparison.
      methods: methods with at least one finished item.
    """
    costs = {}
    for method in methods:
        attributions = [
            read_result(out / method, name).attribution for name in finished_names(out / method)
        ]
        spent = [(each.forwards, each.backwards, each.seconds) for each in attributions]
        costs[method] = Cost(*np.mean(spent, axis=0).tolist())
    return costs
