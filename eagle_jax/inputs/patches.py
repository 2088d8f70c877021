"""The published image processors, split into a plan on the host and pure device functions.

Regions are hidden in the source image, before the resize: each masked image is resized anew,
inside the scoring program.
"""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, UInt8

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import Frame, ImageSettings
from eagle_jax.inputs.partial_sums import PartialSums, horizontal_pass, partial_sums
from eagle_jax.inputs.resize import resize_last_axis, resize_weights

# Number of pixel values composed or resized at once, which bounds the memory of large images
# and of many tiles.
_CHUNK_VALUES = 2**24
_BLACK = np.zeros((1, 1, 3), np.uint8)

# An array on a device or on the host. Functions of JAX take both, which the stubs do not say.
if TYPE_CHECKING:
    AnyArray = Any
else:
    AnyArray = jax.Array | np.ndarray


# No run-time check of the fields, here and in `ImagePlan`: JAX builds the same classes with
# placeholders, shardings or axis numbers in place of arrays.
@jax.tree_util.register_dataclass
@no_type_check
@dataclass(frozen=True)
class View:
    """One resized and cropped copy of the image; `ImagePlan` holds one or two.

    Attributes:
      horizontal: weights of the resize, see `eagle_jax.inputs.resize.resize_weights`; None
        where the width does not change.
      vertical: weights of the resize; None where the height does not change.
      blocks: number of blocks of patches down and across. Patches are ordered block by block,
        and row by row within a block.
      block: number of patches on each side of a block. A block is a merged token (Qwen), the
        crop (LLaVA) or a tile (InternVL).
      partial: what each region contributes to the horizontal resize; None to compute it anew
        for each masked image.
    """

    horizontal: Float32[AnyArray, "2 x W"] | None
    vertical: Float32[AnyArray, "2 y H"] | None
    blocks: tuple[int, int] = field(metadata={"static": True})
    block: int = field(metadata={"static": True})
    partial: PartialSums | None = None


@jax.tree_util.register_dataclass
@no_type_check
@dataclass(frozen=True)
class ImagePlan:
    """An image with its regions, its fill and the weights of its resize; a pytree.

    Sides that are resized are padded with zeros to a multiple of 64, with weights of zero, so
    that one compiled program serves all images of a bucket. Other sides are not padded.

    Attributes:
      image: source pixels, padded.
      fill: pixels shown where regions are hidden; (3, 1, 1) for one colour.
      labels: region of each source pixel; 0 in the padding.
      views: views of the image, in the order of their patches.
      table: normalised value of each uint8 value of each channel.
      grid: number of patches down and across. Tiles of InternVL are stacked from top to
        bottom, the thumbnail last.
      patch_size: width and height of a patch, in pixels.
      merge_size: number of patches on each side of a merged visual token.
    """

    image: UInt8[AnyArray, "3 H W"]
    fill: UInt8[AnyArray, "3 H W"] | UInt8[AnyArray, "3 1 1"]
    labels: Int32[AnyArray, "H W"]
    views: tuple[View, ...]
    table: Float32[AnyArray, "3 256"]
    grid: tuple[int, int] = field(metadata={"static": True})
    patch_size: int = field(metadata={"static": True})
    merge_size: int = field(metadata={"static": True})

    @property
    def tokens(self) -> int:
        """Number of visual tokens that the model makes of the image."""
        return math.prod(self.grid) // self.merge_size**2


@checked
def plan_image(
    image: UInt8[np.ndarray, "H W 3"],
    labels: Int32[np.ndarray, "H W"],
    settings: ImageSettings,
    fill: UInt8[np.ndarray, "_ _ 3"] = _BLACK,
) -> ImagePlan:
    """Prepares one image and its regions for `masked_patches`.

    Args:
      image: uint8 (H, W, 3) source pixels.
      labels: int32 (H, W) region of each pixel, 0 to n - 1.
      settings: settings of the model's image processor.
      fill: uint8 (H, W, 3) pixels shown where regions are hidden, or (1, 1, 3) for one colour.

    Returns:
      The plan, in NumPy arrays; `jax.device_put` moves it to a device.

    Raises:
      InputError: the image would shrink more than 100 times on one side, beyond which the
        arithmetic is not exact; or one side is more than 200 times the other (Qwen).
    """
    height, width = image.shape[:2]
    frames = settings.frames(height, width)
    uniform = fill.shape[:2] == (1, 1)
    if frames[0].resized == (height, width) and len(frames) == 1:
        # Cropped but not resized: pixels outside the crop need not go to the device.
        (top, left), (height, width) = frames[0].origin, frames[0].shape
        image = image[top : top + height, left : left + width]
        labels = labels[top : top + height, left : left + width]
        if not uniform:
            fill = fill[top : top + height, left : left + width]
        frames = (frames[0]._replace(resized=(height, width), origin=(0, 0)),)
    views = tuple(_view(frame, height, width, settings.resample) for frame in frames)
    padding = [
        (0, max(0 if weights is None else weights.shape[2] - size for weights in sides))
        for size, sides in (
            (height, [view.vertical for view in views]),
            (width, [view.horizontal for view in views]),
        )
    ]
    fill_padding = [(0, 0), (0, 0)] if uniform else padding
    return ImagePlan(
        image=np.pad(image.transpose(2, 0, 1), [(0, 0), *padding]),
        fill=np.pad(fill.transpose(2, 0, 1), [(0, 0), *fill_padding]),
        labels=np.pad(labels, padding),
        views=views,
        table=_normalisation_table(settings),
        grid=settings.grid(frames),
        patch_size=settings.patch_size,
        merge_size=settings.merge_size,
    )


