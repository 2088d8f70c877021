"""Qwen3-VL: its configuration, and the key map of its checkpoints."""

import math
from typing import Any

from eagle_jax.models.checkpoints.hugging_face import module_keys, require
from eagle_jax.models.checkpoints.weights import KeyMap, Target
from eagle_jax.models.families.qwen_vl import QwenVL, QwenVLConfig, qwen_vl_keys, vision_config
from eagle_jax.models.families.vision_language import Family
from eagle_jax.models.layers.qwen_layout import VisionConfig

_FAMILY = "qwen3_vl"
_TEXT = {
    "head_dim": 128,
    "max_position_embeddings": 128000,
    "rms_norm_eps": 1e-6,
    "rope_theta": 5e5,
}


def read_config(config: dict[str, Any]) -> QwenVLConfig:
    """Reads a parsed config.json; see `QwenVLConfig.read`."""
    return QwenVLConfig.read(
        config,
        _FAMILY,
        _vision_config,
        _TEXT,
        mrope_section=(24, 20, 20),
        either_ties=False,
        qk_norm=True,
        rope_interleaved=True,
    )


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    depth, places = vision["depth"], vision.get("num_position_embeddings", 2304)
    deep = vision.get("deepstack_visual_indexes", [8, 16, 24])
    require(
        sorted(set(deep)) == deep and all(layer < depth for layer in deep),
        f"deepstack_visual_indexes {deep} with {depth} layers",
        _FAMILY,
    )
    side = math.isqrt(places)
    require(side * side == places, f"num_position_embeddings {places}, not a square", _FAMILY)
    return vision_config(
        vision,
        _FAMILY,
        patch=16,
        activation="gelu_pytorch_tanh",
        embed=vision["hidden_size"],
        mlp=vision["intermediate_size"],
        full_layers=tuple(range(depth)),
        output=vision["out_hidden_size"],
        places=side,
        deep_layers=tuple(deep),
    )


def weight_keys(config: QwenVLConfig) -> KeyMap:
    """The key map of a checkpoint, for `QwenVL`."""
    keys = qwen_vl_keys(config, _VISION_LAYER, _MERGER)
    keys["visual.patch_embed.proj.bias"] = Target("vision.patch_embed.bias")
    keys["visual.pos_embed.weight"] = Target("vision.places")
    for index in range(len(config.vision.deep_layers)):
        hf = f"visual.deepstack_merger_list.{index}"
        keys |= module_keys(hf, "vision.deep_mergers", index, _MERGER)
    return keys


_VISION_LAYER = {
    "norm1": "attention_norm+",
    "attn.qkv": "attention.qkv+",
    "attn.proj": "attention.output+",
    "norm2": "mlp_norm+",
    "mlp.linear_fc1": "mlp.up+",
    "mlp.linear_fc2": "mlp.down+",
}
_MERGER = {"norm": "norm+", "linear_fc1": "inner+", "linear_fc2": "outer+"}

FAMILY = Family(_FAMILY, read_config, QwenVL, weight_keys)
