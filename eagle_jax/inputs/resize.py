"""Pillow's resize as matrices, exact to the last bit.

Pillow (up to version 12) resizes with integer weights, horizontally first, and rounds to uint8
after each pass. (Pillow 13 swapped the passes for some sizes.) Each pass is a banded matrix of
weights; a crop or a tile takes some of its rows. The weights are data, so one compiled program
serves all sizes that are padded to the same length.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32

from eagle_jax.errors import InputError

# Pillow's fixed-point weights have 22 fractional bits. The low 8 bits are kept apart, so that
# products with uint8 pixels and their sums stay below 2**24 and float32 matmuls are exact.
WEIGHT_BITS = 22
_LOW_BITS = 8
_BUCKET = 64
_TILES, _MIN_TILE = 8, 32


def resize_weights(
    size: int, new_size: int, first: int, count: int, resample: int = 3
) -> Float32[np.ndarray, "2 count padded"] | None:
    """Weights of one of Pillow's filters along one side.

    Args:
      size: length of the side, in pixels.
      new_size: length of the resized side, in pixels.
      first: first pixel of the resized side that is kept; 0 without a crop.
      count: number of pixels of the resized side that are kept.
      resample: Pillow's number of the filter: 2 for bilinear, 3 for bicubic.

    Returns:
      High and low parts of the integer weights, whose columns are padded with zeros to a
      multiple of 64; None if the side is neither resized nor cropped.

    Raises:
      InputError: the side shrinks too much for exact arithmetic (about 100 times).
    """
    if size == new_size == count:
        return None
    scale = size / new_size
    stretch = max(scale, 1.0)
    filter_weights, reach = _FILTERS[resample]
    support = reach * stretch
    centre = (np.arange(first, first + count) + 0.5) * scale
    # Pillow truncates towards zero; both sums are non-negative once clipped.
    begin = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + support + 0.5).astype(np.int64), size)
    # The taps are added one by one, because the order of a float64 sum decides its last bit.
    taps = []
    total = np.zeros(count)
    for tap in range(int((end - begin).max())):
        source = begin + tap
        weight = filter_weights((source - centre + 0.5) * (1.0 / stretch))
        taps.append(np.where(source < end, weight, 0.0))
        total += taps[-1]
    integers = np.zeros((count, -(-size // _BUCKET) * _BUCKET), np.int64)
    for tap, weight in enumerate(taps):
        scaled = weight / total * 2**WEIGHT_BITS
        inside = begin + tap < end
        integers[np.flatnonzero(inside), (begin + tap)[inside]] = np.trunc(
            scaled + np.copysign(0.5, scaled)
        )[inside]
    high = (integers + 2 ** (_LOW_BITS - 1)) >> _LOW_BITS
    halves = np.stack([high, integers - (high << _LOW_BITS)])
    if 255 * np.abs(halves).sum(axis=2).max() >= 2**24 - 2**17:
        raise InputError(
            f"the image would shrink from {size} to {new_size} pixels on one side; use a "
            "smaller image"
        )
    return halves.astype(np.float32)


def whole_weights(weights: Float32[Array, "2 count padded"]) -> Int32[Array, "count padded"]:
    """The integer weights of which `resize_weights` gives high and low parts."""
    high, low = weights.astype(jnp.int32)
    return (high << _LOW_BITS) + low


def _bicubic(x: np.ndarray) -> np.ndarray:
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1.0 - np.abs(x), 0.0)


# Pillow's number of a filter, and how many pixels the filter reaches on each side.
_FILTERS = {2: (_bilinear, 1.0), 3: (_bicubic, 2.0)}


def resize_last_axis(
    values: Float32[Array, "b c y padded"], weights: Float32[Array, "2 count padded"]
) -> Float32[Array, "b c y count"]:
    """One pass of the resize, rounded to whole numbers from 0 to 255.

    The gradient is the gradient of the weighted sum, as if nothing were rounded.

    Args:
      values: pixels from 0 to 255; the result is exact for whole numbers.
      weights: weights from `resize_weights`.

    Returns:
      The result of Pillow's pass, as float32.
    """
    # The weights form a band. Cutting it into a few tiles of rows skips most of the zeros (4
    # times faster from 640 to 644), and each tile stays a plain matmul. The tiles are a loop,
    # because compilers take seconds for each matmul.
    count, padded = weights.shape[1:]
    # An upper bound of the scale: padding lengthens the source, and a crop shortens the rows.
    scale = padded / count
    tile = min(count, max(_MIN_TILE, -(-count // _TILES)))
    window = min(padded, math.ceil(tile * scale + 4 * max(1.0, scale)) + 2)

    def fill(i, resized):
        # A slice that would reach beyond the end is moved, so the last tile repeats columns.
        band = jax.lax.dynamic_slice_in_dim(weights, i * tile, tile, axis=1)
        start = jnp.argmax(jnp.any(band != 0, axis=(0, 1)))
        source, band = (
            jax.lax.dynamic_slice_in_dim(array, start, window, axis=-1)
            for array in (values, band)
        )
        columns = _weigh(source, band)
        return jax.lax.dynamic_update_slice_in_dim(resized, columns, i * tile, axis=-1)

    output = jnp.empty((*values.shape[:-1], count), jnp.float32)
    return jax.lax.fori_loop(0, -(-count // tile), fill, output)


@jax.custom_jvp
def _round_down(x: Array) -> Array:
    """The floor of x, with the gradient of x (a straight-through estimator)."""
    return jnp.floor(x)


_round_down.defjvps(lambda change, rounded, x: change)


def _weigh(values: Array, halves: Array) -> Array:
    high, low = (
        jnp.einsum("bcyx,wx->bcyw", values, half, precision=jax.lax.Precision.HIGHEST)
        for half in halves
    )
    # Fixed-point rounding, (high * 256 + low + 2**21) >> 22, kept to exact float32 integers.
    half_unit = 2.0 ** (WEIGHT_BITS - _LOW_BITS - 1)
    total = high + _round_down(low * 2.0**-_LOW_BITS) + half_unit
    level = _round_down(total * 2.0 ** (_LOW_BITS - WEIGHT_BITS))
    # `clip` would halve the gradient of black and white pixels, which lie on the bounds.
    return jnp.where(level < 0, 0.0, jnp.where(level > 255, 255.0, level))
