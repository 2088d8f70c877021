"""The published image processor, split into a host-side plan and a pure device function.

Masks apply to the source image before the resize, so the resize runs once per mask and belongs
inside the scoring program. It reproduces Pillow's bicubic filter bit for bit: integer weights,
horizontal pass first, a round to uint8 after each pass (Pillow up to version 12; Pillow 13
swapped the passes for some sizes).
"""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.image_settings import ImageSettings

# Pillow's fixed-point weights have 22 fractional bits. The low 8 bits are kept apart, so that
# products with uint8 pixels and their sums stay below 2**24 and float32 matmuls are exact.
_WEIGHT_BITS = 22
_LOW_BITS = 8
_BUCKET = 64
_TILES, _MIN_TILE = 8, 32
# Source values composed at once; bounds the memory of large images to a few of these.
_CHUNK_VALUES = 2**24


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ImagePlan:
    """One image on its way to the device, with everything its resize needs.

    Sides that are resized are zero-padded to a multiple of 64, where the weights are zero, so
    that one compiled program serves all images of a bucket. The other sides are exact.

    Attributes:
      image: uint8 (3, H, W), source pixels, padded.
      labels: int32 (H, W), region of each source pixel; 0 in the padding.
      horizontal: float32 (2, resized width, W), high and low parts of Pillow's integer
        weights; None when the width stays.
      vertical: float32 (2, resized height, H); None when the height stays.
      table: float32 (3, 256), normalised value of each uint8 value of each channel.
      grid: patches down and across.
      patch_size: pixels of one patch side.
      merge_size: patches on one side of a merged visual token.
    """

    # Any: JAX also rebuilds plans that hold placeholders, shardings or axis numbers.
    image: Any
    labels: Any
    horizontal: Any
    vertical: Any
    table: Any
    grid: tuple[int, int] = field(metadata={"static": True})
    patch_size: int = field(metadata={"static": True})
    merge_size: int = field(metadata={"static": True})