def with_partial_sums(plan: ImagePlan) -> ImagePlan:
    """The plan of an image that shrinks a lot, with what its regions contribute to its pixels.

    `masked_patches` then takes less time; image and regions must not be replaced any more.

    Args:
      plan: from `plan_image`, in NumPy arrays.
    """
    arrays = plan.image, plan.fill, plan.labels
    views = (
        replace(view, partial=partial_sums(*arrays, view.horizontal)) for view in plan.views
    )
    return replace(plan, views=tuple(views))


def _view(frame: Frame, height: int, width: int, resample: int) -> View:
    (top, left), (new_height, new_width) = frame.origin, frame.resized
    return View(
        horizontal=resize_weights(width, new_width, left, frame.shape[1], resample),
        vertical=resize_weights(height, new_height, top, frame.shape[0], resample),
        blocks=frame.blocks,
        block=frame.block,
    )


def _normalisation_table(settings: ImageSettings) -> np.ndarray:
    # The processors' roundings: scale in float64, the rest in float32.
    values = (np.arange(256, dtype=np.float64) * settings.rescale_factor).astype(np.float32)
    mean = np.asarray(settings.mean, np.float32)[:, None]
    return (values - mean) / np.asarray(settings.std, np.float32)[:, None]


@checked
def masked_patches(plan: ImagePlan, visible: Bool[Array, "b n"]) -> Float32[Array, "b p c"]:
    """Prepares masked images as the published processor would.

    Hidden pixels are those of the fill, in the source image, before resizing. To be called
    inside a jitted program, which is compiled for the plan's static fields and the shapes.

    Args:
      plan: from `plan_image`.
      visible: one row per masked image, True for a visible region; n may exceed the number of
        regions.

    Returns:
      Normalised patches of c = 3 * patch_size**2 values each, channel-major. Qwen: the patches
      of a merged token follow each other, with a single frame; the processor repeats the
      frame `temporal_patch_size` times, so models sum the patch kernel over time. LLaVA: the
      crop, row by row. InternVL: tile by tile, row by row within a tile, the thumbnail last.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    patches = [_view_patches(plan, view, visible) for view in plan.views]
    return jnp.concatenate(patches, axis=1)


@checked
def soft_patches(plan: ImagePlan, mask: Float[Array, "b n"]) -> Float32[Array, "b p c"]:
    """Prepares images whose regions are blended with the fill; differentiable in the mask.

    At masks of zeros and ones the patches are those of `masked_patches`. A resize rounds to
    whole pixel values, as the processor does; its gradient is that of the values before the
    rounding (straight-through).

    Args:
      plan: from `plan_image`; `Case.question.plan`.
      mask: soft mask, how visible each region is, from 0 (the fill) to 1 (the image); n may
        exceed the number of regions.

    Returns:
      Normalised patches, for `eagle_jax.log_score_patches`.
    """
    if not mask.shape[1]:
        raise InputError(f"mask has the shape {mask.shape}; it needs a column for each region")
    patches = [_soft_view(plan, view, mask) for view in plan.views]
    return jnp.concatenate(patches, axis=1)


def _soft_view(plan: ImagePlan, view: View, mask: Array) -> Array:
    mask = mask.astype(jnp.float32)
    if view.horizontal is None and view.vertical is None:
        pixels, labels = _own_patches(plan, view)
        share = mask[:, labels]
        patches = share * pixels + (1 - share) * _fill_patches(plan, view)
    else:
        share = mask[:, None, plan.labels]
        values = share * plan.image + (1 - share) * plan.fill
        patches = _patchify(_resized(plan, view, values), plan, view)
        black, white = plan.table[:, :1], plan.table[:, 255:]
        patches = black + patches * ((white - black) / 255)
    return patches.reshape(len(mask), math.prod(view.blocks) * view.block**2, -1)


def images_at_once(plan: ImagePlan) -> int:
    """Number of images of a plan's size that are prepared at once within bounded memory."""
    return min(_at_once(plan, view) for view in plan.views)


