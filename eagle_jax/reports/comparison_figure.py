"""The maps of several methods for one item, side by side."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eagle_jax.reports.fonts import fitting, wrapped
from eagle_jax.reports.image_panels import draw_overlay, figure_image, show_image
from eagle_jax.reports.look import FAINT, MARGIN, short_number
from eagle_jax.reports.sheet import INNER, Sheet
from eagle_jax.reports.token_labels import answer_chips
from eagle_jax.results.attribution import Attribution

_COLUMNS = 5
_GAP, _TITLE, _LINE = 0.15, 0.5, 0.2


def draw_comparison(attributions: Mapping[str, Attribution]) -> Figure:
    """Draws the image and, beside it, the map of each method over the image in grey.

    Args:
      attributions: explanations of one item, with its image, by the name of the method.

    Returns:
      A figure eleven inches wide; above each map the areas under the curves along its order.

    Raises:
      InputError: an attribution was saved without its image.
    """
    first = next(iter(attributions.values()))
    heading = [f"{first.prompt} \u2192 {first.answer}"]
    if first.partial:
        scored = [chip.instead or chip.text for chip in answer_chips(first) if chip.scored]
        heading.append(f"explained: {' '.join(scored)}")
    lines = [line for text in heading for line in wrapped(text, 10, INNER * 72, 2)]
    height, width = first.labels.shape
    side = (INNER + _GAP) / _COLUMNS - _GAP
    tall = side * float(np.clip(height / width, 1 / 12, 4))
    rows = math.ceil((len(attributions) + 1) / _COLUMNS)
    sheet = Sheet(
        {
            "top": MARGIN,
            "heading": _LINE * len(lines),
            "maps": rows * (_TITLE + tall),
            "margin": MARGIN,
        }
    )
    for number, line in enumerate(lines):
        sheet.text(MARGIN, sheet.bottom["top"] - _LINE * number, line, 10, va="top")

    def panel(place: int) -> tuple[Axes, float, float]:
        """Axes of a place, their left end and their upper end."""
        row, column = divmod(place, _COLUMNS)
        left = MARGIN + column * (side + _GAP)
        top = sheet.bottom["heading"] - row * (_TITLE + tall) - _TITLE
        return sheet.axes(left, top - tall, side, tall), left, top

    show_image(panel(0)[0], figure_image(first), first)
    for place, (method, attribution) in enumerate(attributions.items(), start=1):
        axes, left, top = panel(place)
        draw_overlay(axes, attribution)
        scores = (
            f"insertion {short_number(attribution.insertion_auc)}, "
            f"deletion {short_number(attribution.deletion_auc)}"
        )
        sheet.text(left, top + 0.37, fitting(method, 9, side * 72), 9, bold=True, va="top")
        sheet.text(left, top + 0.2, scores, 7.5, FAINT, va="top")
    return sheet.figure
