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
