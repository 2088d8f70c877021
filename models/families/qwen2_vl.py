"""Qwen2-VL: its configuration, and the key map of its checkpoints."""

from typing import Any

from eagle_jax.models.families.qwen_vl import qwen2_family, vision_config
from eagle_jax.models.layers.qwen_layout import VisionConfig

_FAMILY = "qwen2_vl"


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    embed = vision["embed_dim"]
    return vision_config(
        vision,
        _FAMILY,
        patch=14,
        activation="quick_gelu",
        embed=embed,
        mlp=int(embed * vision.get("mlp_ratio", 4)),
        full_layers=tuple(range(vision["depth"])),
        output=vision["hidden_size"],
    )


_VISION_LAYER = {
    "norm1": "attention_norm+",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm+",
    "mlp.fc1": "mlp.up+",
    "mlp.fc2": "mlp.down+",
}
_MERGER = {"ln_q": "norm+", "mlp.0": "inner+", "mlp.2": "outer+"}

FAMILY = qwen2_family(_FAMILY, _vision_config, _VISION_LAYER, _MERGER)
