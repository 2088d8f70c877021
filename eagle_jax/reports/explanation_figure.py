"""One figure of an attribution: regions, saliency, curves and answer tokens."""

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from eagle_jax.reports import look
from eagle_jax.reports.chips import ChipRows
from eagle_jax.reports.fonts import drawable, font, text_width
from eagle_jax.reports.image_panels import draw_overlay, draw_regions
from eagle_jax.reports.sheet import INNER, LINE, Sheet, image_row, prompt_lines
from eagle_jax.reports.value_panels import (
    draw_values,
    draw_words,
    interactions,
    word_panel,
    word_parts,
)
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.summary import share_text


def draw_explanation(attribution: Attribution) -> Figure:
    """Draws an attribution on one page: prompt, regions, map, curves, answer tokens.

    With values, the map shows them; below it are the maps of the words that rest most on the
    image, and the values with their errors. No state of pyplot changes. Panels follow the shape
    of the image, and the height of the figure follows the length of the answer.

    Args:
      attribution: attribution with its image.

    Returns:
      A figure eleven inches wide; save it with `savefig`, no tight box needed.

    Raises:
      InputError: the attribution was saved without its image.
    """
    chips = ChipRows(attribution, INNER * 72)
    prompt = prompt_lines(attribution.prompt)
    row = image_row(attribution.labels.shape, title=1.85, gap=0.3)
    parts = word_parts(attribution)
    words = word_panel(attribution.labels.shape)[1] + 0.75 if parts else 0.0
    valued = attribution.values is not None and attribution.order.size > 0
    sheet = Sheet(
        {
            "top": 0.24,
            "prompt": LINE * len(prompt) + 0.22,
            "titles": look.TITLE,
            "images": row.height,
            "answer": 0.7,
            "chips": chips.height / 72,
            "words": words,
            "values": 1.9 if valued else 0.14,
            "footer": 0.42,
        }
    )
    label = "Prompt" if attribution.prompt else "No prompt"
    sheet.paragraph(sheet.bottom["top"] - 0.16, label, prompt, 11)
    top = sheet.bottom["titles"]
    titles = "Most important regions", "Saliency"
    if attribution.values is not None:
        titles = "First regions of the order", "Values of the regions"
    panels = (
        (titles[0], lambda axes: draw_regions(axes, attribution)),
        (titles[1], lambda axes: draw_overlay(axes, attribution)),
    )
    _, (left, low) = row.draw(sheet, top, panels)
    bar = sheet.axes(left + row.wide + 0.08, low, 0.09, row.tall)
    look.colour_bar(bar, ScalarMappable(Normalize(0, _top(attribution)), "viridis"), "vertical")

    start = row.right + 1.1
    sheet.text(start - 0.45, top + 0.09, "Insertion and deletion", 10, bold=True)
    wide, tall = min(look.WIDTH - look.MARGIN - 0.62 - start, 4.4), min(row.height, 3.4) - 0.68
    draw_curves(sheet.axes(start, top - 0.26 - tall, wide, tall), attribution)

    _draw_answer(sheet, chips, share_text(attribution))
    if parts:
        line = sheet.bottom["words"] + words - 0.3
        sheet.text(look.MARGIN, line, "Words that rest most on the image", 10, bold=True)
        draw_words(sheet, sheet.bottom["words"], parts)
    if valued:
        _draw_values(sheet, attribution)
    sheet.footer(attribution, f"{attribution.seconds:,.1f} s")
    return sheet.figure


def _top(attribution: Attribution) -> float:
    """The value that the map shows in its brightest colour: 1 where it has no unit."""
    top = 0.0 if attribution.values is None else float(attribution.map().max())
    return top if top > 0 else 1.0


def draw_curves(axes: Axes, attribution: Attribution) -> None:
    """Draws the insertion and deletion curves, mean over target tokens, against area.

    Args:
      axes: axes to draw on, with space for a legend above and two labels on the right.
      attribution: attribution whose curves are drawn.
    """
    insertion, deletion = attribution.insertion.mean(axis=1), attribution.deletion.mean(axis=1)
    blank, full = float(insertion[0]), float(deletion[0])
    highest = max(float(insertion.max()), float(deletion.max()))
    # An axis from 0 to 0 has no length.
    top = 1.02 if highest > 0.5 else 1.08 * highest or 1.0
    for level in (blank, full):
        axes.axhline(level, color=look.EDGE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for name, curve, colour, auc in (
        ("insertion", insertion, look.INSERTION_COLOUR, attribution.insertion_auc),
        ("deletion", deletion, look.DELETION_COLOUR, attribution.deletion_auc),
    ):
        label = f"{name} (AUC {look.short_number(auc)})"
        look.draw_curve(axes, attribution.area, curve, colour, label)
    axes.set(xlim=(0, 1), ylim=(0, top))
    _name_levels(axes, blank, full)
    look.curve_legend(axes)
    measured = _measured(attribution)
    axes.set_xlabel("image area inserted or deleted", fontproperties=font(8.5), color=look.INK)
    axes.set_ylabel(
        measured, fontproperties=font(8.5, text=measured), color=look.INK, parse_math=False
    )
    look.plain_frame(axes)


def _name_levels(axes: Axes, blank: float, full: float) -> None:
    """Writes both ends of the curves beside the axes, at least a line apart."""
    top = axes.get_ylim()[1]
    apart = max(0.07 * top - abs(full - blank), 0) / 2
    up = 1 if full >= blank else -1
    for name, level, shift in (("full", full, up * apart), ("blank", blank, -up * apart)):
        axes.annotate(
            f"{name} {look.short_number(level)}",
            (1, level + shift),
            xytext=(5, 0),
            textcoords="offset points",
            fontproperties=font(7.5),
            color=look.FAINT,
            va="center",
            annotation_clip=False,
        )


def _measured(attribution: Attribution) -> str:
    if attribution.positions.size > 1:
        return "mean token probability"
    token = drawable(attribution.tokens[0].strip())
    token = token if len(token) < 18 else f"{token[:17]}\u2026"
    return f"probability of \u201c{token}\u201d"


def _draw_answer(sheet: Sheet, chips: ChipRows, share: str) -> None:
    line = sheet.bottom["answer"] + 0.25
    sheet.text(look.MARGIN, line, "Answer", 10, bold=True)
    sheet.text(look.MARGIN + 0.75, line, share, 8.5, look.FAINT)
    end = look.WIDTH - look.MARGIN - text_width("perception", 8) / 72 - 0.1
    bar = sheet.axes(end - 2.0, line + 0.01, 2.0, 0.1)
    look.colour_bar(bar, ScalarMappable(chips.scale, look.RELIANCE_COLOURS), "horizontal")
    sheet.text(end - 2.1, line, "language prior", 8, look.FAINT, ha="right")
    sheet.text(end + 0.1, line, "perception", 8, look.FAINT)
    chips.draw(sheet.axes(look.MARGIN, sheet.bottom["chips"], INNER, chips.height / 72))


def _draw_values(sheet: Sheet, attribution: Attribution) -> None:
    low, half = sheet.bottom["values"] + 0.45, INNER / 2
    draw_values(sheet.axes(look.MARGIN + 0.4, low, half - 0.7, 0.95), attribution)
    sheet.text(
        look.MARGIN, low + 1.07, "What each region is worth, with its error", 10, bold=True
    )
    lines = interactions(attribution)
    if lines:
        sheet.text(look.MARGIN + half, low + 1.07, "Regions that act together", 10, bold=True)
    for number, line in enumerate(lines):
        sheet.text(look.MARGIN + half, low + 0.8 - 0.18 * number, line, 8.5)
