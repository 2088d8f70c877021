"""How all figures look: faces of the text, colours, sizes in inches, frames and legends."""

import bisect
import functools
import itertools
import unicodedata

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from matplotlib.ticker import PercentFormatter

INK, FAINT, EDGE = "#22262b", "#737b85", "#c9ced6"
PRIOR_COLOUR, PERCEPTION_COLOUR, NEITHER_COLOUR = "#3b7cc4", "#d9473a", "#8a9099"
INSERTION_COLOUR, DELETION_COLOUR, RANK_COLOUR = "#12807a", "#d2622a", "#ffd84a"
AGAINST_COLOURS, REMOVED_COLOUR = "YlOrRd", "#e5263a"
RELIANCE_COLOURS = LinearSegmentedColormap.from_list(
    "reliance", [PRIOR_COLOUR, "#a5c8ea", "#f6f4f2", "#f5ab9c", PERCEPTION_COLOUR]
)
# Of the figures of one picture.
WIDTH, MARGIN, TITLE = 11.0, 0.3, 0.27

# Clean faces first, then ones that have Chinese, Japanese and Korean glyphs.
_FACES = (
    "Helvetica Neue",
    "Arial",
    "Liberation Sans",
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Microsoft YaHei",
)
_UNKNOWN = "\ufffd"


def new_figure(width: float, height: float) -> Figure:
    """An empty page in inches, outside of pyplot, whose state stays as it is."""
    return Figure(figsize=(width, height), dpi=200, facecolor="white")


def font(size: float | int, bold: bool = False) -> FontProperties:
    """Font of all text in the figures, in points, from the faces this machine has."""
    return FontProperties(family=list(_faces()), size=size, weight="bold" if bold else "normal")


def drawable(text: str) -> str:
    """Replace what no installed font can draw, one mark for each run of such characters."""
    pairs = itertools.groupby(text, key=_has_glyph)
    return "".join("".join(run) if known else _UNKNOWN for known, run in pairs)


def text_width(text: str, size: float | int, bold: bool = False) -> float:
    """Width of a line of text in points."""
    return text_to_path.get_text_width_height_descent(text, font(size, bold), False)[0]


def wrapped(text: str, size: float | int, width: float, most: int) -> list[str]:
    """Lines of a text in a width in points; the last of `most` ends in dots where it is cut."""
    # More than this never fits, and measuring a very long prompt takes seconds.
    rest = drawable(" ".join(text.split())[:1000])
    lines = []
    while rest and len(lines) < most:
        # The longest start that fits, cut at a space where there is one.
        fits = bisect.bisect_right(
            range(1, len(rest) + 1), width, key=lambda k: text_width(rest[:k], size)
        )
        cut = fits
        if fits < len(rest) and " " in rest[: fits + 1]:
            cut = rest.rindex(" ", 0, fits + 1)
        lines.append(rest[:cut])
        rest = rest[cut:].lstrip()
    if rest:
        while text_width(lines[-1] + "\u2026", size) > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] += "\u2026"
    return lines or [""]


def short_number(value: float) -> str:
    """Two digits that matter."""
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def plain_frame(axes: Axes) -> None:
    """Leave a diagram its left and bottom line, with small ticks.

    Args:
      axes: with its limits and formatters set.
    """
    axes.tick_params(length=2.5, width=0.6, color=FAINT, labelcolor=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(7.5))
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT, linewidth=0.6)
    axes.set_facecolor("none")


def curve_legend(axes: Axes) -> None:
    """Name the curves above the axes, and give the area below them in per cent."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2,
        frameon=False,
        prop=font(8),
        labelcolor=INK,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.2,
        borderaxespad=0.1,
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def colour_bar(axes: Axes, colours: ScalarMappable, orientation: str) -> None:
    """Draw a colour bar with three labels."""
    bar = axes.figure.colorbar(colours, cax=axes, orientation=orientation)
    bar.outline.set(linewidth=0.5, color=EDGE)
    low, high = colours.get_clim()
    ticks = [low, (low + high) / 2, high]
    digits = "g" if (low, high) == (0, 1) else ".2f" if high >= 0.1 else ".2g"
    bar.set_ticks(ticks, labels=[format(tick, digits) for tick in ticks])
    bar.ax.tick_params(length=2, width=0.5, color=FAINT, labelcolor=FAINT)
    for label in (*bar.ax.get_xticklabels(), *bar.ax.get_yticklabels()):
        label.set_fontproperties(font(7))


@functools.cache
def _faces() -> tuple[str, ...]:
    installed = set(font_manager.fontManager.get_font_names())
    return tuple(face for face in _FACES if face in installed)


@functools.cache
def _has_glyph(character: str) -> bool:
    if unicodedata.category(character) in ("Cc", "Cs", "Cn"):
        return False
    paths = (font_manager.findfont(FontProperties(family=face)) for face in _faces())
    return any(font_manager.get_font(path).get_char_index(ord(character)) for path in paths)
