"""The page that a figure is drawn on: bands from top to bottom, places in inches."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eagle_jax.reports.fonts import drawable, font, wrapped
from eagle_jax.reports.look import FAINT, INK, MARGIN, TITLE, WIDTH
from eagle_jax.results.attribution import Attribution

# Width between the margins, and the place to the right of a label such as "Prompt".
INNER, INDENT = WIDTH - 2 * MARGIN, MARGIN + 0.75
LINE = 0.22


class Sheet:
    """A figure as wide as all figures of a single image, filled band by band.

    Args:
      bands: height of each band in inches, by name, from top to bottom.
      width: width in inches.

    Attributes:
      figure: what to save.
      bottom: lower end of each band, in inches above the lower end of the page.
    """

    def __init__(self, bands: Mapping[str, float], width: float = WIDTH):
        self.width, self.height = width, sum(bands.values())
        # Made without pyplot, whose state does not change.
        self.figure = Figure(figsize=(width, self.height), dpi=200, facecolor="white")
        bottoms = self.height - np.cumsum(list(bands.values()))
        self.bottom = dict(zip(bands, bottoms.tolist(), strict=True))

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes in a box given in inches."""
        page = np.array([self.width, self.height] * 2)
        return self.figure.add_axes(tuple(np.array([left, bottom, width, height]) / page))

    def text(
        self,
        left: float,
        bottom: float,
        words: str,
        size: float | int,
        colour: str = INK,
        bold: bool = False,
        **style,
    ) -> None:
        """Writes a line at a place given in inches."""
        words = drawable(words)
        self.figure.text(
            left / self.width,
            bottom / self.height,
            words,
            fontproperties=font(size, bold, words),
            color=colour,
            parse_math=False,
            **style,
        )

    def paragraph(
        self, bottom: float, label: str, lines: Sequence[str], size: float | int
    ) -> None:
        """Writes a label in the margin and, to its right, lines from a first one downwards."""
        self.text(MARGIN, bottom, label, 9, FAINT)
        for number, line in enumerate(lines):
            self.text(INDENT, bottom - LINE * number, line, size)

    def footer(self, attribution: Attribution, *facts: str) -> None:
        """Writes at the lower end how the attribution was made, and other facts."""
        k, n = attribution.order.size, attribution.regions
        searched = "search" in attribution.options
        shown = [
            attribution.model,
            f"{n} regions" if k == n else f"{k} of {n} regions in order",
        ]
        shown.append(f"{attribution.search} search" if searched else attribution.search)
        if attribution.fill_name != "black":
            shown.append(f"fill: {attribution.fill_name}")
        shown += [f"{attribution.forwards:,} forwards", *facts]
        self.text(MARGIN, 0.2, "    ".join(shown), 7.5, FAINT)


def prompt_lines(text: str, size: float | int = 11) -> list[str]:
    """At most three lines of a paragraph."""
    return wrapped(text, size, (WIDTH - MARGIN - INDENT) * 72, 3)


class ImageRow(NamedTuple):
    """Two panels in the shape of an image, side by side, or stacked where it is wide.

    Attributes:
      wide: width of each panel, in inches.
      tall: height of each panel.
      height: height of the row.
      places: left end of each panel, and its upper end below that of the row.
      right: right end of both panels.
      stacked: whether the second panel is below the first.
    """

    wide: float
    tall: float
    height: float
    places: tuple[tuple[float, float], tuple[float, float]]
    right: float
    stacked: bool

    def draw(
        self,
        sheet: Sheet,
        top: float,
        panels: Sequence[tuple[str, Callable[[Axes], None]]],
    ) -> list[tuple[float, float]]:
        """Draws both panels below their titles; returns their left and lower ends."""
        corners = [(left, top - down - self.tall) for left, down in self.places]
        for (left, bottom), (title, draw) in zip(corners, panels, strict=True):
            sheet.text(left, bottom + self.tall + 0.09, title, 10, bold=True)
            draw(sheet.axes(left, bottom, self.wide, self.tall))
        return corners


def image_row(shape: tuple[int, ...], title: float, gap: float) -> ImageRow:
    """Lays out two panels for an image.

    Args:
      shape: height and width of the image in pixels.
      title: width that the titles need, in inches.
      gap: width between the panels.
    """
    height, width = shape
    # A strip of a few pixels is drawn thicker than it is, or nobody could see it.
    ratio = float(np.clip(height / width, 1 / 12, 8))
    stacked = ratio < 0.5
    tall = min(float(np.sqrt((8.0 if stacked else 8.6) * ratio)), 4.3)
    wide = min(tall / ratio, 5.6 if stacked else 3.1)
    tall = wide * ratio
    box = max(wide, title)
    second = (MARGIN, tall + 1.5 * TITLE) if stacked else (MARGIN + box + gap, 0.0)
    return ImageRow(
        wide=wide,
        tall=tall,
        height=max(2 * tall + 1.5 * TITLE if stacked else tall, 2.4),
        places=((MARGIN, 0.0), second),
        right=second[0] + box,
        stacked=stacked,
    )
