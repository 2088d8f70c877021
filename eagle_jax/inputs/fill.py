"""Fills: what is shown in place of hidden regions."""

import numpy as np
from jaxtyping import UInt8

from eagle_jax.errors import InputError
from eagle_jax.files import shown_path
from eagle_jax.inputs.images import ImageSource, read_image

FILLS = ("black", "mean", "blur")
DEFAULT_FILL = "black"
# A name of FILLS, or an image of the same size.
Fill = str | ImageSource


def read_fill(
    fill: Fill, image: UInt8[np.ndarray, "H W 3"]
) -> str | UInt8[np.ndarray, "H W 3"]:
    """Checks a fill, and reads the image where it is one.

    Args:
      fill: "black", "mean", "blur", or an image: a path, a PIL image or uint8 pixels.
      image: RGB image whose regions are hidden.

    Returns:
      The name, or the pixels of the fill.

    Raises:
      InputError: the fill is neither a name nor an image of the same size.
    """
    if isinstance(fill, str) and fill in FILLS:
        return fill
    try:
        pixels = read_image(fill)
    except InputError as error:
        if not isinstance(fill, str):
            raise
        raise InputError(
            f"fill is {shown_path(fill)!r}; give {', '.join(FILLS)}, or an image ({error})"
        ) from error
    if pixels.shape != image.shape:
        height, width = pixels.shape[:2]
        raise InputError(
            f"the fill has {width} x {height} pixels, the image {image.shape[1]} x "
            f"{image.shape[0]}; both must be of one size"
        )
    return pixels


def fill_pixels(
    image: UInt8[np.ndarray, "H W 3"], fill: str | UInt8[np.ndarray, "H W 3"]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Pixels that are shown where regions of an image are hidden.

    Args:
      image: RGB image whose regions are hidden.
      fill: what `read_fill` returned.

    Returns:
      An image of the same size, or (1, 1, 3) where the fill is a single colour.
    """
    if not isinstance(fill, str):
        return fill
    if fill == "blur":
        return blurred(image)
    colour = image.mean(axis=(0, 1)).round() if fill == "mean" else np.zeros(3)
    return colour.astype(np.uint8)[None, None]


def blurred(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Blurs an image beyond recognition, with a Gaussian almost as flat as it is wide.

    Args:
      image: RGB image.

    References:
      Kernel sizes by image width: the code of Xing et al., arXiv 2503.13891.
    """
    import scipy.ndimage

    width = image.shape[1]
    kernel = 501 if width >= 2000 else 301 if width >= 800 else 201 if width >= 500 else 101
    values = scipy.ndimage.gaussian_filter(
        image.astype(np.float32),
        (kernel - 1, kernel - 1, 0),
        mode="mirror",
        radius=(kernel // 2, kernel // 2, 0),
    )
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
