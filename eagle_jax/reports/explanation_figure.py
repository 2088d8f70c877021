"""Pictures of an attribution: regions, saliency, curves and answer tokens in one figure."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from eagle_jax.errors import InputError
from eagle_jax.reports.chips import ChipRows
from eagle_jax.reports.importance_panel import draw_importance, interactions
from eagle_jax.reports.look import (
    DELETION_COLOUR,
    EDGE,
    FAINT,
    INK,
    INSERTION_COLOUR,
    MARGIN,
    RANK_COLOUR,
    RELIANCE_COLOURS,
    TITLE,
    WIDTH,
    colour_bar,
    curve_legend,
    drawable,
    font,
    new_figure,
    plain_frame,
    short_number,
    text_width,
    wrapped,
)
from eagle_jax.results.attribution import Attribution

RANKS = 5
# Longest side, in pixels, of the pictures inside the figure.
RASTER = 1200
# Standard deviation of the smoothing as a share of the image's mean side; close to the
# published 20 pixels down and up again at 640 x 480.
_SMOOTHING = 0.018


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    saliency: Float[np.ndarray, "H W"],
    opacity: float = 0.55,
    colours: str = "viridis",
) -> UInt8[np.ndarray, "H W 3"]:
    """Lay a smoothed saliency map in colours over the image in grey.

    Args:
      image: the explained image, RGB.
      saliency: map in [0, 1].
      opacity: share of the colour in the mixture.
      colours: name of a matplotlib colour map.

    Returns:
      The mixture, RGB.

    References:
      EAGLE, arXiv 2509.22496, figures (there half colour, half coloured image).
    """
    sigma = _SMOOTHING * np.sqrt(saliency.size)
    smooth = ndimage.gaussian_filter(saliency.astype(np.float32), sigma, mode="nearest")
    colour = colormaps[colours](np.clip(smooth, 0, 1))[..., :3] * 255
    # A grey ground keeps the mixture's hue equal to the colour bar's.
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.round(opacity * colour + (1 - opacity) * grey[..., None]).astype(np.uint8)


def draw_regions(axes: Axes, attribution: Attribution) -> None:
    """Draw the image with all region outlines and the ranks of the most important few.

    Args:
      axes: where to draw; takes the image's pixel coordinates.
      attribution: what to draw.
    """
    show_image(axes, require_image(attribution), attribution)
    labels = attribution.labels
    step = max(1, max(labels.shape) // RASTER)
    coarse = labels[::step, ::step]
    corners = np.array(labels.shape[::-1]) / coarse.shape[::-1]

    def lines(which: np.ndarray, **style) -> LineCollection:
        return LineCollection(
            list(outline_segments(which) * corners), capstyle="projecting", **style
        )

    axes.add_collection(lines(coarse, colors="black", linewidths=1.0, alpha=0.2))
    axes.add_collection(lines(coarse, colors="white", linewidths=0.5, alpha=0.65))
    for rank, region in reversed(list(enumerate(attribution.order[:RANKS], start=1))):
        inside = np.pad(coarse == region, 1)
        axes.add_collection(
            lines(inside[1:-1, 1:-1], colors="black", linewidths=2.6, alpha=0.5)
        )
        axes.add_collection(lines(inside[1:-1, 1:-1], colors=RANK_COLOUR, linewidths=1.5))
        # The pixel farthest from the outline lies inside even where the centroid does not.
        depth = np.asarray(ndimage.distance_transform_edt(inside))
        y, x = np.unravel_index(np.argmax(depth), inside.shape)
        axes.text(
            (float(x) - 0.5) * corners[0],
            (float(y) - 0.5) * corners[1],
            str(rank),
            fontproperties=font(8, bold=True),
            color=INK,
            ha="center",
            va="center_baseline",
            bbox={"boxstyle": "circle,pad=0.22", "facecolor": RANK_COLOUR, "edgecolor": INK},
            zorder=5,
        )


def draw_overlay(axes: Axes, attribution: Attribution) -> None:
    """Draw the saliency map over the image.

    Args:
      axes: where to draw; takes the image's pixel coordinates.
      attribution: what to draw.
    """
    image = require_image(attribution)
    saliency = Image.fromarray(attribution.saliency)
    saliency = saliency.resize(image.shape[1::-1], Image.Resampling.NEAREST)
    show_image(axes, overlay(image, np.asarray(saliency)), attribution)


def draw_curves(axes: Axes, attribution: Attribution) -> None:
    """Draw the insertion and deletion curves, mean over target tokens, against area.

    Args:
      axes: where to draw; needs room for a legend above and two labels on the right.
      attribution: what to draw.
    """
    area = attribution.area
    insertion, deletion = attribution.insertion.mean(axis=1), attribution.deletion.mean(axis=1)
    blank, full = float(insertion[0]), float(deletion[0])
    top = max(float(insertion.max()), float(deletion.max()), 1e-6)
    top = 1.02 if top > 0.5 else 1.08 * top
    for level in (blank, full):
        axes.axhline(level, color=EDGE, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for name, curve, colour, auc in (
        ("insertion", insertion, INSERTION_COLOUR, attribution.insertion_auc),
        ("deletion", deletion, DELETION_COLOUR, attribution.deletion_auc),
    ):
        axes.plot(
            area,
            curve,
            color=colour,
            linewidth=1.8,
            marker="o",
            markersize=2.4,
            solid_joinstyle="round",
            label=f"{name} (AUC {short_number(auc)})",
            clip_on=False,
            zorder=3,
        )
    axes.set(xlim=(0, 1), ylim=(0, top))
    apart = max(0.07 * top - abs(full - blank), 0) / 2
    up = 1 if full >= blank else -1
    for name, level, shift in (("full", full, up * apart), ("blank", blank, -up * apart)):
        axes.annotate(
            f"{name} {short_number(level)}",
            (1, level + shift),
            xytext=(5, 0),
            textcoords="offset points",
            fontproperties=font(7.5),
            color=FAINT,
            va="center",
            annotation_clip=False,
        )
    curve_legend(axes)
    axes.set_xlabel("image area inserted or deleted", fontproperties=font(8.5), color=INK)
    axes.set_ylabel(
        _measured(attribution), fontproperties=font(8.5), color=INK, parse_math=False
    )
    plain_frame(axes)


def draw_explanation(attribution: Attribution) -> Figure:
    """Draw an attribution on one page: prompt, regions, saliency, curves, answer tokens.

    Built on the object-oriented interface alone: no pyplot state is touched. Panels follow
    the shape of the image, and the height follows the length of the answer.

    Args:
      attribution: what to draw.

    Returns:
      A figure eleven inches wide; save it with `savefig`, no tight box needed.
    """
    inner = WIDTH - 2 * MARGIN
    chips = ChipRows(attribution, inner * 72)
    prompt = wrapped(attribution.prompt, 11, (inner - 0.75) * 72, 3)
    height, width = attribution.labels.shape
    # A strip of a few pixels is drawn thicker than it is, or nobody could see it.
    ratio = float(np.clip(height / width, 1 / 12, 8))
    stacked = ratio < 0.5
    tall = min(float(np.sqrt((8.0 if stacked else 8.6) * ratio)), 4.3)
    wide = min(tall / ratio, 5.6 if stacked else 3.1)
    tall = wide * ratio
    row = max(2 * tall + 1.5 * TITLE if stacked else tall, 2.4)

    estimated = attribution.importance is not None and attribution.order.size > 0
    below = 1.9 if estimated else 0.14
    heights = [0.24, 0.22 * len(prompt), 0.22, TITLE, row, 0.7, chips.height / 72, below, 0.42]
    total = sum(heights)
    drawing = new_figure(WIDTH, total)
    bottoms = total - np.cumsum(heights)

    def axes(left: float, bottom: float, width: float, height: float) -> Axes:
        return drawing.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))

    def text(
        left: float, bottom: float, words: str, size: float | int, colour=INK, **style
    ) -> None:
        drawing.text(
            left / WIDTH,
            bottom / total,
            words,
            fontproperties=font(size, style.pop("bold", False)),
            color=colour,
            parse_math=False,
            **style,
        )

    first = bottoms[0] - 0.16
    text(MARGIN, first, "Prompt" if attribution.prompt else "No prompt", 9, FAINT)
    for number, line in enumerate(prompt):
        text(MARGIN + 0.75, first - 0.22 * number, line, 11)

    upper = bottoms[3]
    if stacked:
        lower = upper - 2 * tall - 1.5 * TITLE
        boxes = [(MARGIN, upper - tall), (MARGIN, lower)]
        right = MARGIN + wide
    else:
        box = max(wide, 1.75)
        boxes = [(MARGIN, upper - tall), (MARGIN + box + 0.3, upper - tall)]
        right = MARGIN + box + 0.3 + wide
    names = ("Most important regions", "Saliency")
    for (left, low), name, draw in zip(boxes, names, (draw_regions, draw_overlay), strict=True):
        draw(axes(left, low, wide, tall), attribution)
        text(left, low + tall + 0.09, name, 10, bold=True)
    left, low = boxes[1]
    colour_bar(
        axes(left + wide + 0.08, low, 0.09, tall),
        ScalarMappable(Normalize(0, 1), "viridis"),
        "vertical",
    )
    start = max(right, MARGIN + 2 * 1.75) + 1.0
    text(start - 0.45, upper + 0.09, "Insertion and deletion", 10, bold=True)
    curve_wide = min(WIDTH - MARGIN - 0.62 - start, 4.4)
    curve_tall = min(row, 3.4) - 0.68
    draw_curves(axes(start, upper - 0.26 - curve_tall, curve_wide, curve_tall), attribution)

    line = bottoms[5] + 0.25
    text(MARGIN, line, "Answer", 10, bold=True)
    end = WIDTH - MARGIN - text_width("perception", 8) / 72 - 0.1
    bar = axes(end - 2.0, line + 0.01, 2.0, 0.1)
    colour_bar(bar, ScalarMappable(chips.scale, RELIANCE_COLOURS), "horizontal")
    text(end - 2.1, line, "language prior", 8, FAINT, ha="right")
    text(end + 0.1, line, "perception", 8, FAINT)
    chips.draw(axes(MARGIN, bottoms[6], inner, chips.height / 72))

    if estimated:
        low, half = bottoms[7] + 0.45, inner / 2
        draw_importance(axes(MARGIN + 0.4, low, half - 0.7, 0.95), attribution)
        text(MARGIN, low + 1.07, "What each region adds, with its error", 10, bold=True)
        if lines := interactions(attribution):
            text(MARGIN + half, low + 1.07, "Regions that act together", 10, bold=True)
        for number, one in enumerate(lines):
            text(MARGIN + half, low + 0.8 - 0.18 * number, one, 8.5)

    facts = [attribution.model, f"{attribution.order.size} regions"]
    facts += [f"{attribution.search} search", f"{attribution.forwards:,} forwards"]
    facts += [f"{attribution.seconds:,.1f} s"]
    text(MARGIN, 0.2, drawable("    ".join(facts)), 7.5, FAINT)
    return drawing


def show_image(axes: Axes, image: np.ndarray, attribution: Attribution) -> None:
    """Show a picture of any resolution in the image's pixel coordinates."""
    height, width = attribution.labels.shape
    axes.imshow(image, extent=(0, width, height, 0), aspect="auto", interpolation="antialiased")
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    for spine in axes.spines.values():
        spine.set(color=EDGE, linewidth=0.6)


