"""The tokens of an answer as rounded chips, coloured by what the model relied on."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import FancyBboxPatch

from eagle_jax.metrics.reliance import sentence_range
from eagle_jax.reports.look import (
    EDGE,
    FAINT,
    INK,
    RELIANCE_COLOURS,
    drawable,
    font,
    text_width,
)
from eagle_jax.reports.token_labels import SPACES, token_label
from eagle_jax.results.attribution import Attribution

_PAD = 4.2


@dataclasses.dataclass(frozen=True)
class _Chip:
    text: str
    small: bool
    gap: bool
    newline: bool
    value: float | None
    outlined: bool


def reliance_scale(attribution: Attribution) -> Normalize:
    """Colour range of the chips: the answer's own, or 0 to 1 where all values are equal.

    The ends are raw values, so the colour bar stays comparable between answers.
    """
    return Normalize(*sentence_range(attribution.reliance))


class ChipRows:
    """Chips set into rows of a width in points; knows its height before it is drawn."""

    def __init__(self, attribution: Attribution, width: float):
        self.scale = reliance_scale(attribution)
        chips = list(_chips(attribution))
        self.size = 12.0 if len(chips) <= 16 else 10.5 if len(chips) <= 48 else 9.0
        self.values = attribution.positions.size <= 32
        self.rows = _rows(chips, self.size, width)
        self.width = width
        self.pitch = self.size * (2.75 if self.values else 2.05)

    @property
    def height(self) -> float:
        """Height of all rows in points."""
        return self.pitch * len(self.rows)

    def draw(self, axes: Axes) -> None:
        """Draw into axes of exactly this width and height."""
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for number, row in enumerate(self.rows):
            for x, width, chip in row:
                self._draw_chip(axes, x, number * self.pitch + self.size * 0.95, width, chip)

    def _draw_chip(self, axes: Axes, x: float, y: float, width: float, chip: _Chip) -> None:
        fill, ink = "white", FAINT
        if chip.value is not None:
            fill = RELIANCE_COLOURS(self.scale(chip.value))
            ink = "white" if np.dot(fill[:3], (0.299, 0.587, 0.114)) < 0.53 else INK
        tall = self.size * 1.6
        axes.add_patch(
            FancyBboxPatch(
                (x, y - tall / 2),
                width,
                tall,
                boxstyle=f"round,pad=0,rounding_size={self.size * 0.42}",
                facecolor=fill,
                edgecolor=INK if chip.outlined else EDGE,
                linewidth=1.4 if chip.outlined else 0.6,
                clip_on=False,
            )
        )
        axes.text(
            x + width / 2,
            # Centred on the height of small letters, not on each text's own box.
            y + self.size * 0.34,
            chip.text,
            fontproperties=font(self.size * (0.8 if chip.small else 1)),
            color=ink,
            ha="center",
            va="baseline",
            parse_math=False,
        )
        if self.values and chip.value is not None:
            axes.text(
                x + width / 2,
                y + self.size * 1.5,
                f"{chip.value:.2f}",
                fontproperties=font(6.5),
                color=FAINT,
                ha="center",
                va="baseline",
            )


def _chips(attribution: Attribution) -> Iterator[_Chip]:
    reliance = attribution.reliance
    asked = attribution.positions.size < attribution.answer_ids.size
    for position, answered in enumerate(attribution.answer_tokens):
        scored = np.flatnonzero(attribution.positions == position)
        label, small = _label(answered)
        gap = position > 0 and answered[:1] in tuple(SPACES)
        newline = "\n" in answered
        if not scored.size:
            yield _Chip(label, small, gap, newline, None, False)
        for index in scored:
            text = label
            if attribution.counterfactual[index]:
                text = f"{_label(attribution.tokens[index])[0]} (scored instead of {label})"
            yield _Chip(text, small, gap, newline, float(reliance[index]), asked)


def _label(token: str) -> tuple[str, bool]:
    label, small = token_label(token)
    return drawable(label), small


def _rows(
    chips: list[_Chip], size: float, width: float
) -> list[list[tuple[float, float, _Chip]]]:
    rows: list[list[tuple[float, float, _Chip]]] = [[]]
    x = 0.0
    for chip in chips:
        chip_width, chip = _fit(chip, size, width)
        gap = (size * 0.62 if chip.gap or chip.small else size * 0.16) if rows[-1] else 0.0
        if rows[-1] and x + gap + chip_width > width:
            rows.append([])
            x, gap = 0.0, 0.0
        rows[-1].append((x + gap, chip_width, chip))
        x += gap + chip_width
        if chip.newline:
            rows.append([])
            x = 0.0
    return [row for row in rows if row]


def _fit(chip: _Chip, size: float, width: float) -> tuple[float, _Chip]:
    text_size = size * (0.8 if chip.small else 1)
    text = chip.text
    while (wide := text_width(text, text_size) + 2 * _PAD) > width and len(text) > 1:
        text = text[: int(len(text) * 0.9) - 1] + "\u2026"
    return max(wide, size * 1.3), dataclasses.replace(chip, text=text)
