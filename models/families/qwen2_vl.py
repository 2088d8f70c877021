"""Qwen2-VL: its configuration, and the key map of its checkpoints."""

from typing import Any

from eagle_jax.models.checkpoints.weights import KeyMap
from eagle_jax.models.families.qwen_vl import (
    QWEN2_TEXT,
    QwenVL,
    QwenVLConfig,
    qwen_vl_keys,
    vision_config,
)
from eagle_jax.models.families.vision_language import Family
from eagle_jax.models.layers.qwen_layout import VisionConfig

_FAMILY = "qwen2_vl"


def read_config(config: dict[str, Any]) -> QwenVLConfig:
    """Reads a parsed config.json; see `QwenVLConfig.read`."""
    return QwenVLConfig.read(config, _FAMILY, _vision_config, QWEN2_TEXT, qkv_bias=True)


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


def weight_keys(config: QwenVLConfig) -> KeyMap:
    """The key map of a checkpoint, for `QwenVL`."""
    return qwen_vl_keys(config, _VISION_LAYER, _MERGER)


_VISION_LAYER = {
    "norm1": "attention_norm+",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm+",
    "mlp.fc1": "mlp.up+",
    "mlp.fc2": "mlp.down+",
}
_MERGER = {"ln_q": "norm+", "mlp.0": "inner+", "mlp.2": "outer+"}

FAMILY = Family(_FAMILY, read_config, QwenVL, weight_keys)