def require_image(attribution: Attribution) -> np.ndarray:
    """The explained image, enlarged or shrunk to the resolution of the figures."""
    if attribution.image is None:
        raise InputError(
            "the attribution was saved without its image; give it one with "
            "attribution.with_image(path)"
        )
    return _resized(attribution.image)


def _resized(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = RASTER / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize(size, smooth))


def outline_segments(labels: np.ndarray) -> np.ndarray:
    """Where regions border on each other: (segments, 2 ends, x and y), image edge left out."""
    segments = []
    for transposed, grid in ((False, labels), (True, labels.T)):
        # One segment for each run of pixels whose neighbour below is another region.
        change = np.pad(grid[1:] != grid[:-1], ((0, 0), (1, 1))).astype(np.int8)
        y, start = np.nonzero(np.diff(change, axis=1) == 1)
        _, stop = np.nonzero(np.diff(change, axis=1) == -1)
        ends = np.stack([np.stack([start, y + 1], -1), np.stack([stop, y + 1], -1)], axis=1)
        segments.append(ends[..., ::-1] if transposed else ends)
    return np.concatenate(segments).astype(np.float64)


def _measured(attribution: Attribution) -> str:
    if attribution.positions.size > 1:
        return "mean token probability"
    token = drawable(attribution.tokens[0].strip())
    token = token if len(token) < 18 else f"{token[:17]}\u2026"
    return f"probability of \u201c{token}\u201d"
