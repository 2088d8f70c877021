"""Which parts of an image a model sees, and at which size: the geometry of its processor."""

import math
from typing import NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import ImageSettings


class Frame(NamedTuple):
    """One resized copy of the image, cropped and cut into blocks of patches.

    Attributes:
      resized: height and width the whole image is resized to.
      origin: top and left of the part that is kept.
      blocks: square blocks of patches down and across in that part. Patches are ordered
        block by block and, within a block, row by row.
      block: patches on one side of a block.
      patch_size: pixels on one side of a patch.
    """

    resized: tuple[int, int]
    origin: tuple[int, int]
    blocks: tuple[int, int]
    block: int
    patch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the part that is kept."""
        side = self.block * self.patch_size
        return self.blocks[0] * side, self.blocks[1] * side


def frame_image(height: int, width: int, settings: ImageSettings) -> tuple[Frame, ...]:
    """Decides how an image is resized and cut, as its processor in transformers does.

    Args:
      height: of the source image, in pixels.
      width: of the source image, in pixels.
      settings: of the model's image processor.

    Returns:
      One frame; for an image in several tiles a second one, the thumbnail.

    Raises:
      InputError: a Qwen model is given an image more than 200 times as long as wide.
    """
    if settings.kind == "crop":
        return (_crop(height, width, settings),)
    if settings.kind == "tiles":
        return _tiles(height, width, settings)
    return (_pixel_budget(height, width, settings),)


def _pixel_budget(height: int, width: int, settings: ImageSettings) -> Frame:
    if max(height, width) > 200 * min(height, width):
        raise InputError(
            f"the image is {width} x {height} pixels: the model accepts no image more than "
            "200 times as long as wide"
        )
    unit = settings.patch_size * settings.merge_size
    # Python's round, halves to even, as the published processor uses.
    down, across = round(height / unit), round(width / unit)
    if down * across * unit**2 > settings.max_pixels:
        shrink = math.sqrt(height * width / settings.max_pixels)
        down = max(1, math.floor(height / shrink / unit))
        across = max(1, math.floor(width / shrink / unit))
    elif down * across * unit**2 < settings.min_pixels:
        grow = math.sqrt(settings.min_pixels / (height * width))
        down = math.ceil(height * grow / unit)
        across = math.ceil(width * grow / unit)
    # The patches of one merged token come one after the other.
    return Frame(
        (down * unit, across * unit),
        (0, 0),
        (down, across),
        settings.merge_size,
        settings.patch_size,
    )


def _crop(height: int, width: int, settings: ImageSettings) -> Frame:
    short, long = sorted((height, width))
    stretched = int(settings.shortest_edge * long / short)
    new_height, new_width = settings.shortest_edge, stretched
    if height > width:
        new_height, new_width = new_width, new_height
    origin = (new_height - settings.side) // 2, (new_width - settings.side) // 2
    block = settings.side // settings.patch_size
    return Frame((new_height, new_width), origin, (1, 1), block, settings.patch_size)


def _tiles(height: int, width: int, settings: ImageSettings) -> tuple[Frame, ...]:
    def frame(rows: int, columns: int) -> Frame:
        block = settings.side // settings.patch_size
        resized = (rows * settings.side, columns * settings.side)
        return Frame(resized, (0, 0), (rows, columns), block, settings.patch_size)

    rows, columns = _tile_grid(height, width, settings)
    if rows * columns == 1:
        return (frame(1, 1),)
    return frame(rows, columns), frame(1, 1)


def _tile_grid(height: int, width: int, settings: ImageSettings) -> tuple[int, int]:
    most = settings.max_tiles
    grids = [
        (rows, columns)
        for columns in range(1, most + 1)
        for rows in range(1, most // columns + 1)
        if rows * columns >= settings.min_tiles
    ]
    # Few tiles first; the sort is stable, so narrow grids come before wide ones.
    grids.sort(key=math.prod)
    difference = [abs(width / height - columns / rows) for rows, columns in grids]
    best = min(difference)
    nearest = [grid for grid, d in zip(grids, difference, strict=True) if d == best]
    # Among grids equally near in aspect ratio, a later one is taken while its pixels are fewer
    # than twice the image's.
    affordable = [
        grid
        for grid in nearest[1:]
        if height * width > 0.5 * settings.side**2 * math.prod(grid)
    ]
    return (affordable or nearest[:1])[-1]
