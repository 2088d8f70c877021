"""The tokens of an answer as rounded chips, coloured by what the model relied on."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import FancyBboxPatch, Rectangle

from eagle_jax.reports.fonts import drawable, font, text_width
from eagle_jax.reports.look import EDGE, FAINT, INK, RELIANCE_COLOURS
from eagle_jax.reports.token_labels import Chip, answer_chips, reliance_range
from eagle_jax.results.attribution import Attribution

_PAD = 4.2
# Width of a value below a chip, in points.
_VALUE = 17.0


class _Placed(NamedTuple):
    chip: Chip
    text: str
    # Reliance of each scored token.
    values: tuple[float, ...]
    left: float = 0.0
    width: float = 0.0


class ChipRows:
    """Chips in rows of a width; the height is known before anything is drawn.

    Args:
      attribution: attribution whose answer is shown.
      width: width in points.

    Attributes:
      scale: from a value of reliance to the colour scale.
      height: height of all rows in points.
    """

    def __init__(self, attribution: Attribution, width: float):
        self.scale = Normalize(*reliance_range(attribution))
        chips = list(_chips(attribution))
        self.size = 12.0 if len(chips) <= 16 else 10.5 if len(chips) <= 48 else 9.0
        self.partial = attribution.partial
        self.valued = attribution.positions.size <= 32
        self.rows = _rows(chips, self.size, width, self.valued)
        self.width = width
        self.pitch = self.size * (2.75 if self.valued else 2.05)
        self.height = self.pitch * len(self.rows)

    def draw(self, axes: Axes) -> None:
        """Draws into axes of exactly this width and height."""
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.axis("off")
        for number, row in enumerate(self.rows):
            for placed in row:
                self._draw_chip(axes, placed, number * self.pitch + self.size * 0.95)

    def _draw_chip(self, axes: Axes, placed: _Placed, y: float) -> None:
        chip, text, values, x, width = placed
        outlined = self.partial and bool(values)
        colours = [RELIANCE_COLOURS(self.scale(value)) for value in values]
        tall, ink = self.size * 1.6, FAINT
        box = FancyBboxPatch(
            (x, y - tall / 2),
            width,
            tall,
            boxstyle=f"round,pad=0,rounding_size={self.size * 0.42}",
            facecolor=colours[0] if len(colours) == 1 else "white",
            edgecolor=INK if outlined else EDGE,
            linewidth=1.4 if outlined else 0.6,
            clip_on=False,
        )
        axes.add_patch(box)
        if colours:
            light = np.dot(np.mean(colours, axis=0)[:3], (0.299, 0.587, 0.114))
            ink = "white" if light < 0.53 else INK
        band = width / max(len(colours), 1)
        for number, colour in enumerate(colours if len(colours) > 1 else ()):
            stripe = Rectangle((x + number * band, y - tall / 2), band, tall, color=colour)
            axes.add_patch(stripe)
            stripe.set_clip_path(box)
        axes.text(
            x + width / 2,
            # Centred on the height of small letters, not on each text's own box.
            y + self.size * 0.34,
            text,
            fontproperties=font(self.size * (0.8 if chip.small else 1), text=text),
            color=ink,
            ha="center",
            va="baseline",
            parse_math=False,
        )
        for number, value in enumerate(values if self.valued else ()):
            axes.text(
                x + (number + 0.5) * band,
                y + self.size * 1.5,
                f"{value:.2f}",
                fontproperties=font(6.5),
                color=FAINT,
                ha="center",
                va="baseline",
            )


def _chips(attribution: Attribution) -> Iterator[_Placed]:
    reliance = attribution.reliance
    for chip in answer_chips(attribution):
        text = chip.text
        if chip.instead is not None:
            text = f"{chip.instead} (scored instead of {text})"
        values = tuple(reliance[list(chip.scored)].tolist())
        yield _Placed(chip, drawable(text), values)


def _rows(chips: list[_Placed], size: float, width: float, valued: bool) -> list[list[_Placed]]:
    rows: list[list[_Placed]] = [[]]
    x = 0.0
    for placed in chips:
        chip, (chip_width, text) = placed.chip, _fit(placed, size, width)
        if valued and len(placed.values) > 1:
            chip_width = max(chip_width, _VALUE * len(placed.values))
        gap = (size * 0.62 if chip.gap or chip.small else size * 0.16) if rows[-1] else 0.0
        if rows[-1] and x + gap + chip_width > width:
            rows.append([])
            x, gap = 0.0, 0.0
        rows[-1].append(placed._replace(text=text, left=x + gap, width=chip_width))
        x += gap + chip_width
        if chip.newline:
            rows.append([])
            x = 0.0
    return [row for row in rows if row]


def _fit(placed: _Placed, size: float, width: float) -> tuple[float, str]:
    """Width of a chip, and its text, cut where it is wider than a row."""
    text_size = size * (0.8 if placed.chip.small else 1)
    text = placed.text
    while (wide := text_width(text, text_size) + 2 * _PAD) > width and len(text) > 1:
        text = text[: int(len(text) * 0.9) - 1] + "\u2026"
    return max(wide, size * 1.3), text
