"""Qwen2.5-VL: its configuration, and the key map of its checkpoints."""

import dataclasses
from typing import Any

from eagle_jax.models.checkpoints.hugging_face import require
from eagle_jax.models.families.qwen_vl import qwen2_family, vision_config
from eagle_jax.models.layers.qwen_layout import VisionConfig

_FAMILY = "qwen2_5_vl"


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    window, full = (
        vision.get("window_size", 112),
        vision.get("fullatt_block_indexes", (7, 15, 23, 31)),
    )
    tower = vision_config(
        vision,
        _FAMILY,
        patch=14,
        activation="silu",
        gated=True,
        embed=vision["hidden_size"],
        mlp=vision["intermediate_size"],
        full_layers=tuple(i for i in range(vision["depth"]) if i in full),
        output=vision["out_hidden_size"],
    )
    side = tower.patch * tower.merge
    require(window >= side, f"window_size {window} with tokens of {side} pixels", _FAMILY)
    return dataclasses.replace(tower, window=window // side)


_VISION_LAYER = {
    "norm1": "attention_norm",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm",
    "mlp.gate_proj": "mlp.gate+",
    "mlp.up_proj": "mlp.up+",
    "mlp.down_proj": "mlp.down+",
}
_MERGER = {"ln_q": "norm", "mlp.0": "inner+", "mlp.2": "outer+"}

FAMILY = qwen2_family(_FAMILY, _vision_config, _VISION_LAYER, _MERGER)
