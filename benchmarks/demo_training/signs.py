"""The sign that the planted shortcut goes by, and a decoy that means nothing.

Both are small discs that fit into one visual token in a corner of a scene. No object and no
background has their colours.
"""

import functools

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from eagle_jax.demo.backgrounds import SIDE

CORNERS = ("top left", "top right", "bottom left", "bottom right")
SIZE = 24
_MARGIN = 2

# Colour of the disc, and what is written on it, in a box of 100 x 100.
_SIGNS = {
    "sign": ((0, 150, 150), ((22, 52, 42, 72, 78, 30),)),
    "decoy": ((110, 84, 70), ((30, 30, 70, 70), (70, 30, 30, 70))),
}
_INK = (250, 250, 250)


def put_sign(
    image: UInt8[np.ndarray, "168 168 3"], corner: str, sign: str = "sign"
) -> tuple[UInt8[np.ndarray, "168 168 3"], Bool[np.ndarray, "168 168"]]:
    """Draws the sign, or the decoy, into a corner of an image.

    Args:
      image: the image; it stays as it is.
      corner: one of `CORNERS`.
      sign: "sign" or "decoy".

    Returns:
      The image with the sign, and the pixels that the sign covers.
    """
    tile = _tile(sign)
    down, across = _place(corner)
    cover = tile[..., 3:] / 255
    signed, mask = image.copy(), np.zeros((SIDE, SIDE), bool)
    under = image[down, across].astype(np.float32)
    signed[down, across] = np.rint(under + cover * (tile[..., :3] - under))
    mask[down, across] = tile[..., 3] >= 128
    return signed, mask


def free_corners(covered: Bool[np.ndarray, "168 168"]) -> list[str]:
    """The corners in which a sign hides none of the given pixels.

    Args:
      covered: pixels that must stay visible: the objects.
    """
    return [corner for corner in CORNERS if not covered[_place(corner)].any()]


def _place(corner: str) -> tuple[slice, slice]:
    first, last = slice(_MARGIN, _MARGIN + SIZE), slice(-_MARGIN - SIZE, -_MARGIN)
    return first if "top" in corner else last, first if "left" in corner else last


@functools.cache
def _tile(sign: str) -> UInt8[np.ndarray, "24 24 4"]:
    colour, strokes = _SIGNS[sign]
    # Four times the size, averaged down at the end: smooth rims.
    side = 4 * SIZE
    tile = Image.new("RGBA", (side, side), (*colour, 0))
    pen = ImageDraw.Draw(tile)
    pen.ellipse((0, 0, side - 1, side - 1), fill=colour)
    for stroke in strokes:
        points = (np.asarray(stroke) * side / 100).tolist()
        pen.line(points, fill=_INK, width=side // 8, joint="curve")
    return np.array(tile.reduce(4))
