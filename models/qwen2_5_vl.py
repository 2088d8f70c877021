"""Qwen2.5-VL: its configuration, its modules, and the names of its weights."""

import dataclasses
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoint import Layout, Target
from eagle_jax.models.decoder import Decoder, DecoderConfig
from eagle_jax.models.hugging_face import decoder_config, decoder_keys, module_keys, require
from eagle_jax.models.qwen_vit import QwenVisionTower, VisionConfig, VisionLayout, vision_layout
from eagle_jax.models.rope import multimodal_positions
from eagle_jax.models.vision_language import VisionLanguageModel

_TEXT_DEFAULTS = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
}


@dataclasses.dataclass(frozen=True)
class Qwen2_5_VLConfig:
    """Shape of a Qwen2.5-VL checkpoint and the ids that mark an image."""

    vision: VisionConfig
    decoder: DecoderConfig
    image_token_id: int

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> "Qwen2_5_VLConfig":
        """Reads config.json as the hub has it (flat) or as transformers 5 writes it (nested).

        Raises:
          InputError: a field is missing, or asks for something this port does not do.
        """
        text = config.get("text_config") or config
        vision = config.get("vision_config") or {}
        try:
            out, embed = vision["out_hidden_size"], text["hidden_size"]
            what = f"visual tokens of {out} numbers beside words of {embed}"
            require(out == embed, what, "qwen2_5_vl")
            return cls(
                vision=_vision_config(vision),
                decoder=decoder_config(
                    {**_TEXT_DEFAULTS, **text},
                    "qwen2_5_vl",
                    tied_head=config.get(
                        "tie_word_embeddings", text.get("tie_word_embeddings", False)
                    ),
                    multimodal_rope=True,
                    qkv_bias=True,
                ),
                image_token_id=config.get("image_token_id", 151655),
            )
        except KeyError as error:
            raise InputError(f"config.json of a qwen2_5_vl model lacks {error}") from error


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    act = vision.get("hidden_act", "silu")
    patch, merge = vision.get("patch_size", 14), vision.get("spatial_merge_size", 2)
    window = vision.get("window_size", 112)
    channels = vision.get("in_channels", vision.get("in_chans", 3))
    head = vision["hidden_size"] // vision["num_heads"]
    for supported, what in (
        (act == "silu", f"vision hidden_act {act!r}"),
        (type(patch) is int and patch > 0, f"vision patch_size {patch!r}"),
        (channels == 3, f"{channels} image channels"),
        (head % 4 == 0, f"a vision head of {head}, no multiple of 4"),
    ):
        require(supported, what, "qwen2_5_vl")
    side = patch * merge
    require(window >= side, f"window_size {window} with tokens of {side} pixels", "qwen2_5_vl")
    return VisionConfig(
        embed=vision["hidden_size"],
        layers=vision["depth"],
        heads=vision["num_heads"],
        mlp=vision["intermediate_size"],
        channels=channels,
        patch=patch,
        frames=vision.get("temporal_patch_size", 2),
        merge=merge,
        window=window // patch // merge,
        full_layers=tuple(vision.get("fullatt_block_indexes", (7, 15, 23, 31))),
        output=vision["out_hidden_size"],
    )


class Qwen2_5_VL(VisionLanguageModel):
    """Qwen2.5-VL for one still image and text."""

    def __init__(self, config: Qwen2_5_VLConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = QwenVisionTower(config.vision, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)

    def layout(self, grid: tuple[int, int]) -> VisionLayout:
        """Plans the vision tower for a grid of patches, on the host."""
        return vision_layout(self.config.vision, grid)

    def positions(
        self, ids: Int[np.ndarray, " s"], grid: tuple[int, int]
    ) -> Int[np.ndarray, "3 s"]:
        """Temporal, row and column position of each token, on the host.

        Args:
          ids: the whole sequence, image tokens expanded.
          grid: rows and columns of patches of the image.
        """
        merge = self.config.vision.merge
        token = self.config.image_token_id
        return multimodal_positions(ids, grid[0] // merge, grid[1] // merge, token)

    def visual_tokens(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b v e"]:
        """Visual tokens of a batch of images, in raster order."""
        return self.vision(patches, layout)


def weight_keys(config: Qwen2_5_VLConfig) -> dict[str, Target | None]:
    """Names every tensor of a checkpoint and where it goes in `Qwen2_5_VL`."""
    keys = decoder_keys(config.decoder)
    vision = config.vision
    for stack, layers in zip(("vision.windowed", "vision.full"), vision.kinds, strict=True):
        for index, layer in enumerate(layers):
            keys |= module_keys(f"visual.blocks.{layer}", stack, index, _VISION_BLOCK)
    keys |= module_keys("visual.merger", "vision.merger", None, _MERGER)
    kernel = (vision.embed, vision.channels, vision.frames, vision.patch, vision.patch)
    keys["visual.patch_embed.proj.weight"] = Target(
        "vision.patch_embed.kernel", None, _patch_kernel(kernel)
    )
    return keys


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


def _patch_kernel(shape: tuple[int, ...]) -> Layout:
    """(embed, channel, frame, row, column) <-> (frame, channel * row * column, embed)."""
    embed, channels, frames, rows, columns = shape
    return Layout(
        lambda x: x.transpose(2, 1, 3, 4, 0).reshape(frames, -1, embed),
        lambda x: x.reshape(frames, channels, rows, columns, embed).transpose(4, 1, 0, 2, 3),
    )
