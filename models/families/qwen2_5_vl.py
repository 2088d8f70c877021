"""Qwen2.5-VL: its configuration, and the names of its weights."""

import dataclasses
from typing import Any

from eagle_jax.models.checkpoints.hugging_face import require
from eagle_jax.models.checkpoints.weights import Target
from eagle_jax.models.families.qwen_vl import QwenVL, QwenVLConfig, qwen_vl_keys, vision_config
from eagle_jax.models.families.vision_language import Family
from eagle_jax.models.layers.qwen_vit import VisionConfig

_FAMILY = "qwen2_5_vl"
_TEXT_DEFAULTS = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
}


class Qwen2_5_VLConfig(QwenVLConfig):
    """Shape of a Qwen2.5-VL checkpoint and the id that marks an image."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> QwenVLConfig:
        """Reads config.json as the hub has it or as transformers 5 writes it.

        Raises:
          InputError: a field is missing, or asks for something this port does not do.
        """
        return cls.read(config, _FAMILY, _vision_config, _TEXT_DEFAULTS, qkv_bias=True)


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    window = vision.get("window_size", 112)
    found = vision_config(
        vision,
        _FAMILY,
        patch=14,
        activation="silu",
        gated=True,
        embed=vision["hidden_size"],
        mlp=vision["intermediate_size"],
        window=None,
        full_layers=tuple(vision.get("fullatt_block_indexes", (7, 15, 23, 31))),
        output=vision["out_hidden_size"],
    )
    side = found.patch * found.merge
    require(window >= side, f"window_size {window} with tokens of {side} pixels", _FAMILY)
    return dataclasses.replace(found, window=window // side)


class Qwen2_5_VL(QwenVL):
    """Qwen2.5-VL for one still image and text."""


def weight_keys(config: QwenVLConfig) -> dict[str, Target | None]:
    """Names every tensor of a checkpoint and where it goes in `Qwen2_5_VL`."""
    return qwen_vl_keys(config, _VISION_BLOCK, _MERGER)


_VISION_BLOCK = {
    "norm1": "attention_norm",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm",
    "mlp.gate_proj": "mlp.gate+",
    "mlp.up_proj": "mlp.up+",
    "mlp.down_proj": "mlp.down+",
}
_MERGER = {"ln_q": "norm", "mlp.0": "inner+", "mlp.2": "outer+"}

FAMILY = Family(_FAMILY, Qwen2_5_VLConfig.from_hf, Qwen2_5_VL, weight_keys)
