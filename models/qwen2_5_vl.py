"""Qwen2.5-VL: its configuration, its modules, and the names of its weights."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoint import TRANSPOSED, Layout, Target
from eagle_jax.models.decoder import Decoder, DecoderConfig
from eagle_jax.models.qwen_vit import QwenVisionTower, VisionConfig, VisionLayout, vision_layout
from eagle_jax.models.rope import multimodal_positions


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
            return cls(
                vision=_vision_config(vision),
                decoder=_decoder_config(text, config),
                image_token_id=config.get("image_token_id", 151655),
            )
        except KeyError as error:
            raise InputError(f"config.json of a qwen2_5_vl model lacks {error}") from error


def _decoder_config(text: dict[str, Any], config: dict[str, Any]) -> DecoderConfig:
    rope = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    heads = text["num_attention_heads"]
    head_size = text.get("head_dim") or text["hidden_size"] // heads
    sections = tuple(rope.get("mrope_section", (16, 24, 24)))
    _require(kind in ("default", "mrope"), f"rope_type {kind!r}")
    _require(text.get("hidden_act", "silu") == "silu", f"hidden_act {text.get('hidden_act')!r}")
    _require(not text.get("use_sliding_window"), "use_sliding_window true")
    _require(
        len(sections) == 3 and sum(sections) == head_size // 2,
        f"mrope_section {list(sections)} with a head of {head_size}",
    )
    return DecoderConfig(
        vocabulary=text["vocab_size"],
        embed=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        key_value_heads=text.get("num_key_value_heads") or heads,
        head_size=head_size,
        mlp=text["intermediate_size"],
        norm_eps=text.get("rms_norm_eps", 1e-5),
        rope_theta=rope.get("rope_theta") or text.get("rope_theta", 1e6),
        rope_sections=sections,
        tied_head=config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)),
        qkv_bias=True,
    )


def _vision_config(vision: dict[str, Any]) -> VisionConfig:
    act = vision.get("hidden_act", "silu")
    _require(act == "silu", f"vision hidden_act {act!r}")
    patch, merge = vision.get("patch_size", 14), vision.get("spatial_merge_size", 2)
    return VisionConfig(
        embed=vision["hidden_size"],
        layers=vision["depth"],
        heads=vision["num_heads"],
        mlp=vision["intermediate_size"],
        channels=vision.get("in_channels", vision.get("in_chans", 3)),
        patch=patch,
        frames=vision.get("temporal_patch_size", 2),
        merge=merge,
        window=vision.get("window_size", 112) // patch // merge,
        full_layers=tuple(vision.get("fullatt_block_indexes", (7, 15, 23, 31))),
        output=vision["out_hidden_size"],
    )


def _require(supported: bool, what: str) -> None:
    if not supported:
        raise InputError(f"config.json asks for {what}: not supported for qwen2_5_vl")


class Qwen2_5_VL(nnx.Module):
    """Qwen2.5-VL for one still image and text.

    Three pure functions make it usable for attribution: `visual_tokens`, `hidden_states`
    and `log_probabilities`; `embed` puts the visual tokens in their place between.
    """

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

    def embed(
        self, ids: Int[Array, " s"], visual: Float[Array, "b v e"], start: Int[Array, ""]
    ) -> Float[Array, "b s e"]:
        """Embeds one text around a batch of images.

        Args:
          ids: the sequence; whatever stands at ``start .. start + v - 1`` is replaced.
          visual: the visual tokens of each image.
          start: position of the first image token.
        """
        text = self.decoder.embed(ids)
        text = jnp.broadcast_to(text, (visual.shape[0], *text.shape))
        return jax.lax.dynamic_update_slice_in_dim(
            text, visual.astype(text.dtype), start, axis=1
        )

    def hidden_states(
        self,
        embeddings: Float[Array, "b s e"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final hidden states at the given rows, or at all of them."""
        return self.decoder.hidden_states(embeddings, positions, rows)

    def log_probabilities(
        self, hidden: Float[Array, "b t e"], ids: Int[Array, " t"]
    ) -> Float[Array, "b t"]:
        """Float32 log-probability of token ``ids[i]`` after hidden row ``i``."""
        return self.decoder.log_probabilities(hidden, ids)


def weight_keys(config: Qwen2_5_VLConfig) -> dict[str, Target | None]:
    """Names every tensor of a checkpoint and where it goes in `Qwen2_5_VL`."""
    keys: dict[str, Target | None] = {}
    for layer in range(config.decoder.layers):
        index = None if layer == config.decoder.layers - 1 else layer
        stack = "decoder.last" if index is None else "decoder.layers"
        _add(keys, f"model.layers.{layer}", stack, index, _DECODER_LAYER)
    keys["model.embed_tokens.weight"] = Target("decoder.embedding.embedding")
    keys["model.norm.weight"] = Target("decoder.norm.scale")
    keys["lm_head.weight"] = None
    if not config.decoder.tied_head:
        keys["lm_head.weight"] = Target("decoder.head.kernel", None, TRANSPOSED)

    vision = config.vision
    for number, (_, layers) in enumerate(vision.runs):
        for index, layer in enumerate(layers):
            _add(keys, f"visual.blocks.{layer}", f"vision.runs.{number}", index, _VISION_BLOCK)
    _add(keys, "visual.merger", "vision.merger", None, _MERGER)
    kernel = (vision.embed, vision.channels, vision.frames, vision.patch, vision.patch)
    keys["visual.patch_embed.proj.weight"] = Target(
        "vision.patch_embed.kernel", None, _patch_kernel(kernel)
    )
    return keys


_DECODER_LAYER = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.query+",
    "self_attn.k_proj": "attention.key+",
    "self_attn.v_proj": "attention.value+",
    "self_attn.o_proj": "attention.output",
    "post_attention_layernorm": "mlp_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
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


def _add(
    keys: dict[str, Target | None],
    hf: str,
    own: str,
    index: int | None,
    modules: dict[str, str],
) -> None:
    """Adds the tensors of a group of modules; a plus marks the ones that have a bias."""
    for hf_module, own_module in modules.items():
        path = f"{own}.{own_module.rstrip('+')}"
        if "norm" in own_module:
            keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.scale", index)
            continue
        keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.kernel", index, TRANSPOSED)
        if own_module.endswith("+"):
            keys[f"{hf}.{hf_module}.bias"] = Target(f"{path}.bias", index)


def _patch_kernel(shape: tuple[int, ...]) -> Layout:
    """(embed, channel, frame, row, column) <-> (frame, channel * row * column, embed)."""
    embed, channels, frames, rows, columns = shape
    return Layout(
        lambda x: x.transpose(2, 1, 3, 4, 0).reshape(frames, -1, embed),
        lambda x: x.reshape(frames, channels, rows, columns, embed).transpose(4, 1, 0, 2, 3),
    )
