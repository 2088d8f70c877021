"""Maps over visual tokens or patches as maps over the pixels of the image, and back."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64

from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import Frame
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.scoring.case import Case

Array = np.ndarray | jax.Array
# Side of the square grid that the published code makes of the last visual tokens.
_SQUARE = 16


class Heat(NamedTuple):
    """The result of a method that needs the network.

    Attributes:
      heat: map over the pixels; higher where the answer depends more on the image.
      forwards: number of forward passes of one image each.
      backwards: number of backward passes of one image each.
    """

    heat: Float32[np.ndarray, "H W"]
    forwards: int
    backwards: int


def frames_of(case: Case) -> tuple[Frame, ...]:
    """The resized copies of a case's image that the model reads."""
    return case.model.image_settings.frames(*case.image.shape[:2])


def bilinear(places: Float[np.ndarray, "k"], cells: int) -> Float64[np.ndarray, "k cells"]:
    """Bilinear interpolation along a row of cells, as a matrix.

    Args:
      places: places from 0, where the first cell begins, to 1, where the last cell ends.
      cells: number of cells.

    Returns:
      The weight of each cell at each place. Beyond the centre of the first or last cell the
      weight of this cell is 1; outside the row all weights are 0.
    """
    centred = np.clip(places * cells - 0.5, 0, cells - 1)
    near = 1 - np.abs(centred[:, None] - np.arange(cells))
    inside = (places >= 0) & (places <= 1)
    return np.where(inside[:, None], np.maximum(near, 0), 0)


def centres(size: int) -> Float64[np.ndarray, "size"]:
    """Places of the pixel centres along one side of an image, from 0 to 1."""
    return (np.arange(size) + 0.5) / size


def stretched(
    values: Float[np.ndarray, "rows columns"], height: int, width: int
) -> Float32[np.ndarray, "_ _"]:
    """A coarse map of a whole image, interpolated to the size of the image."""
    rows = bilinear(centres(height), values.shape[0])
    columns = bilinear(centres(width), values.shape[1])
    return (rows @ values @ columns.T).astype(np.float32)


def grids(
    frames: tuple[Frame, ...], values: Float[np.ndarray, " v"], cell: int
) -> list[Float[np.ndarray, "_ _"]]:
    """Values of patches or visual tokens, as a grid for each frame.

    Args:
      frames: resized copies of the image.
      values: one value per cell, in the model's order.
      cell: number of patches on each side of a cell: 1, or that of a visual token.
    """
    by_frame = []
    for frame in frames:
        side = frame.block // cell
        rows, columns = (count * side for count in frame.blocks)
        here, values = np.split(values, [rows * columns])
        grid = here.reshape(*frame.blocks, side, side).swapaxes(1, 2)
        by_frame.append(grid.reshape(rows, columns))
    return by_frame


def painted(
    case: Case, values: Sequence[Float[np.ndarray, "_ _"]]
) -> Float32[np.ndarray, "H W"]:
    """Maps of a case's frames as one map over the pixels of its image.

    Args:
      case: the case to explain.
      values: a grid for each frame, see `grids`.

    Returns:
      The values at the centres of the cells, bilinear between. For an image that is read twice,
      as tiles and as a thumbnail, the mean of both maps; 0 where the image is cropped.
    """
    height, width = case.image.shape[:2]
    heat = np.zeros((height, width))
    for frame, grid in zip(frames_of(case), values, strict=True):
        rows, columns = _seen(frame, height, width)
        heat += bilinear(rows, grid.shape[0]) @ grid @ bilinear(columns, grid.shape[1]).T
    return (heat / len(values)).astype(np.float32)


def _seen(frame: Frame, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the image's rows and columns in a frame, from 0 to 1 inside it."""
    rows, columns = (
        (centres(size) * resized - origin) / shape
        for size, resized, origin, shape in zip(
            (height, width), frame.resized, frame.origin, frame.shape, strict=True
        )
    )
    return rows, columns


def as_published(
    case: Case, tokens: Float[np.ndarray, " v"]
) -> Float[np.ndarray, "rows columns"]:
    """Visual tokens in the grid that the published code assumes.

    Args:
      case: the case to explain.
      tokens: one value per visual token.

    Returns:
      The true grid for Qwen models; for other models the last 256 tokens as 16 x 16, which are
      the thumbnail of InternVL and the lower part of LLaVA's image.

    Raises:
      InputError: there are fewer than 256 visual tokens.
    """
    settings = case.model.image_settings
    if isinstance(settings, PixelBudget):
        return grids(frames_of(case), tokens, settings.merge_size)[0]
    if tokens.size < _SQUARE**2:
        raise InputError(
            f"the published code uses the last {_SQUARE**2} visual tokens, and this model "
            f'makes {tokens.size} of the image; set variant to "paper"'
        )
    return tokens[-(_SQUARE**2) :].reshape(_SQUARE, _SQUARE)


def in_patches(frame: Frame, values: Float[Array, "y x"]) -> Float[Array, "p area"]:
    """A map over the pixels of a frame, patch by patch in the model's order."""
    (down, across), block, patch = frame.blocks, frame.block, frame.patch_size
    values = values.reshape(down, block, patch, across, block, patch)
    return values.transpose(0, 3, 1, 4, 2, 5).reshape(-1, patch * patch)


def from_patches(frame: Frame, patches: Float[Array, "p area"]) -> Float[Array, "y x"]:
    """The inverse of `in_patches`."""
    (down, across), block, patch = frame.blocks, frame.block, frame.patch_size
    values = patches.reshape(down, across, block, block, patch, patch)
    return values.transpose(0, 2, 4, 1, 3, 5).reshape(frame.shape)
