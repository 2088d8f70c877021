"""Between visual tokens or patches and the pixels of the picture they come from."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64, Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import Frame
from eagle_jax.inputs.pixel_budget import PixelBudget
from eagle_jax.scoring.case import Case

Array = np.ndarray | jax.Array
# Side of the square that the published code folds the last visual tokens into.
_FOLDED = 16


class Heat(NamedTuple):
    """What a method that looks into the network found.

    Attributes:
      heat: over the pixels; higher where the answer depends more on the image.
      forwards: passes of an image through the model.
      backwards: of these, how many the gradient was taken of.
    """

    heat: Float32[np.ndarray, "H W"]
    forwards: int
    backwards: int


def frames_of(case: Case) -> tuple[Frame, ...]:
    """The resized copies of its image that the model of a case sees."""
    return case.model.image_settings.frames(*case.image.shape[:2])


def shares(places: Float[np.ndarray, "k"], cells: int) -> Float64[np.ndarray, "k cells"]:
    """Bilinear interpolation along a row of cells, as a matrix.

    Args:
      places: from 0, where the first cell begins, to 1, where the last one ends.
      cells: their number.

    Returns:
      The share of each cell's value at each place; beyond the centre of the outer cells the
      outer cell's alone, and nothing outside.
    """
    centred = np.clip(places * cells - 0.5, 0, cells - 1)
    near = 1 - np.abs(centred[:, None] - np.arange(cells))
    inside = (places >= 0) & (places <= 1)
    return np.where(inside[:, None], np.maximum(near, 0), 0)


def centres(size: int) -> Float64[np.ndarray, "size"]:
    """Where the pixels of a side of an image are, from 0 to 1."""
    return (np.arange(size) + 0.5) / size


def stretched(
    values: Float[np.ndarray, "rows columns"], height: int, width: int
) -> Float32[np.ndarray, "_ _"]:
    """A coarse map of a whole image at the image's own size."""
    rows = shares(centres(height), values.shape[0])
    columns = shares(centres(width), values.shape[1])
    return (rows @ values @ columns.T).astype(np.float32)


def grids(
    frames: tuple[Frame, ...], values: Float[np.ndarray, " v"], cell: int
) -> list[Float[np.ndarray, "_ _"]]:
    """Values of patches or visual tokens as they lie in each frame.

    Args:
      frames: of the image.
      values: one per cell, in the model's order.
      cell: patches on one side of a cell: 1, or those of a visual token.
    """
    found = []
    for frame in frames:
        side = frame.block // cell
        rows, columns = (count * side for count in frame.blocks)
        own, values = np.split(values, [rows * columns])
        grid = own.reshape(*frame.blocks, side, side).swapaxes(1, 2)
        found.append(grid.reshape(rows, columns))
    return found


def painted(
    case: Case, values: Sequence[Float[np.ndarray, "_ _"]]
) -> Float32[np.ndarray, "H W"]:
    """Maps of a case's frames as one map over the pixels they were made of.

    Args:
      case: whose image they are of.
      values: of `grids`.

    Returns:
      The values at the cells' centres and bilinear between; the mean of an image that is seen
      twice, as tiles and as a thumbnail; 0 where a crop cuts off.
    """
    height, width = case.image.shape[:2]
    heat = np.zeros((height, width))
    for frame, grid in zip(frames_of(case), values, strict=True):
        rows, columns = _seen(frame, height, width)
        heat += shares(rows, grid.shape[0]) @ grid @ shares(columns, grid.shape[1]).T
    return (heat / len(values)).astype(np.float32)


def _seen(frame: Frame, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the image's rows and columns are in a frame, from 0 to 1 within it."""
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
    """Visual tokens in the grid that the published code takes them for.

    Args:
      case: whose image they are of.
      tokens: one value each.

    Returns:
      The true grid of a Qwen model; for the others the last 256 tokens as 16 x 16: the
      thumbnail of InternVL, and the lower part of LLaVA's image.

    Raises:
      InputError: there are fewer than 256.
    """
    settings = case.model.image_settings
    if isinstance(settings, PixelBudget):
        return grids(frames_of(case), tokens, settings.merge_size)[0]
    if tokens.size < _FOLDED**2:
        raise InputError(
            f"the published code folds the last {_FOLDED**2} visual tokens, and this model "
            f'makes {tokens.size} of the image: take the variant "paper"'
        )
    return tokens[-(_FOLDED**2) :].reshape(_FOLDED, _FOLDED)


def in_patches(frame: Frame, values: Float[Array, "y x"]) -> Float[Array, "p area"]:
    """A map over the pixels of a frame, patch by patch in the model's order."""
    (down, across), block, patch = frame.blocks, frame.block, frame.patch_size
    values = values.reshape(down, block, patch, across, block, patch)
    return values.transpose(0, 3, 1, 4, 2, 5).reshape(-1, patch * patch)


def from_patches(frame: Frame, patches: Float[Array, "p area"]) -> Float[Array, "y x"]:
    """The map that `in_patches` takes apart."""
    (down, across), block, patch = frame.blocks, frame.block, frame.patch_size
    values = patches.reshape(down, across, block, block, patch, patch)
    return values.transpose(0, 2, 4, 1, 3, 5).reshape(frame.shape)


def pooled(
    labels: Int32[np.ndarray, "H W"], heat: Float32[np.ndarray, "H W"]
) -> Float64[np.ndarray, "n"]:
    """The mean of a map over each region."""
    pixels = np.bincount(labels.ravel())
    return np.bincount(labels.ravel(), weights=heat.ravel().astype(np.float64)) / pixels