def plan_image(
    image: UInt8[np.ndarray, "H W 3"], labels: Int32[np.ndarray, "H W"], settings: ImageSettings
) -> ImagePlan:
    """Prepares one image and its regions for `masked_patches`.

    Args:
      image: uint8 (H, W, 3) source pixels.
      labels: int32 (H, W) region of each pixel, 0 to n - 1.
      settings: of the model's image processor.

    Returns:
      The plan, with NumPy arrays; `jax.device_put` moves it.

    Raises:
      InputError: one side of the image is more than 200 times as long as the other, or has to
        shrink beyond what exact arithmetic allows (more than 100 times).
    """
    height, width = image.shape[:2]
    new_height, new_width = _resized_shape(height, width, settings)
    horizontal = _resize_weights(width, new_width)
    vertical = _resize_weights(height, new_height)
    padding = [
        (0, 0) if weights is None else (0, weights.shape[2] - side)
        for weights, side in ((vertical, height), (horizontal, width))
    ]
    return ImagePlan(
        image=np.pad(image.transpose(2, 0, 1), [(0, 0), *padding]),
        labels=np.pad(labels, padding),
        horizontal=horizontal,
        vertical=vertical,
        table=_normalisation_table(settings),
        grid=(new_height // settings.patch_size, new_width // settings.patch_size),
        patch_size=settings.patch_size,
        merge_size=settings.merge_size,
    )


def _resized_shape(height: int, width: int, settings: ImageSettings) -> tuple[int, int]:
    if max(height, width) > 200 * min(height, width):
        raise InputError(
            f"the image is {width} x {height} pixels: the model accepts no image more than "
            "200 times as long as wide"
        )
    unit = settings.patch_size * settings.merge_size
    # Python's round, halves to even, as the published processor uses.
    new_height, new_width = round(height / unit) * unit, round(width / unit) * unit
    if new_height * new_width > settings.max_pixels:
        shrink = math.sqrt(height * width / settings.max_pixels)
        new_height = max(unit, math.floor(height / shrink / unit) * unit)
        new_width = max(unit, math.floor(width / shrink / unit) * unit)
    elif new_height * new_width < settings.min_pixels:
        grow = math.sqrt(settings.min_pixels / (height * width))
        new_height = math.ceil(height * grow / unit) * unit
        new_width = math.ceil(width * grow / unit) * unit
    return new_height, new_width


def _normalisation_table(settings: ImageSettings) -> np.ndarray:
    # The processor's roundings in its order: scale in float64, the rest in float32.
    values = (np.arange(256, dtype=np.float64) * settings.rescale_factor).astype(np.float32)
    mean = np.asarray(settings.mean, np.float32)[:, None]
    return (values - mean) / np.asarray(settings.std, np.float32)[:, None]


def _resize_weights(size: int, new_size: int) -> np.ndarray | None:
    if size == new_size:
        return None
    scale = size / new_size
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    centre = (np.arange(new_size) + 0.5) * scale
    # Pillow truncates towards zero; both sums are non-negative once clipped.
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    # One tap after the other, because the order of a float64 sum decides its last bit.
    taps = []
    total = np.zeros(new_size)
    for tap in range(int((last - first).max())):
        source = first + tap
        weight = _bicubic((source - centre + 0.5) * (1.0 / stretch))
        taps.append(np.where(source < last, weight, 0.0))
        total += taps[-1]
    integers = np.zeros((new_size, -(-size // _BUCKET) * _BUCKET), np.int64)
    for tap, weight in enumerate(taps):
        scaled = weight / total * 2**_WEIGHT_BITS
        inside = first + tap < last
        integers[np.flatnonzero(inside), (first + tap)[inside]] = np.trunc(
            scaled + np.copysign(0.5, scaled)
        )[inside]
    high = (integers + 2 ** (_LOW_BITS - 1)) >> _LOW_BITS
    halves = np.stack([high, integers - (high << _LOW_BITS)])
    if 255 * np.abs(halves).sum(axis=2).max() >= 2**24 - 2**17:
        raise InputError(
            f"the image would shrink from {size} to {new_size} pixels on one side: make it "
            "smaller first"
        )
    return halves.astype(np.float32)


def _bicubic(x: np.ndarray) -> np.ndarray:
    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def masked_patches(plan: ImagePlan, visible: Bool[Array, "b n"]) -> Float32[Array, "b p e"]:
    """Hides regions of an image and prepares what remains as the published processor would.

    Hidden pixels are black (0) in the source image, before resizing. To be called inside a
    jitted program; nothing but the plan's static part and the shapes decides what is compiled.

    Args:
      plan: from `plan_image`.
      visible: which regions can be seen, for each mask; n may exceed the number of regions.

    Returns:
      Normalised patches in the processor's order (merged tokens contiguous), one frame each:
      e = 3 * patch_size**2, channel-major. The processor repeats this frame
      `temporal_patch_size` times, so a model sums its patch kernel over time.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    if plan.horizontal is None and plan.vertical is None:
        patches = _select_patches(plan, visible)
    else:
        at_once = max(1, _CHUNK_VALUES // math.prod(plan.image.shape))
        if at_once >= len(visible):
            patches = _resize_patches(plan, visible)
        else:
            patches = jax.lax.map(
                lambda one: _resize_patches(plan, one[None])[0], visible, batch_size=at_once
            )
    return patches.reshape(len(visible), plan.grid[0] * plan.grid[1], -1)


def _select_patches(plan: ImagePlan, visible: Array) -> Array:
    # Without a resize a pixel depends on its own region only: all masks share one lookup.
    pixels = _lookup(plan.table, _patchify(plan.image, plan))
    seen = visible[:, _patchify(plan.labels[None], plan)]
    return jnp.where(seen, pixels, plan.table[:, :1])


def _resize_patches(plan: ImagePlan, visible: Array) -> Array:
    seen = visible[:, None, plan.labels]
    values = jnp.where(seen, plan.image, 0).astype(jnp.float32)
    if plan.horizontal is not None:
        values = _resize_last(values, plan.horizontal)
    if plan.vertical is not None:
        values = _resize_last(values.swapaxes(2, 3), plan.vertical).swapaxes(2, 3)
    return _lookup(plan.table, _patchify(values.astype(jnp.uint8), plan))


def _resize_last(values: Array, halves: Array) -> Array:
    # The weights are a band. Cut into a few column tiles, most of the zeros drop out (4 times
    # faster from 640 to 644), and each tile remains a plain matmul.
    new_size, padded = halves.shape[1:]
    tile = max(_MIN_TILE, -(-new_size // _TILES))
    window = min(padded, math.ceil((tile + 4) * max(1.0, padded / new_size)) + 2)
    tiles = []
    for first in range(0, new_size, tile):
        weights = halves[:, first : first + tile]
        start = jnp.argmax(jnp.any(weights != 0, axis=(0, 1)))
        source, weights = (
            jax.lax.dynamic_slice_in_dim(array, start, window, axis=-1)
            for array in (values, weights)
        )
        tiles.append(_weigh(source, weights))
    return jnp.concatenate(tiles, axis=-1)


def _weigh(values: Array, halves: Array) -> Array:
    high, low = (
        jnp.einsum("bcyx,wx->bcyw", values, half, precision=jax.lax.Precision.HIGHEST)
        for half in halves
    )
    # Fixed-point rounding, (high * 256 + low + 2**21) >> 22, kept to exact float32 integers.
    half_unit = 2.0 ** (_WEIGHT_BITS - _LOW_BITS - 1)
    total = high + jnp.floor(low * 2.0**-_LOW_BITS) + half_unit
    return jnp.clip(jnp.floor(total * 2.0 ** (_LOW_BITS - _WEIGHT_BITS)), 0.0, 255.0)


def _patchify(values: Array, plan: ImagePlan) -> Array:
    """(..., c, H, W) -> (..., p, c, patch_size**2)."""
    down, across = (count // plan.merge_size for count in plan.grid)
    merge, patch = plan.merge_size, plan.patch_size
    *batch, channels, _, _ = values.shape
    blocks = values.reshape(*batch, channels, down, merge, patch, across, merge, patch)
    axes = (1, 4, 2, 5, 0, 3, 6)
    blocks = blocks.transpose(*range(len(batch)), *(len(batch) + axis for axis in axes))
    return blocks.reshape(*batch, plan.grid[0] * plan.grid[1], channels, patch * patch)


def _lookup(table: Array, values: Array) -> Array:
    offsets = 256 * jnp.arange(3, dtype=jnp.int32)[:, None]
    return table.reshape(-1).at[values + offsets].get(mode="promise_in_bounds")
