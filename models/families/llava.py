"""LLaVA-1.5: its configuration, its modules, and the names of its weights."""

import dataclasses
from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.hugging_face import (
    decoder_config,
    decoder_keys,
    module_keys,
    patch_kernel,
    require,
)
from eagle_jax.models.checkpoints.weights import KeyMap, Target
from eagle_jax.models.families.vision_language import Family, VisionLanguageModel
from eagle_jax.models.layers.building_blocks import ACTIVATIONS, Projector
from eagle_jax.models.layers.clip_vit import ClipConfig, ClipTower
from eagle_jax.models.layers.decoder import Decoder, DecoderConfig

# Defaults of transformers: the published files name only a few fields.
_LLAMA = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
_CLIP = {
    "model_type": "clip_vision_model",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}


@dataclasses.dataclass(frozen=True)
class LlavaConfig:
    """Shape of a LLaVA checkpoint, and the id of its image tokens.

    ``vision_layers`` counts the vision layers that the checkpoint holds, ``vision.layers`` the
    vision layers that run.
    """

    vision: ClipConfig
    vision_layers: int
    decoder: DecoderConfig
    image_token_id: int

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations that turn a grid of patches into visual tokens."""
        embed, output = self.vision.embed, self.decoder.embed
        projector = 2 * grid[0] * grid[1] * output * (embed + output)
        return self.vision.flops(grid) + projector

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> "LlavaConfig":
        """Reads a parsed config.json, as on the hub or as transformers 5 writes it.

        Raises:
          InputError: a field is missing, or asks for something that is not supported.
        """
        text = {**_LLAMA, **(config.get("text_config") or {})}
        if not config.get("vision_config"):
            raise InputError(
                "config.json of a llava model lacks 'vision_config'; fetch the checkpoint again"
            )
        vision = {**_CLIP, **config["vision_config"]}
        fixed = (
            ("vision_feature_select_strategy", "default"),
            ("projector_hidden_act", "gelu"),
            ("multimodal_projector_bias", True),
        )
        for name, value in fixed:
            requested = config.get(name, value)
            require(requested == value, f"{name} {requested!r}", "llava")
        decoder_type = text["model_type"]
        require(decoder_type == "llama", f"text_config.model_type {decoder_type!r}", "llava")
        tied = config.get("tie_word_embeddings") or text.get("tie_word_embeddings")
        return cls(
            vision=_vision_config(vision, config.get("vision_feature_layer", -2)),
            vision_layers=vision["num_hidden_layers"],
            decoder=decoder_config(text, "llava", tied_head=bool(tied)),
            image_token_id=config.get("image_token_id", config.get("image_token_index", 32000)),
        )


def _vision_config(vision: dict[str, Any], feature_layer: Any) -> ClipConfig:
    tower_type, act = vision["model_type"], vision["hidden_act"]
    layers, image, patch = (
        vision[name] for name in ("num_hidden_layers", "image_size", "patch_size")
    )
    # Hidden state 0 is the input of the first layer, -1 the output of the last.
    last = feature_layer
    if type(last) is int and last < 0:
        last += layers + 1
    for supported, request in (
        (tower_type == "clip_vision_model", f"vision_config.model_type {tower_type!r}"),
        (act in ACTIVATIONS, f"vision hidden_act {act!r}"),
        (vision["num_channels"] == 3, f"{vision['num_channels']} image channels"),
        (type(image) is int, f"vision image_size {image}"),
        (type(patch) is int and patch > 0, f"vision patch_size {patch}"),
        (type(last) is int and 0 < last <= layers, f"vision_feature_layer {feature_layer}"),
    ):
        require(supported, request, "llava")
    return ClipConfig(
        embed=vision["hidden_size"],
        layers=last,
        heads=vision["num_attention_heads"],
        mlp=vision["intermediate_size"],
        channels=vision["num_channels"],
        patch=patch,
        grid=image // patch,
        activation=act,
        norm_eps=vision["layer_norm_eps"],
    )


class Llava(VisionLanguageModel):
    """LLaVA-1.5 for one still image and text."""

    def __init__(self, config: LlavaConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = ClipTower(config.vision, rngs=rngs)
        embed = config.decoder.embed
        self.projector = Projector(config.vision.embed, embed, embed, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)

    def layout(self, grid: tuple[int, int]) -> None:
        """Checks the grid of patches, on the host.

        Args:
          grid: rows and columns of patches.

        Raises:
          InputError: the image processor cuts another grid than the weights are made for.
        """
        side = self.config.vision.grid
        if grid != (side, side):
            raise InputError(
                f"the image processor cuts {grid[0]} x {grid[1]} patches, but the model in "
                f"config.json wants {side} x {side}; fetch the checkpoint again"
            )

    def visual_tokens(
        self, patches: Float[Array, "b p c"], layout: None
    ) -> Float[Array, "b v e"]:
        """Visual tokens of a batch of images, in raster order."""
        return self.projector(self.vision(patches))


def weight_keys(config: LlavaConfig) -> KeyMap:
    """The key map of a checkpoint, for `Llava`."""
    keys = decoder_keys(config.decoder)
    vision = config.vision
    for layer in range(config.vision_layers):
        layer_keys = module_keys(
            f"vision_tower.encoder.layers.{layer}", "vision.layers", layer, _VISION_LAYER
        )
        keys |= layer_keys if layer < vision.layers else dict.fromkeys(layer_keys)
    keys |= module_keys("vision_tower", "vision", None, {"pre_layrnorm": "norm+"})
    keys |= module_keys("multi_modal_projector", "projector", None, _PROJECTOR)
    embeddings = "vision_tower.embeddings"
    keys[f"{embeddings}.patch_embedding.weight"] = Target(
        "vision.patch_embed.kernel", None, patch_kernel(vision)
    )
    keys[f"{embeddings}.class_embedding"] = Target("vision.class_token")
    keys[f"{embeddings}.position_embedding.weight"] = Target("vision.places")
    # A counter in old files, and the norm of the pooled output, which LLaVA does not use.
    unused = (f"{embeddings}.position_ids", *(f"vision_tower.{n}" for n in _POOLED_NORM))
    return keys | dict.fromkeys(unused)


_VISION_LAYER = {
    "layer_norm1": "attention_norm+",
    "self_attn.q_proj": "attention.query+",
    "self_attn.k_proj": "attention.key+",
    "self_attn.v_proj": "attention.value+",
    "self_attn.out_proj": "attention.output+",
    "layer_norm2": "mlp_norm+",
    "mlp.fc1": "inner+",
    "mlp.fc2": "outer+",
}
_PROJECTOR = {"linear_1": "inner+", "linear_2": "outer+"}
_POOLED_NORM = ("post_layernorm.weight", "post_layernorm.bias")

FAMILY = Family("llava", LlavaConfig.from_hf, Llava, weight_keys)
