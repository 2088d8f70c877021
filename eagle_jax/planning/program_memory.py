"""How much memory scoring needs, estimated from shapes where nothing is compiled."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.models.checkpoints.sharding import is_split

# Copies of the resized pixels, and of a layer's input, that live at one time.
_PIXEL_COPIES = 8
_STATE_COPIES = 8
_PIXELS_AT_ONCE = 2**24
# Programs compiled for TPUs need between half and 2.5 times the plain sum; see
# benchmarks/RESULTS.md.
_CAUTION = 2
_FLOAT32, _BFLOAT16 = 4, 2


def weight_bytes(skeleton: Any, parts: int) -> int:
    """Bytes of the weights on each device.

    Args:
      skeleton: abstract modules.
      parts: devices along "model".
    """
    total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(skeleton):
        names = [str(getattr(key, "name", getattr(key, "key", ""))) for key in path]
        split = is_split(names, leaf.shape, skeleton.config, parts)
        total += math.prod(leaf.shape) * leaf.dtype.itemsize // (parts if split else 1)
    return total


def program_bytes(
    config: Any,
    plan: ImagePlan,
    rows: Int[np.ndarray, " t"],
    masks: int,
    parts: int,
    fused_attention: bool,
) -> float:
    """Bytes that a forward needs on each device besides the weights, usually too many.

    The stages (pixels, vision tower, decoder, head) follow each other, so the largest counts.

    Args:
      config: of the model, with its ``vision`` and ``decoder``.
      plan: the image.
      rows: sequence positions whose outputs are read.
      masks: masked images of one forward on one device.
      parts: devices along "model".
      fused_attention: attention that does not write its scores to memory.
    """
    vision, decoder = config.vision, config.decoder
    side = plan.patch_size
    values = max(3 * math.prod(v.blocks) * (v.block * side) ** 2 for v in plan.views)
    values = max(values, math.prod(plan.image.shape))
    at_once = min(masks, max(1, _PIXELS_AT_ONCE // values))
    patches, length = math.prod(plan.grid), int(rows.max()) + 1
    stages = (
        at_once * values * _FLOAT32 * _PIXEL_COPIES,
        masks * _vision_values(vision, patches, fused_attention) * _BFLOAT16,
        masks * _decoder_values(decoder, length, parts, fused_attention) * _BFLOAT16,
        masks * len(rows) * decoder.vocabulary / parts * _FLOAT32 * 2,
    )
    return float(_CAUTION * (masks * patches * 3 * side**2 * _FLOAT32 + max(stages)))


def _vision_values(config: Any, patches: int, fused_attention: bool) -> float:
    # Float32 scores and bfloat16 shares: three bfloat16 values each.
    scores = 0 if fused_attention else 3 * config.heads * patches * config.span(patches)
    return float(patches * (_STATE_COPIES * config.embed + 2 * config.mlp) + scores)


def _decoder_values(config: Any, length: int, parts: int, fused_attention: bool) -> float:
    scores = 0 if fused_attention else 3 * config.heads * length**2 / parts
    return length * (_STATE_COPIES * config.embed + 2 * config.mlp / parts) + scores
