"""The picture of a diagnosis: what speaks for a wrong answer, and what its removal changes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image

from eagle_jax.errors import InputError
from eagle_jax.metrics.hallucination import Label, right_answers
from eagle_jax.reports.explanation_figure import (
    RASTER,
    outline_segments,
    overlay,
    require_image,
    show_image,
)
from eagle_jax.reports.look import (
    AGAINST_COLOURS,
    EDGE,
    FAINT,
    INK,
    INSERTION_COLOUR,
    MARGIN,
    REMOVED_COLOUR,
    TITLE,
    WIDTH,
    colour_bar,
    drawable,
    font,
    new_figure,
    plain_frame,
    wrapped,
)
from eagle_jax.results.attribution import Attribution
from eagle_jax.search.sets import prefixes

# Brightness that removed regions keep, as published.
_DARKENED = 0.3
_LINE = 0.22


def draw_diagnosis(
    attribution: Attribution,
    answers: Sequence[str | None],
    label: Label,
    after: str | None = None,
) -> Figure:
    """Draw why a Yes or No is wrong and how little of the image has to go to mend it.

    Three panels: the map of what speaks against the right answer (1 - saliency of the search
    for it); the image with the regions of the minimal correction darkened and outlined; and
    the probability of the right answer while the last regions of the order are removed first.
    Below them the answer before and after.

    Args:
      attribution: a search for the right answer, with its image.
      answers: answer k is given with the first k regions visible, k = 0 to n; None for those
        that were not asked for.
      label: the right answer.
      after: the corrected answer in full; None shows the one in `answers`.

    Returns:
      A figure eleven inches wide; save it with `savefig`, no tight box needed.

    Raises:
      InputError: the attribution has no image, or the answers are not one more than regions.

    References:
      EAGLE, arXiv 2509.22496, hallucination figure. The published drawing darkens one region
      more than were removed.
    """
    regions = attribution.order.size
    if len(answers) != regions + 1:
        raise InputError(f"there are {len(answers)} answers for {regions} regions")
    corrected = np.flatnonzero(right_answers(answers, label))
    kept = int(corrected[-1]) if corrected.size else None
    if after is None and kept is not None:
        after = answers[kept]

    inner = WIDTH - 2 * MARGIN
    prompt = wrapped(attribution.prompt, 11, (inner - 0.75) * 72, 3)
    told = [("Before", wrapped(attribution.answer, 10, (inner - 0.75) * 72, 3))]
    mended = "not corrected by any removal" if after is None else after
    told.append(("After", wrapped(mended, 10, (inner - 0.75) * 72, 3)))

    height, width = attribution.labels.shape
    ratio = float(np.clip(height / width, 1 / 12, 8))
    stacked = ratio < 0.5
    tall = min(float(np.sqrt((8.0 if stacked else 8.6) * ratio)), 4.3)
    wide = min(tall / ratio, 5.6 if stacked else 3.1)
    tall = wide * ratio
    row = max(2 * tall + 1.5 * TITLE if stacked else tall, 2.4)

    heights = [0.24, _LINE * len(prompt), 0.22, TITLE, row, 0.36]
    heights += [_LINE * sum(len(lines) for _, lines in told), 0.5]
    total = sum(heights)
    drawing = new_figure(WIDTH, total)
    bottoms = total - np.cumsum(heights)

    def axes(left: float, bottom: float, width: float, height: float) -> Axes:
        return drawing.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))

    def text(left: float, bottom: float, words: str, size: float | int, colour=INK, bold=False):
        drawing.text(
            left / WIDTH,
            bottom / total,
            words,
            fontproperties=font(size, bold),
            color=colour,
            parse_math=False,
        )

    first = bottoms[0] - 0.16
    text(MARGIN, first, "Prompt", 9, FAINT)
    for number, line in enumerate(prompt):
        text(MARGIN + 0.75, first - _LINE * number, line, 11)

    upper = bottoms[3]
    if stacked:
        boxes = [(MARGIN, upper - tall), (MARGIN, upper - 2 * tall - 1.5 * TITLE)]
        right = MARGIN + wide + 0.45
    else:
        box = max(wide, 2.2)
        boxes = [(MARGIN, upper - tall), (MARGIN + box + 0.5, upper - tall)]
        right = boxes[1][0] + box
    names = (f"What speaks against \u201c{label}\u201d", _removal(attribution, kept))
    for (left, low), name in zip(boxes, names, strict=True):
        text(left, low + tall + 0.09, name, 10, bold=True)
    draw_against(axes(*boxes[0], wide, tall), attribution)
    bar = axes(boxes[0][0] + wide + 0.08, boxes[0][1], 0.09, tall)
    colour_bar(bar, ScalarMappable(Normalize(0, 1), AGAINST_COLOURS), "vertical")
    draw_removed(axes(*boxes[1], wide, tall), attribution, kept)

    start = right + 0.75
    text(start - 0.4, upper + 0.09, f"Probability of \u201c{label}\u201d", 10, bold=True)
    curve_wide = min(WIDTH - MARGIN - 0.1 - start, 4.4)
    curve_tall = min(row, 3.4) - 0.52
    curve = axes(start, upper - 0.1 - curve_tall, curve_wide, curve_tall)
    draw_removal_curve(curve, attribution, kept)

    line = bottoms[5] - 0.16
    for name, lines in told:
        text(MARGIN, line, name, 9, FAINT)
        for words in lines:
            text(MARGIN + 0.75, line, words, 10)
            line -= _LINE

    asked = sum(answer is not None for answer in answers)
    facts = [attribution.model, f"{regions} regions", f"{attribution.search} search"]
    facts += [f"{attribution.forwards:,} forwards", f"{asked} answers"]
    text(MARGIN, 0.2, drawable("    ".join(facts)), 7.5, FAINT)
    return drawing


def draw_against(axes: Axes, attribution: Attribution) -> None:
    """Draw 1 - saliency over the image: high where regions speak against the target.

    Args:
      axes: where to draw; takes the image's pixel coordinates.
      attribution: a search for the right answer.
    """
    image = require_image(attribution)
    against = Image.fromarray(1 - attribution.saliency)
    against = np.asarray(against.resize(image.shape[1::-1], Image.Resampling.NEAREST))
    show_image(axes, overlay(image, against, 0.6, AGAINST_COLOURS), attribution)


def draw_removed(axes: Axes, attribution: Attribution, kept: int | None) -> None:
    """Draw the image with the regions that a correction removes darkened and outlined.

    Args:
      axes: where to draw; takes the image's pixel coordinates.
      attribution: a search for the right answer.
      kept: how many regions the correction keeps: exactly the others are darkened; None
        where there is no correction.
    """
    image, labels = require_image(attribution), attribution.labels
    if kept is None:
        show_image(axes, image, attribution)
        return
    removed = ~prefixes(attribution.order)[kept][labels]
    dark = Image.fromarray(removed).resize(image.shape[1::-1], Image.Resampling.NEAREST)
    light = np.where(np.asarray(dark)[..., None], _DARKENED, 1.0)
    show_image(axes, np.round(image * light).astype(np.uint8), attribution)
    step = max(1, max(labels.shape) // RASTER)
    coarse = np.pad(removed[::step, ::step], 1)
    corners = np.array(labels.shape[::-1]) / (np.array(coarse.shape[::-1]) - 2)
    segments = (outline_segments(coarse) - 1) * corners
    axes.add_collection(
        LineCollection(
            list(segments), colors=REMOVED_COLOUR, linewidths=1.6, capstyle="projecting"
        )
    )


def draw_removal_curve(axes: Axes, attribution: Attribution, kept: int | None) -> None:
    """Draw the probability of the right answer against the removed area.

    Args:
      axes: where to draw.
      attribution: a search for the right answer.
      kept: how many regions the correction keeps; a line marks it.
    """
    removed = 1 - attribution.area[::-1]
    chance = attribution.insertion.mean(axis=1)[::-1]
    axes.fill_between(removed, chance, color=INSERTION_COLOUR, alpha=0.1, linewidth=0)
    axes.plot(
        removed,
        chance,
        color=INSERTION_COLOUR,
        linewidth=1.8,
        marker="o",
        markersize=2.4,
        solid_joinstyle="round",
        clip_on=False,
        zorder=3,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    if kept is None:
        axes.text(
            0.5,
            0.93,
            "not corrected",
            transform=axes.transAxes,
            ha="center",
            fontproperties=font(9),
            color=REMOVED_COLOUR,
        )
    else:
        place = float(1 - attribution.area[kept])
        axes.axvline(place, color=REMOVED_COLOUR, linewidth=1.2, zorder=2)
        left = place < 0.6
        axes.annotate(
            f"corrected at {place:.1%}",
            (place, 0.04),
            xytext=(5 if left else -5, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            fontproperties=font(8),
            color=REMOVED_COLOUR,
            zorder=4,
        )
    axes.axhline(0.5, color=EDGE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("image area removed", fontproperties=font(8.5), color=INK)
    plain_frame(axes)


def _removal(attribution: Attribution, kept: int | None) -> str:
    if kept is None:
        return "No removal corrects it"
    count = attribution.order.size - kept
    share = 1 - attribution.area[kept]
    return f"Removed: {count} region{'s' * (count != 1)}, {share:.1%}"