def _at_once(plan: ImagePlan, view: View) -> int:
    # A stack of plans has a leading axis, which does not count.
    source = plan.image if view.partial is None else view.partial.sums
    largest = max(math.prod(source.shape[-3:]), 3 * math.prod(_shape(plan, view)))
    return max(1, _CHUNK_VALUES // largest)


def _view_patches(plan: ImagePlan, view: View, visible: Array) -> Array:
    if view.horizontal is None and view.vertical is None:
        patches = _select_patches(plan, view, visible)
    else:
        at_once = _at_once(plan, view)
        if at_once >= len(visible):
            patches = _resize_patches(plan, view, visible)
        else:
            patches = jax.lax.map(
                lambda row: _resize_patches(plan, view, row[None])[0],
                visible,
                batch_size=at_once,
            )
    return patches.reshape(len(visible), math.prod(view.blocks) * view.block**2, -1)


def _shape(plan: ImagePlan, view: View) -> tuple[int, int]:
    side = _side(plan, view)
    return view.blocks[0] * side, view.blocks[1] * side


def _side(plan: ImagePlan, view: View) -> int:
    return view.block * plan.patch_size


def _select_patches(plan: ImagePlan, view: View, visible: Array) -> Array:
    pixels, labels = _own_patches(plan, view)
    return jnp.where(visible[:, labels], pixels, _fill_patches(plan, view))


def _own_patches(plan: ImagePlan, view: View) -> tuple[Array, Array]:
    """Normalised pixels and labels in patches: without a resize all sets share one lookup."""
    height, width = _shape(plan, view)
    pixels = _lookup(plan.table, _patchify(plan.image[:, :height, :width], plan, view))
    return pixels, _patchify(plan.labels[None, :height, :width], plan, view)


def _fill_patches(plan: ImagePlan, view: View) -> Array:
    """Normalised pixels of the fill, in patches or as one colour (3, 1)."""
    if plan.fill.shape[-2:] == (1, 1):
        return _lookup(plan.table, plan.fill[..., 0])
    height, width = _shape(plan, view)
    return _lookup(plan.table, _patchify(plan.fill[:, :height, :width], plan, view))


def _resize_patches(plan: ImagePlan, view: View, visible: Array) -> Array:
    if view.partial is None:
        seen = visible[:, None, plan.labels]
        values = jnp.where(seen, plan.image, plan.fill).astype(jnp.float32)
        values = _resized(plan, view, values)
    else:
        values = _vertical_pass(plan, view, horizontal_pass(view.partial, visible))
    return _lookup(plan.table, _patchify(values.astype(jnp.uint8), plan, view))


def _resized(plan: ImagePlan, view: View, values: Array) -> Array:
    # A side may be padded because another view resizes it.
    if view.horizontal is None:
        values = values[..., : _shape(plan, view)[1]]
    else:
        values = resize_last_axis(values, view.horizontal)
    return _vertical_pass(plan, view, values.swapaxes(2, 3))


def _vertical_pass(plan: ImagePlan, view: View, columns: Array) -> Array:
    """(b, c, x, H) -> (b, c, y, x)."""
    if view.vertical is None:
        columns = columns[..., : _shape(plan, view)[0]]
    else:
        columns = resize_last_axis(columns, view.vertical)
    return columns.swapaxes(2, 3)


def _patchify(values: Array, plan: ImagePlan, view: View) -> Array:
    """(..., c, height, width) -> (..., p, c, patch_size**2)."""
    (down, across), block, patch = view.blocks, view.block, plan.patch_size
    *batch, channels, height, _ = values.shape
    # Columns, rows and blocks one after the other: compilers for TPUs take ten times as long
    # over a single transposition of nine axes.
    values = values.reshape(-1, channels, height, across * block, patch)
    values = values.transpose(0, 3, 1, 2, 4)
    values = values.reshape(-1, across * block, channels, down * block, patch * patch)
    values = values.transpose(0, 3, 1, 2, 4)
    values = values.reshape(-1, down, block, across, block, channels, patch * patch)
    values = values.transpose(0, 1, 3, 2, 4, 5, 6)
    return values.reshape(*batch, down * across * block**2, channels, patch * patch)


def _lookup(table: Array, values: Array) -> Array:
    """Normalised (..., p, c, patch_size**2) of uint8 values."""
    *rest, channels, pixels = values.shape
    offsets = jnp.repeat(256 * jnp.arange(channels, dtype=jnp.int32), pixels)
    places = values.reshape(*rest, channels * pixels) + offsets
    return table.reshape(-1).at[places].get(mode="promise_in_bounds").reshape(values.shape)
