"""The horizontal pass of a resize as sums over regions, for images that shrink a lot.

A pixel of the pass is a weighted sum over a window of a source row, rounded. The window crosses
few regions, and what each of them contributes does not depend on the other regions: it is
computed once for an image. A masked image adds the contributions of its visible regions. So its
cost follows the size of the resized image, not that of the source. The sums are those of whole
numbers, which are exact in any order.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from eagle_jax.inputs.resize import WEIGHT_BITS, whole_weights

if TYPE_CHECKING:
    AnyArray = Any
else:
    AnyArray = jax.Array | np.ndarray

# Contributions that are stored for a window; where more regions meet, none are stored.
_MOST_PIECES = 8
# Pixels of a window in an image that shrinks to half its width.
_LEAST_TAPS = 8


# No run-time check of the fields, as in `eagle_jax.inputs.patches`.
@jax.tree_util.register_dataclass
@no_type_check
@dataclass(frozen=True)
class PartialSums:
    """What the regions of an image contribute to each pixel of the horizontal pass.

    A piece is a run of pixels of one region within a window; k is the largest number of pieces.

    Attributes:
      regions: region of each piece.
      sums: difference that it makes whether the piece is visible.
      hidden: sum of the whole window where nothing is visible.
    """

    regions: Int32[AnyArray, "k x H"]
    sums: Int32[AnyArray, "k 3 x H"]
    hidden: Int32[AnyArray, "3 x H"] | Int32[AnyArray, "3 x 1"]


def partial_sums(
    image: AnyArray, fill: AnyArray, labels: AnyArray, weights: AnyArray | None
) -> PartialSums | None:
    """The partial sums of an image, on the default device.

    Args:
      image: uint8 (3, H, W) source pixels, padded.
      fill: uint8 pixels of the same shape, or (3, 1, 1), shown where regions are hidden.
      labels: int32 (H, W) region of each pixel.
      weights: float32 (2, x, W), from `eagle_jax.inputs.resize.resize_weights`;
        None where the width does not change.

    Returns:
      The sums; None if they are not worth their memory, because the image hardly shrinks or
      many regions meet in a window.
    """
    if weights is None or labels.shape[1] < 2 * weights.shape[1]:
        return None
    used = np.any(weights != 0, axis=0)
    begin = used.argmax(axis=1)
    end = used.shape[1] - used[:, ::-1].argmax(axis=1)
    taps = int((end - begin).max())
    if taps < _LEAST_TAPS:
        return None
    # Number of the run of one region that a pixel belongs to, counted from the left.
    runs = np.zeros(labels.shape, np.int32)
    np.cumsum(labels[:, 1:] != labels[:, :-1], axis=1, out=runs[:, 1:])
    pieces = 1 + int((runs[:, end - 1] - runs[:, begin]).max())
    pieces = 2 ** max(1, (pieces - 1).bit_length())
    if pieces > _MOST_PIECES or pieces * len(begin) > labels.shape[1]:
        return None
    whole = np.abs(256.0 * weights[0] + weights[1]).sum(axis=1).max()
    if 255 * whole + 2**WEIGHT_BITS >= 2**31:
        return None
    # Few programs: their number of turns is rounded up.
    taps = -(-taps // 16) * 16
    return _computed(image, fill, labels, runs, weights, begin, pieces=pieces, taps=taps)


@functools.partial(jax.jit, static_argnames=("pieces", "taps"))
def _computed(image, fill, labels, runs, weights, begin, *, pieces: int, taps: int):
    # Columns first: a window then moves over whole rows of memory.
    image, fill = image.swapaxes(1, 2), fill.swapaxes(1, 2)
    labels, runs = labels.T, runs.T
    weights, last = whole_weights(weights), len(labels) - 1
    numbers = jnp.arange(pieces)[:, None, None]

    def add(tap, state):
        regions, sums, hidden = state
        source = jnp.minimum(begin + tap, last)
        inside = (begin + tap <= last)[:, None]
        weight = jnp.where(inside, weights[jnp.arange(len(begin)), source][:, None], 0)
        shown = image[:, source].astype(jnp.int32)
        masked = (fill if fill.shape[1] == 1 else fill[:, source]).astype(jnp.int32)
        here = runs[source] - runs[begin] == numbers
        sums += jnp.where(here[:, None], weight * (shown - masked), 0)
        return jnp.where(here, labels[source], regions), sums, hidden + weight * masked

    shape = len(begin), labels.shape[1]
    hidden = jnp.zeros((3, shape[0], fill.shape[2]), jnp.int32)
    state = (
        jnp.zeros((pieces, *shape), jnp.int32),
        jnp.zeros((pieces, 3, *shape), jnp.int32),
        hidden,
    )
    return PartialSums(*jax.lax.fori_loop(0, taps, add, state))


def horizontal_pass(
    partial: PartialSums, visible: Bool[Array, "b n"]
) -> Float32[Array, "b 3 x H"]:
    """The horizontal pass of masked images, rounded to whole numbers from 0 to 255.

    Args:
      partial: from `partial_sums`.
      visible: one row per masked image, True for a visible region.

    Returns:
      What `eagle_jax.inputs.resize.resize_last_axis` gives for the masked images, transposed.
    """
    seen = visible[:, partial.regions]
    total = partial.hidden + sum(
        jnp.where(seen[:, piece, None], sums, 0) for piece, sums in enumerate(partial.sums)
    )
    level = (total + 2 ** (WEIGHT_BITS - 1)) >> WEIGHT_BITS
    return jnp.clip(level, 0, 255).astype(jnp.float32)
