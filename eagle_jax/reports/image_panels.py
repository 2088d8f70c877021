"""Panels in the pixel coordinates of the image: its regions, and maps over it."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from PIL import Image
from scipy import ndimage

from eagle_jax.metrics.localisation import region_point
from eagle_jax.reports.fonts import font
from eagle_jax.reports.look import EDGE, INK, RANK_COLOUR
from eagle_jax.results.attribution import Attribution

RANKS = 5
# Longest side, in pixels, of the images inside the figure.
RASTER = 1200
# Standard deviation of the smoothing as a fraction of the image's mean side; close to the
# published 20 pixels down and up again at 640 x 480.
_SMOOTHING = 0.018


def overlay(
    image: UInt8[np.ndarray, "H W 3"],
    saliency: Float[np.ndarray, "H W"],
    opacity: float = 0.55,
    colours: str = "viridis",
) -> UInt8[np.ndarray, "H W 3"]:
    """Lays a smoothed saliency map in colours over the image in grey.

    Args:
      image: explained image, RGB.
      saliency: map in [0, 1].
      opacity: fraction of the colour in the mixture.
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
    """Draws the image with all region outlines and the ranks of the most important few.

    Args:
      axes: axes to draw on, which get the image's pixel coordinates.
      attribution: attribution with its image.
    """
    show_image(axes, figure_image(attribution), attribution)
    labels = attribution.labels
    step = max(1, max(labels.shape) // RASTER)
    coarse = labels[::step, ::step]
    corners = np.array(labels.shape[::-1]) / coarse.shape[::-1]

    def lines(grid: np.ndarray, **style) -> LineCollection:
        return LineCollection(
            list(outline_segments(grid) * corners), capstyle="projecting", **style
        )

    axes.add_collection(lines(coarse, colors="black", linewidths=1.0, alpha=0.2))
    axes.add_collection(lines(coarse, colors="white", linewidths=0.5, alpha=0.65))
    for rank, region in reversed(list(enumerate(attribution.order[:RANKS], start=1))):
        inside = coarse == region
        axes.add_collection(lines(inside, colors="black", linewidths=2.6, alpha=0.5))
        axes.add_collection(lines(inside, colors=RANK_COLOUR, linewidths=1.5))
        y, x = region_point(inside)
        axes.text(
            (x + 0.5) * corners[0],
            (y + 0.5) * corners[1],
            str(rank),
            fontproperties=font(8, bold=True),
            color=INK,
            ha="center",
            va="center_baseline",
            bbox={"boxstyle": "circle,pad=0.22", "facecolor": RANK_COLOUR, "edgecolor": INK},
            zorder=5,
        )


def draw_overlay(axes: Axes, attribution: Attribution, raster: int = RASTER) -> None:
    """Draws the saliency map over the image.

    Args:
      axes: axes to draw on, which get the image's pixel coordinates.
      attribution: attribution with its image.
      raster: longest side of the drawing in pixels.
    """
    image = resized(attribution.require_image(), raster)
    saliency = enlarged(attribution.saliency, image)
    show_image(axes, overlay(image, saliency), attribution)


def show_image(axes: Axes, image: np.ndarray, attribution: Attribution) -> None:
    """Shows an image of any resolution in the pixel coordinates of the explained image."""
    height, width = attribution.labels.shape
    axes.imshow(image, extent=(0, width, height, 0), aspect="auto", interpolation="antialiased")
    axes.set(xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    for spine in axes.spines.values():
        spine.set(color=EDGE, linewidth=0.6)


def figure_image(attribution: Attribution) -> np.ndarray:
    """The explained image at the resolution of the figures.

    Raises:
      InputError: the attribution was saved without its image.
    """
    return resized(attribution.require_image())


def resized(
    image: UInt8[np.ndarray, "H W 3"], raster: int = RASTER
) -> UInt8[np.ndarray, "h w 3"]:
    """An image at the resolution of the figures, or with another longest side in pixels."""
    height, width = image.shape[:2]
    scale = raster / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(image).resize(size, smooth))


def enlarged(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Values of pixels at the resolution of a larger or smaller image."""
    return np.asarray(
        Image.fromarray(values).resize(image.shape[1::-1], Image.Resampling.NEAREST)
    )


def outline_segments(labels: np.ndarray) -> np.ndarray:
    """Lines between regions: (segments, 2 ends, x and y), without the edge of the image."""
    segments = []
    for transposed, grid in ((False, labels), (True, labels.T)):
        # One segment for each run of pixels whose neighbour below is another region.
        change = np.pad(grid[1:] != grid[:-1], ((0, 0), (1, 1))).astype(np.int8)
        y, start = np.nonzero(np.diff(change, axis=1) == 1)
        _, stop = np.nonzero(np.diff(change, axis=1) == -1)
        ends = np.stack([np.stack([start, y + 1], -1), np.stack([stop, y + 1], -1)], axis=1)
        segments.append(ends[..., ::-1] if transposed else ends)
    return np.concatenate(segments).astype(np.float64)
