"""How all figures look: colours, sizes in inches, frames, numbers and legends."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, PercentFormatter

from eagle_jax.reports.fonts import font

INK, FAINT, EDGE = "#22262b", "#737b85", "#c9ced6"
PRIOR_COLOUR, PERCEPTION_COLOUR, NEITHER_COLOUR = "#3b7cc4", "#d9473a", "#8a9099"
INSERTION_COLOUR, DELETION_COLOUR, RANK_COLOUR = "#12807a", "#d2622a", "#ffd84a"
AGAINST_COLOURS, REMOVED_COLOUR = "YlOrRd", "#e5263a"
RELIANCE_COLOURS = LinearSegmentedColormap.from_list(
    "reliance", [PRIOR_COLOUR, "#a5c8ea", "#f6f4f2", "#f5ab9c", PERCEPTION_COLOUR]
)
# Figures about a single image: width of the page, its margin, height of a title.
WIDTH, MARGIN, TITLE = 11.0, 0.3, 0.27


def short_number(value: float) -> str:
    """A number with two significant digits."""
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def plain_frame(axes: Axes) -> None:
    """Leaves a diagram its left and bottom line, with small ticks.

    Args:
      axes: axes whose limits and formatters are set.
    """
    axes.tick_params(length=2.5, width=0.6, color=FAINT, labelcolor=INK)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(7.5))
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=FAINT, linewidth=0.6)
    axes.set_facecolor("none")


def draw_curve(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str = "") -> None:
    """Draws a curve with a dot at every point."""
    axes.plot(
        x,
        y,
        color=colour,
        linewidth=1.8,
        marker="o",
        markersize=2.4,
        solid_joinstyle="round",
        label=label or None,
        clip_on=False,
        zorder=3,
    )


def curve_legend(axes: Axes) -> None:
    """Names the curves above the axes, and labels the horizontal axis in per cent."""
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
    if axes.get_ylim()[1] < 0.01:
        # By default the power of ten that the labels share stands where the legend is.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def colour_bar(axes: Axes, colours: ScalarMappable, orientation: str) -> None:
    """Draws a colour bar with three labels."""
    bar = axes.figure.colorbar(colours, cax=axes, orientation=orientation)
    bar.outline.set(linewidth=0.5, color=EDGE)
    low, high = colours.get_clim()
    ticks = [low, (low + high) / 2, high]
    digits = "g" if (low, high) == (0, 1) else ".2f" if high >= 0.1 else ".2g"
    bar.set_ticks(ticks, labels=[format(tick, digits) for tick in ticks])
    bar.ax.tick_params(length=2, width=0.5, color=FAINT, labelcolor=FAINT)
    for label in (*bar.ax.get_xticklabels(), *bar.ax.get_yticklabels()):
        label.set_fontproperties(font(7))
