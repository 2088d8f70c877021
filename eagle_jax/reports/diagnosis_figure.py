"""One figure of a diagnosis: what speaks for a wrong answer, and what its removal changes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from eagle_jax.errors import InputError
from eagle_jax.inputs.fill import fill_pixels
from eagle_jax.metrics.hallucination import Label, kept_regions, right_answers
from eagle_jax.reports import look
from eagle_jax.reports.fonts import font
from eagle_jax.reports.image_panels import (
    RASTER,
    enlarged,
    figure_image,
    outline_segments,
    overlay,
    resized,
    show_image,
)
from eagle_jax.reports.sheet import LINE, Sheet, image_row, prompt_lines
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.saliency import shown_map
from eagle_jax.search.sets import prefixes

# Fraction of the image that still shows through the fill; with black, as published.
_FAINT = 0.3


def draw_diagnosis(
    attribution: Attribution,
    answers: Sequence[str | None],
    label: Label,
    after: str | None = None,
) -> Figure:
    """Draws why a Yes or No is wrong and how little of the image has to go to mend it.

    Three panels: the map of what speaks against the right answer (the values below 0 of the
    search for it, or without values 1 - saliency); the image with the regions of the minimal
    correction removed and outlined; and the probability of the right answer while the last
    regions of the order are removed first. Below them the answer before and after.

    Args:
      attribution: search for the right answer, with its image.
      answers: answer k is given with the first k regions visible, k = 0 to n; None for each k
        without an answer.
      label: right answer.
      after: corrected answer in full; None shows the answer in `answers`.

    Returns:
      A figure eleven inches wide; save it with `savefig`, no tight box needed.

    Raises:
      InputError: the attribution has no image, or the number of answers is not the number of
        regions plus one.

    References:
      EAGLE, arXiv 2509.22496, hallucination figure. The published drawing darkens one region
      more than were removed.
    """
    regions = attribution.order.size
    if len(answers) != regions + 1:
        raise InputError(
            f"there are {len(answers)} answers for {regions} regions; give {regions + 1}"
        )
    kept = kept_regions(right_answers(answers, label))
    if after is None and kept is not None:
        after = answers[kept]

    prompt, before = prompt_lines(attribution.prompt), prompt_lines(attribution.answer, 10)
    mended = prompt_lines("not corrected by any removal" if after is None else after, 10)
    row = image_row(attribution.labels.shape, title=2.2, gap=0.5)
    sheet = Sheet(
        {
            "top": 0.24,
            "prompt": LINE * len(prompt) + 0.22,
            "titles": look.TITLE,
            "images": row.height,
            "space": 0.36,
            "answers": LINE * (len(before) + len(mended)),
            "footer": 0.5,
        }
    )
    sheet.paragraph(sheet.bottom["top"] - 0.16, "Prompt", prompt, 11)
    top = sheet.bottom["titles"]
    panels = (
        (
            f"What speaks against \u201c{label}\u201d",
            lambda axes: draw_against(axes, attribution),
        ),
        (_removal(attribution, kept), lambda axes: draw_removed(axes, attribution, kept)),
    )
    (left, low), _ = row.draw(sheet, top, panels)
    bar = sheet.axes(left + row.wide + 0.08, low, 0.09, row.tall)
    look.colour_bar(bar, ScalarMappable(Normalize(0, 1), look.AGAINST_COLOURS), "vertical")

    # Stacked panels have their colour bar between them and the curve.
    start = row.right + (1.2 if row.stacked else 0.75)
    sheet.text(start - 0.4, top + 0.09, f"Probability of \u201c{label}\u201d", 10, bold=True)
    wide, tall = min(look.WIDTH - look.MARGIN - 0.1 - start, 4.4), min(row.height, 3.4) - 0.52
    draw_removal_curve(sheet.axes(start, top - 0.1 - tall, wide, tall), attribution, kept)

    line = sheet.bottom["space"] - 0.16
    sheet.paragraph(line, "Before", before, 10)
    sheet.paragraph(line - LINE * len(before), "After", mended, 10)
    given = sum(answer is not None for answer in answers)
    sheet.footer(attribution, f"{given} answers")
    return sheet.figure


def draw_against(axes: Axes, attribution: Attribution) -> None:
    """Draws over the image what speaks against the target: its values below 0.

    Without values this is 1 - saliency.

    Args:
      axes: axes to draw on, which get the image's pixel coordinates.
      attribution: search for the right answer.
    """
    image = figure_image(attribution)
    valued = attribution.values is not None
    against = shown_map(-attribution.map()) if valued else 1 - attribution.saliency
    against = enlarged(against, image)
    show_image(axes, overlay(image, against, 0.6, look.AGAINST_COLOURS), attribution)


def draw_removed(axes: Axes, attribution: Attribution, kept: int | None) -> None:
    """Draws the image; regions that a correction removes are faint over the fill and outlined.

    Args:
      axes: axes to draw on, which get the image's pixel coordinates.
      attribution: search for the right answer.
      kept: number of regions that the correction keeps; None without a correction, when the
        whole image is shown.
    """
    image, labels = figure_image(attribution), attribution.labels
    if kept is None:
        show_image(axes, image, attribution)
        return
    removed = ~prefixes(attribution.order)[kept][labels]
    fill = fill_pixels(attribution.require_image(), attribution.fill)
    fill = fill if fill.shape[:2] == (1, 1) else resized(fill)
    faint = np.round(_FAINT * image + (1 - _FAINT) * fill).astype(np.uint8)
    shown = np.where(enlarged(removed, image)[..., None], faint, image)
    show_image(axes, shown, attribution)
    step = max(1, max(labels.shape) // RASTER)
    coarse = np.pad(removed[::step, ::step], 1)
    corners = np.array(labels.shape[::-1]) / (np.array(coarse.shape[::-1]) - 2)
    segments = (outline_segments(coarse) - 1) * corners
    axes.add_collection(
        LineCollection(
            list(segments), colors=look.REMOVED_COLOUR, linewidths=1.6, capstyle="projecting"
        )
    )


def draw_removal_curve(axes: Axes, attribution: Attribution, kept: int | None) -> None:
    """Draws the probability of the right answer against the removed area.

    Args:
      axes: axes to draw on.
      attribution: search for the right answer.
      kept: number of regions that the correction keeps, which a line marks; None without a
        correction.
    """
    removed = 1 - attribution.area[::-1]
    chance = attribution.insertion.mean(axis=1)[::-1]
    axes.fill_between(removed, chance, color=look.INSERTION_COLOUR, alpha=0.1, linewidth=0)
    look.draw_curve(axes, removed, chance, look.INSERTION_COLOUR)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    if kept is None:
        axes.text(
            0.5,
            0.93,
            "not corrected",
            transform=axes.transAxes,
            ha="center",
            fontproperties=font(9),
            color=look.REMOVED_COLOUR,
        )
    else:
        place = float(1 - attribution.area[kept])
        axes.axvline(place, color=look.REMOVED_COLOUR, linewidth=1.2, zorder=2)
        left = place < 0.6
        axes.annotate(
            f"corrected at {place:.1%}",
            (place, 0.04),
            xytext=(5 if left else -5, 0),
            textcoords="offset points",
            ha="left" if left else "right",
            fontproperties=font(8),
            color=look.REMOVED_COLOUR,
            zorder=4,
        )
    axes.axhline(0.5, color=look.EDGE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("image area removed", fontproperties=font(8.5), color=look.INK)
    look.plain_frame(axes)


def _removal(attribution: Attribution, kept: int | None) -> str:
    if kept is None:
        return "No removal corrects it"
    count = attribution.order.size - kept
    fraction = 1 - attribution.area[kept]
    return f"Removed: {count} region{'s' * (count != 1)}, {fraction:.1%}"
