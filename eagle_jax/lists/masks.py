"""Object masks, from image files and from polygons."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import read_image


def read_mask(path: Path, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Reads an image file as an object mask: True where a pixel is not black.

    Args:
      path: path of the mask.
      height: required height, in pixels.
      width: required width, in pixels.

    Raises:
      InputError: the file cannot be read or has another size.
    """
    mask = np.asarray(read_image(path).any(axis=-1))
    if mask.shape != (height, width):
        raise InputError(
            f"the mask {path} has {mask.shape[1]} x {mask.shape[0]} pixels, but its image has "
            f"{width} x {height}"
        )
    return mask


def fill_polygons(
    polygons: Sequence[Sequence[float]], height: int, width: int
) -> Bool[np.ndarray, "H W"]:
    """The union of polygons as an object mask, edges included.

    Args:
      polygons: corners of each polygon, x0, y0, x1, y1, ... in pixels; they are rounded to
        whole pixels and clipped to the image, as published.
      height: height of the image, in pixels.
      width: width of the image, in pixels.

    References:
      EAGLE, arXiv 2509.22496, pointing game on masks.
    """
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        points = np.rint(np.asarray(polygon, np.float64)).reshape(-1, 2)
        points = np.clip(points, 0, (width - 1, height - 1)).astype(int)
        draw.polygon([(int(x), int(y)) for x, y in points], fill=1, outline=1)
    return np.array(canvas)


def fill_runs(runs: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """A run-length encoded object mask as pixels.

    Args:
      runs: numbers of pixels, column by column, alternately outside and inside the object.
      height: height of the image, in pixels.
      width: width of the image, in pixels.

    Raises:
      InputError: the runs are those of another number of pixels.
    """
    if sum(runs) != height * width:
        raise InputError(
            f"the runs of the object's mask hold {sum(runs)} pixels, but the image has "
            f"{height * width} ({width} x {height})"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T.copy()


def runs_box(runs: Sequence[int], height: int) -> tuple[int, int, int, int]:
    """The smallest box around a run-length encoded object: x0, y0, x1, y1, ends excluded.

    Args:
      runs: as in `fill_runs`, with at least one pixel inside the object.
      height: height of the image, in pixels.
    """
    ends = np.cumsum(runs, dtype=np.int64)
    begins, ends = ends[:-1:2], ends[1::2]
    begins, ends = begins[ends > begins], ends[ends > begins]
    left, right = begins // height, (ends - 1) // height
    # A run over several columns touches the bottom of its first column and the top of its last.
    top = np.where(left == right, begins % height, 0)
    bottom = np.where(left == right, (ends - 1) % height, height - 1)
    return int(left.min()), int(top.min()), int(right.max()) + 1, int(bottom.max()) + 1
