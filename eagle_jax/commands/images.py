"""The image of a command: read and divided once, before a model is loaded."""

import argparse
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from eagle_jax.inputs.images import ImageSource


def read_divided(
    source: "ImageSource", options: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, str | np.ndarray]:
    """The pixels, the label map by --regions and the fill by --fill of an image."""
    from eagle_jax.inputs.fill import read_fill
    from eagle_jax.inputs.images import read_image
    from eagle_jax.inputs.regions import segment

    pixels = read_image(source)
    return pixels, segment(pixels, options.regions), read_fill(options.fill, pixels)
