"""An evaluation as plain text."""

import math
from collections.abc import Sequence

from eagle_jax.evaluation import Comparison, Evaluation, Group
from eagle_jax.metrics.statistics import Interval, Paired
from eagle_jax.results.measures import MEASURES


def evaluation_text(evaluation: Evaluation, comparison: Comparison | None = None) -> str:
    """Tables of a run, and of its difference from a baseline, as plain text.

    Args:
      evaluation: evaluation of the run.
      comparison: comparison of the run with a baseline, or None.
    """
    total = sum(len(group.rows) for group in evaluation.groups.values())
    facts = f"{total:,} items"
    if evaluation.published_rules:
        facts += ", evaluated by the published rules"
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


def _measures(title: str, group: Group) -> str:
    rows = [(title, "mean", "95 % interval", "items", "better")]
    rows += [
        (
            MEASURES[name].title,
            _number(value.mean),
            _interval(value),
            f"{value.count:,}",
            MEASURES[name].better,
        )
        for name, value in group.measures.items()
    ]
    return _table(rows)


def _classes(title: str, group: Group) -> str:
    rows = [(title, "mean", "95 % interval", "answers", "words", "in its answer")]
    rows += [
        (
            name,
            _number(found.raw.mean),
            _interval(found.raw),
            f"{found.raw.count:,}",
            f"{found.words:,}",
            _number(found.scaled.mean),
        )
        for name, found in group.classes.items()
    ]
    text = _table(rows)
    if not math.isnan(group.auroc):
        text += (
            f"\nAUROC {group.auroc:.4f} of content words, colours and numbers over function "
            "words and marks"
        )
    return text


def _differences(title: str, differences: dict[str, Paired]) -> str:
    rows: list[Sequence[str]] = [
        (title, "mean", "95 % interval", "pairs", "better in", "worse in")
    ]
    for name, value in differences.items():
        better = MEASURES[name].better
        wins, losses = value.higher, value.lower
        if better == "lower":
            wins, losses = losses, wins
        counts = (f"{wins:,}", f"{losses:,}") if better else ("-", "-")
        rows.append(
            (
                MEASURES[name].title,
                _number(value.mean, sign=True),
                _interval(value),
                f"{value.count:,}",
                *counts,
            )
        )
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their longest entry, all but the first set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            entry.ljust(width) if i == 0 else entry.rjust(width)
            for i, (entry, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _named(title: str, names: Sequence[str]) -> str:
    return f"{title:<12}{_items(len(names))}: {', '.join(names)}"


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count:,} items"


def _interval(value: Interval | Paired) -> str:
    if value.low != value.low:
        return "-"
    return f"{_number(value.low)} to {_number(value.high)}"


def _number(value: float, sign: bool = False) -> str:
    return "-" if value != value else format(value, "+.4f" if sign else ".4f")
