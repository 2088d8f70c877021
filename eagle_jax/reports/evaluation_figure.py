"""One figure of an evaluation: mean curves, reliance by word class, corrections."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eagle_jax.metrics.hallucination import BUDGET
from eagle_jax.metrics.word_classes import PERCEPTION, PRIOR
from eagle_jax.reports import look
from eagle_jax.reports.fonts import font
from eagle_jax.reports.sheet import Sheet
from eagle_jax.results.evaluation import Evaluation, GroupMeasures
from eagle_jax.results.measures import GRID

_WIDTH, _ROW, _PANEL = 9.0, 3.5, 2.45


def draw_evaluation(evaluation: Evaluation, baseline: Evaluation | None = None) -> Figure:
    """Draws a run on one page, a row of panels for each kind of item.

    Each row has the mean insertion and deletion curves; beside them is the fraction of wrong
    answers that small removals correct, where answers were regenerated, or else the reliance
    of the answers' words by class.

    Args:
      evaluation: evaluation of the run.
      baseline: evaluation of another run, whose means are drawn dashed.

    Returns:
      A figure nine inches wide; save it with `savefig`, no tight box needed.
    """
    sheet = Sheet({"rows": _ROW * len(evaluation.groups), "footer": 0.5}, _WIDTH)
    for number, (kind, group) in enumerate(evaluation.groups.items()):
        low = sheet.height - 0.55 - _PANEL - number * _ROW
        other = None if baseline is None else baseline.groups.get(kind)
        draw_mean_curves(sheet.axes(0.75, low, 3.3, _PANEL), group, other)
        items = "1 item" if len(group.rows) == 1 else f"{len(group.rows):,} items"
        sheet.text(0.3, low + _PANEL + 0.3, f"{kind.capitalize()}, {items}", 10, bold=True)
        corrected = "correction" in group.measures
        if not (corrected or group.classes):
            continue
        left = 5.1 if corrected else 5.75
        draw = draw_corrections if corrected else draw_word_classes
        draw(sheet.axes(left, low, _WIDTH - 0.35 - left, _PANEL), group, other)
        title = "Answers corrected" if corrected else "Reliance by word class"
        sheet.text(4.75, low + _PANEL + 0.3, title, 10, bold=True)
    facts = [str(evaluation.out)]
    if baseline is not None:
        facts.append(f"dashed: {baseline.out}")
    if evaluation.published_measures:
        facts.append("published measures")
    sheet.text(0.3, 0.2, "    ".join(facts), 7.5, look.FAINT)
    return sheet.figure


def draw_mean_curves(
    axes: Axes, group: GroupMeasures, baseline: GroupMeasures | None = None
) -> None:
    """Draws the mean insertion and deletion curves with the band of the middle half of items.

    Args:
      axes: axes to draw on, with space for a legend above.
      group: items of one kind.
      baseline: items of the same kind in another run, drawn dashed.
    """
    curves = np.stack([row.curves for row in group.rows])
    names = (("insertion", look.INSERTION_COLOUR), ("deletion", look.DELETION_COLOUR))
    top = 0.0
    for index, (name, colour) in enumerate(names):
        low, high = np.quantile(curves[:, index], [0.25, 0.75], axis=0)
        axes.fill_between(GRID, low, high, color=colour, alpha=0.16, linewidth=0)
        mean = curves[:, index].mean(axis=0)
        axes.plot(GRID, mean, color=colour, linewidth=1.8, label=name, clip_on=False, zorder=3)
        top = max(top, float(high.max()), float(mean.max()))
        if baseline is not None:
            other = np.mean([row.curves[index] for row in baseline.rows], axis=0)
            axes.plot(GRID, other, color=colour, linewidth=1.2, linestyle=(0, (4, 2)))
            top = max(top, float(other.max()))
    axes.set(xlim=(0, 1), ylim=(0, 1.02 if top > 0.5 else max(1.08 * top, 1e-6)))
    look.curve_legend(axes)
    _style(axes, "image area inserted or deleted", "probability of the target")


def draw_word_classes(
    axes: Axes, group: GroupMeasures, baseline: GroupMeasures | None = None
) -> None:
    """Draws the raw reliance of every word, one strip for each class, with its quartiles.

    Args:
      axes: axes to draw on, with space for class names on the left.
      group: items of one kind, with words.
      baseline: items of the same kind in another run, whose medians are dashed lines.
    """
    rng = np.random.default_rng(0)
    for place, kind in enumerate(group.classes):
        colour = look.NEITHER_COLOUR
        if kind in PERCEPTION:
            colour = look.PERCEPTION_COLOUR
        elif kind in PRIOR:
            colour = look.PRIOR_COLOUR
        values = _raw(group, kind)
        aside = place + rng.uniform(-0.27, 0.27, values.size)
        axes.scatter(
            values,
            aside,
            s=5,
            color=colour,
            alpha=float(np.clip(40 / values.size, 0.06, 0.5)),
            linewidths=0,
            clip_on=False,
            rasterized=True,
        )
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        axes.plot([low, high], [place, place], color=look.INK, linewidth=1.2, zorder=3)
        axes.plot(
            middle,
            place,
            marker="o",
            markersize=5.5,
            color=colour,
            markeredgecolor="white",
            markeredgewidth=0.9,
            clip_on=False,
            zorder=4,
        )
        if baseline is not None and (others := _raw(baseline, kind)).size:
            median = float(np.median(others))
            axes.plot(
                [median, median],
                [place - 0.36, place + 0.36],
                color=look.INK,
                linestyle=(0, (2, 1.5)),
            )
    axes.set(xlim=(0, 1), ylim=(max(len(group.classes), 4) - 0.4, -0.6))
    _style(axes, "raw reliance, 0 for language prior", "")
    axes.set_yticks(range(len(group.classes)), labels=list(group.classes))
    for label in axes.get_yticklabels():
        label.set_fontproperties(font(8))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=look.EDGE, linewidth=0.5)
    axes.set_axisbelow(True)


def draw_corrections(
    axes: Axes, group: GroupMeasures, baseline: GroupMeasures | None = None
) -> None:
    """Draws the fraction of answers that are right after removing at most so much of the image.

    Args:
      axes: axes to draw on.
      group: items of one kind; items without regenerated answers are left out.
      baseline: items of the same kind in another run, drawn dashed.
    """
    groups = [group]
    if baseline is not None and "correction" in baseline.measures:
        groups.append(baseline)
    for some in groups:
        values = [row.values for row in some.rows if "correction" in row.values]
        removed = np.sort([v["correction"] for v in values if not v["unresolved"]])
        steps = np.concatenate([[0], removed, [1]])
        corrected = np.concatenate([[0], np.arange(1, removed.size + 1), [removed.size]])
        axes.step(
            steps,
            corrected / len(values),
            where="post",
            color=look.INSERTION_COLOUR,
            linewidth=1.8 if some is group else 1.2,
            linestyle="-" if some is group else (0, (4, 2)),
            clip_on=False,
        )
    axes.axvline(BUDGET, color=look.EDGE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _style(axes, "image area removed, at most", "answers corrected")


def _raw(group: GroupMeasures, kind: str) -> np.ndarray:
    words = [word for row in group.rows for word in row.words if word.word_class == kind]
    return np.array([word.highest for word in words], np.float64)


def _style(axes: Axes, below: str, beside: str) -> None:
    axes.set_xlabel(below, fontproperties=font(8.5), color=look.INK)
    axes.set_ylabel(beside, fontproperties=font(8.5), color=look.INK)
    look.plain_frame(axes)
