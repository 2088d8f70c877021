"""Where an object is: pictures and polygons to boolean masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import read_image


def read_mask(path: Path, height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Reads a picture as a mask, True wherever it is not black.

    Args:
      path: of the picture.
      height: it must have, in pixels.
      width: it must have, in pixels.

    Raises:
      InputError: it cannot be read or has another size.
    """
    mask = np.asarray(read_image(path).any(axis=-1))
    if mask.shape != (height, width):
        raise InputError(
            f"the mask {path} is {mask.shape[1]} x {mask.shape[0]} pixels, its picture is "
            f"{width} x {height}"
        )
    return mask


def fill_polygons(
    polygons: Sequence[Sequence[float]], height: int, width: int
) -> Bool[np.ndarray, "H W"]:
    """Fills outlines, edges included; where they overlap, the mask stays True.

    Args:
      polygons: x0, y0, x1, y1, ... of each, in pixels; rounded to whole pixels and clipped to
        the picture, as published.
      height: of the picture, in pixels.
      width: of the picture, in pixels.

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
