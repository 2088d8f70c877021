"""Memory that scoring needs, estimated from shapes where nothing is compiled."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.models.checkpoints.sharding import is_split

# Copies of the resized pixels, and of a layer's input, that are alive at the same time.
_PIXEL_COPIES = 8
_STATE_COPIES = 8
_PIXELS_AT_ONCE = 2**24
# Programs compiled for TPUs need between half and 2.5 times the plain sum
# (benchmarks/RESULTS.md).
_CAUTION = 2
_FLOAT32, _BFLOAT16 = 4, 2


def weight_bytes(skeleton: Any, split_weights: int) -> int:
    """Bytes of the weights on each device.

    Args:
      skeleton: abstract modules.
      split_weights: number of devices that share one copy of the weights.
    """
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(skeleton):
        names = [str(getattr(key, "name", getattr(key, "key", ""))) for key in path]
        split = is_split(names, leaf.shape, skeleton.config, split_weights)
        total += math.prod(leaf.shape) * leaf.dtype.itemsize // (split_weights if split else 1)
    return total


def program_bytes(
    config: Any,
    image_plan: ImagePlan,
    rows: Int[np.ndarray, " t"],
    sets: int,
    split_weights: int,
    fused_attention: bool,
) -> float:
    """Upper estimate of the bytes that a batch needs on each device besides the weights.

    The stages (pixels, vision tower, decoder, head) follow each other, so the largest counts.

    Args:
      config: the model's configuration, with ``vision`` and ``decoder``.
      image_plan: the image.
      rows: sequence positions whose outputs are read.
      sets: number of masked images of a batch on one device.
      split_weights: number of devices that share one copy of the weights.
      fused_attention: True where attention does not write its scores to memory.
    """
    vision, decoder = config.vision, config.decoder
    side = image_plan.patch_size
    values = max(3 * math.prod(v.blocks) * (v.block * side) ** 2 for v in image_plan.views)
    values = max(values, math.prod(image_plan.image.shape))
    at_once = min(sets, max(1, _PIXELS_AT_ONCE // values))
    patches, length = math.prod(image_plan.grid), int(rows.max()) + 1
    stages = (
        at_once * values * _FLOAT32 * _PIXEL_COPIES,
        sets * _vision_values(vision, patches, fused_attention) * _BFLOAT16,
        sets * _decoder_values(decoder, length, split_weights, fused_attention) * _BFLOAT16,
        sets * len(rows) * decoder.vocabulary / split_weights * _FLOAT32 * 2,
    )
    return float(_CAUTION * (sets * patches * 3 * side**2 * _FLOAT32 + max(stages)))


def _vision_values(config: Any, patches: int, fused_attention: bool) -> float:
    # Float32 scores and bfloat16 weights of attention: three bfloat16 values each.
    scores = 0 if fused_attention else 3 * config.heads * patches * config.span(patches)
    return float(patches * (_STATE_COPIES * config.embed + 2 * config.mlp) + scores)


def _decoder_values(
    config: Any, length: int, split_weights: int, fused_attention: bool
) -> float:
    scores = 0 if fused_attention else 3 * config.heads * length**2 / split_weights
    return length * (_STATE_COPIES * config.embed + 2 * config.mlp / split_weights) + scores
