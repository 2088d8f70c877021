"""An evaluation as plain text."""

import math
from collections.abc import Sequence

from eagle_jax.metrics.statistics import Paired
from eagle_jax.reports.text_table import estimate, number, table
from eagle_jax.results.evaluation import Evaluation, GroupMeasures, RunDifference
from eagle_jax.results.measures import MEASURES


def evaluation_text(evaluation: Evaluation, comparison: RunDifference | None = None) -> str:
    """Tables of a run, and of its difference from a baseline, as plain text.

    Args:
      evaluation: evaluation of the run.
      comparison: comparison of the run with a baseline, or None.
    """
    facts = f"{len(evaluation.rows):,} items"
    if evaluation.published_measures:
        facts += ", evaluated with published measures"
    blocks = [f"{'run':<12}{evaluation.out}: {facts}"]
    for kind, group in evaluation.groups.items():
        blocks.append(_measures(f"{kind}, {_items(len(group.rows))}", group))
        if group.classes:
            blocks.append(_classes(f"reliance, {kind}", group))
    if comparison is not None:
        first, second = comparison.first.out, comparison.second.out
        blocks.append(f"{'difference':<12}{first} less {second}")
        for kind, differences in comparison.differences.items():
            blocks.append(_differences(f"{kind}, both runs", differences))
        if comparison.unpaired:
            blocks.append(_named("unpaired", comparison.unpaired))
    if evaluation.failed:
        blocks.append(_named("no result", [name for name, _ in evaluation.failed]))
    return "\n\n".join(blocks)


def _measures(title: str, group: GroupMeasures) -> str:
    rows = [(title, "mean", "95 % interval", "items", "better")]
    for name, value in group.measures.items():
        measure = MEASURES[name]
        rows.append((measure.title, *estimate(value), measure.better))
    return table(rows)


def _classes(title: str, group: GroupMeasures) -> str:
    rows = [(title, "mean", "95 % interval", "answers", "words", "in its answer")]
    for name, (raw, scaled, words) in group.classes.items():
        rows.append((name, *estimate(raw), f"{words:,}", number(scaled.mean)))
    text = table(rows)
    if not math.isnan(group.auroc):
        text += (
            f"\nAUROC {group.auroc:.4f} of content words, colours and numbers over function "
            "words and marks"
        )
    return text


def _differences(title: str, differences: dict[str, Paired]) -> str:
    rows: list[tuple[str, ...]]
    rows = [(title, "mean", "95 % interval", "pairs", "better in", "worse in")]
    for name, value in differences.items():
        better = MEASURES[name].better
        wins, losses = value.higher, value.lower
        if better == "lower":
            wins, losses = losses, wins
        counts = (f"{wins:,}", f"{losses:,}") if better else ("-", "-")
        rows.append((MEASURES[name].title, *estimate(value, signed=True), *counts))
    return table(rows)


def _named(title: str, names: Sequence[str]) -> str:
    return f"{title:<12}{_items(len(names))}: {', '.join(names)}"


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"
