"""Whether boxes, polygons and masks of an item are in the frame of its image as it is read.

Images are turned upright by their EXIF orientation when they are read; many tools write boxes
in the frame of the unturned file.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import image_sizes
from eagle_jax.lists.items import Item

# Boxes are often rounded up or written with their ends included.
_SLACK = 2


def require_frame(item: Item, height: int, width: int) -> None:
    """Refuses an item whose boxes, polygons or mask belong to another frame than its image.

    An object may extend a little over the edge, as annotators draw it; at least half of each
    box, and half of the box around each polygon, must lie in the image.

    Args:
      item: the item; without boxes, polygons and runs there is nothing to refuse.
      height: height of the image as it is read, in pixels.
      width: width of the image as it is read, in pixels.

    Raises:
      InputError: a box lies outside the image, or the size that the list records is another.
    """
    thing = "boxes" if item.boxes else "polygons" if item.polygons else "mask"
    if item.mask is None and not (item.boxes or item.polygons or item.runs):
        return
    sizes = item.size, None if item.mask is None else _mask_size(item.mask)
    turned = (
        f"the image is turned by its EXIF orientation, but its {thing} fit the unturned file: "
        f"turn the {thing}, or save the image without the orientation"
    )
    if width != height and (height, width) in sizes and _is_turned(item.image):
        raise InputError(turned)
    if item.size is not None and item.size != (width, height):
        raise InputError(
            f"the list records {item.size[0]} x {item.size[1]} pixels, but the image has "
            f"{width} x {height}: take the image that the {thing} belong to"
        )
    for box in _rectangles(item):
        if _fits(box, width, height):
            continue
        if _fits(box, height, width) and _is_turned(item.image):
            raise InputError(turned)
        if _inside(box, width, height) < 0.5:
            corners = ", ".join(f"{number:g}" for number in box)
            raise InputError(
                f"the box {corners} lies outside the image of {width} x {height} pixels: take "
                "the image that it belongs to"
            )


def _is_turned(path: Path) -> bool:
    with contextlib.suppress(InputError):
        read, stored = image_sizes(path)
        return read != stored
    return False


def _mask_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a mask; None for a file that `read_mask` refuses."""
    with contextlib.suppress(InputError):
        return image_sizes(path)[0]
    return None


def _rectangles(item: Item) -> Iterator[tuple[float, float, float, float]]:
    for x0, y0, x1, y1 in item.boxes:
        yield float(x0), float(y0), float(x1), float(y1)
    for polygon in item.polygons:
        across, down = polygon[0::2], polygon[1::2]
        yield min(across), min(down), max(across), max(down)


def _fits(box: tuple[float, float, float, float], width: int, height: int) -> bool:
    x0, y0, x1, y1 = box
    return min(x0, y0) >= -_SLACK and x1 <= width + _SLACK and y1 <= height + _SLACK


def _inside(box: tuple[float, float, float, float], width: int, height: int) -> float:
    """Fraction of a box that lies in an image; a side of no length counts as one pixel."""
    x0, y0, x1, y1 = box
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    across, down = min(x1, width) - max(x0, 0), min(y1, height) - max(y0, 0)
    return max(across, 0) * max(down, 0) / ((x1 - x0) * (y1 - y0))
