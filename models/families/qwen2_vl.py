"""Qwen2-VL: its configuration, and the names of its weights."""

from typing import Any

from eagle_jax.models.checkpoints.weights import Target
from eagle_jax.models.families.qwen_vl import QwenVL, QwenVLConfig, qwen_vl_keys, vision_config
from eagle_jax.models.families.vision_language import Family
from eagle_jax.models.layers.qwen_vit import VisionConfig

_FAMILY = "qwen2_vl"
_TEXT_DEFAULTS = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
}


class Qwen2_VLConfig(QwenVLConfig):
    """Shape of a Qwen2-VL checkpoint and the id that marks an image."""

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> QwenVLConfig:
        """Reads config.json as the hub has it or as transformers 5 writes it.

        Raises:
          InputError: a field is missing, or asks for something this port does not do.
        """
        return cls.read(config, _FAMILY, _vision_config, _TEXT_DEFAULTS, qkv_bias=True)


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    embed = vision["embed_dim"]
    return vision_config(
        vision,
        _FAMILY,
        patch=14,
        activation="quick_gelu",
        embed=embed,
        mlp=int(embed * vision.get("mlp_ratio", 4)),
        window=None,
        full_layers=tuple(range(vision["depth"])),
        output=vision["hidden_size"],
    )


class Qwen2_VL(QwenVL):
    """Qwen2-VL for one still image and text."""


def weight_keys(config: QwenVLConfig) -> dict[str, Target | None]:
    """Names every tensor of a checkpoint and where it goes in `Qwen2_VL`."""
    return qwen_vl_keys(config, _VISION_BLOCK, _MERGER)


_VISION_BLOCK = {
    "norm1": "attention_norm+",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm+",
    "mlp.fc1": "mlp.up+",
    "mlp.fc2": "mlp.down+",
}
_MERGER = {"ln_q": "norm+", "mlp.0": "inner+", "mlp.2": "outer+"}

FAMILY = Family(_FAMILY, Qwen2_VLConfig.from_hf, Qwen2_VL, weight_keys)
