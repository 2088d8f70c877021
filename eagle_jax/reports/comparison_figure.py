"""The maps of several methods for one item, side by side."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eagle_jax.reports.explanation_figure import draw_overlay, require_image, show_image
from eagle_jax.reports.look import (
    FAINT,
    INK,
    MARGIN,
    WIDTH,
    drawable,
    font,
    new_figure,
    short_number,
    text_width,
    wrapped,
)
from eagle_jax.results.attribution import Attribution

_COLUMNS = 5
_GAP, _TITLE, _LINE = 0.15, 0.5, 0.2


def draw_comparison(attributions: Mapping[str, Attribution]) -> Figure:
    """Draws the picture and, beside it, the map of each method over the picture in grey.

    Args:
      attributions: of one item, with its image, by the name of the method.

    Returns:
      A figure eleven inches wide; above each map the areas under the curves along its order.

    Raises:
      InputError: one was saved without its image.
    """
    first = next(iter(attributions.values()))
    height, width = first.labels.shape
    inner = WIDTH - 2 * MARGIN
    heading = [f"{first.prompt} \u2192 {first.answer}"]
    if len(first.positions) < len(first.answer_ids):
        heading.append(f"explained: {' '.join(token.strip() for token in first.tokens)}")
    lines = [line for text in heading for line in wrapped(text, 10, inner * 72, 2)]
    side = (inner + _GAP) / _COLUMNS - _GAP
    ratio = float(np.clip(height / width, 1 / 12, 4))
    rows = math.ceil((len(attributions) + 1) / _COLUMNS)
    top = MARGIN + _LINE * len(lines)
    whole = top + rows * (_TITLE + side * ratio) + MARGIN
    figure = new_figure(WIDTH, whole)
    for number, line in enumerate(lines):
        _write(figure, MARGIN, MARGIN + _LINE * number, line, 10, INK)

    def panel(place: int) -> tuple[Axes, float, float]:
        row, column = divmod(place, _COLUMNS)
        left = MARGIN + column * (side + _GAP)
        down = top + row * (_TITLE + side * ratio) + _TITLE
        box = left / WIDTH, 1 - (down + side * ratio) / whole
        return figure.add_axes((*box, side / WIDTH, side * ratio / whole)), left, down

    axes, *_ = panel(0)
    show_image(axes, require_image(first), first)
    for place, (method, attribution) in enumerate(attributions.items(), start=1):
        axes, left, down = panel(place)
        draw_overlay(axes, attribution)
        scores = (
            f"insertion {short_number(attribution.insertion_auc)}, "
            f"deletion {short_number(attribution.deletion_auc)}"
        )
        _write(figure, left, down - 0.37, _fitting(method, side), 9, INK, bold=True)
        _write(figure, left, down - 0.2, scores, 7.5, FAINT)
    return figure


def _fitting(text: str, inches: float) -> str:
    while text_width(text, 9, True) > inches * 72:
        text = text[:-2] + "\u2026"
    return text


def _write(
    figure: Figure,
    left: float,
    down: float,
    text: str,
    size: float | int,
    colour: str,
    bold: bool = False,
) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        1 - down / height,
        drawable(text),
        fontproperties=font(size, bold),
        color=colour,
        va="top",
        parse_math=False,
    )
