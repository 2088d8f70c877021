"""InternVL 3 and 3.5: configuration, modules, and the names of the weights."""

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
from eagle_jax.models.checkpoints.weights import Axes, KeyMap, Target
from eagle_jax.models.families.vision_language import Family, VisionLanguageModel
from eagle_jax.models.layers.decoder import Decoder, DecoderConfig
from eagle_jax.models.layers.intern_vit import InternVisionConfig, InternVisionTower

_FAMILY = "internvl"
# By the decoder's model_type: how it differs, and defaults of its configuration files.
_TEXT = {
    "qwen2": ({"qkv_bias": True}, {}),
    "qwen3": ({"qk_norm": True}, {"head_dim": 128}),
}
_TEXT_DEFAULTS = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
_VISION_DEFAULTS = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "num_channels": 3,
    "image_size": 448,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
    "norm_type": "layer_norm",
    "attention_bias": False,
    "use_qk_norm": False,
}


@dataclasses.dataclass(frozen=True)
class InternVLConfig:
    """Shape of an InternVL checkpoint, and the id of its image tokens."""

    vision: InternVisionConfig
    decoder: DecoderConfig
    image_token_id: int

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations that turn a grid of patches into visual tokens."""
        return self.vision.flops(grid)

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> "InternVLConfig":
        """Reads the parsed config.json of a "-HF" checkpoint.

        Raises:
          InputError: a field is missing, or asks for something that is not supported.
        """
        try:
            text = config["text_config"]
            decoder_type = text.get("model_type", "qwen2")
            require(
                isinstance(decoder_type, str) and decoder_type in _TEXT,
                f"text_config model_type {decoder_type!r}",
                _FAMILY,
            )
            shape, defaults = _TEXT[decoder_type]
            decoder = decoder_config(
                {**_TEXT_DEFAULTS, **defaults, **text},
                _FAMILY,
                tied_head=_tied_head(config, text),
                **shape,
            )
            return cls(
                vision=_vision_config(config, decoder.embed),
                decoder=decoder,
                image_token_id=config.get("image_token_id", 151667),
            )
        except KeyError as error:
            raise InputError(
                f"config.json of an {_FAMILY} model lacks {error}; fetch the checkpoint again"
            ) from error


def _tied_head(config: dict[str, Any], text: dict[str, Any]) -> bool:
    # transformers 4 obeys the decoder's field, transformers 5 the outer field, which older
    # files lack and newer files may contradict. Where they disagree, the head decides that is
    # or is not in the files (`eagle_jax.scoring.loading`).
    return bool(text.get("tie_word_embeddings") and config.get("tie_word_embeddings", True))


def _vision_config(config: dict[str, Any], output: int) -> InternVisionConfig:
    vision = {**_VISION_DEFAULTS, **(config.get("vision_config") or {})}
    ratio = config.get("downsample_ratio", 0.5)
    image, patch = _side(vision, "image_size"), _side(vision, "patch_size")
    for where, name, supported in (
        (config, "vision_feature_layer", (-1,)),
        (config, "vision_feature_select_strategy", ("default",)),
        (config, "projector_hidden_act", ("gelu",)),
        (vision, "hidden_act", ("gelu",)),
        (vision, "norm_type", ("layer_norm", "rms_norm")),
        (vision, "use_absolute_position_embeddings", (True,)),
        (vision, "use_mean_pooling", (True,)),
        (vision, "use_qk_norm", (False, True)),
        (config, "downsample_ratio", (0.5, 1, 0.25)),
    ):
        value = where.get(name, supported[0])
        prefix = "vision_config " if where is vision else ""
        require(value in supported, f"{prefix}{name} {value!r}", _FAMILY)
    merge, side = round(1 / ratio), image // patch
    require(
        side > 0 and side % merge == 0,
        f"downsample_ratio {ratio} with {side} x {side} patches",
        _FAMILY,
    )
    return InternVisionConfig(
        embed=vision["hidden_size"],
        layers=vision["num_hidden_layers"],
        heads=vision["num_attention_heads"],
        mlp=vision["intermediate_size"],
        channels=vision["num_channels"],
        patch=patch,
        side=side,
        merge=merge,
        norm_eps=vision["layer_norm_eps"],
        rms_norm=vision["norm_type"] == "rms_norm",
        attention_bias=vision["attention_bias"],
        qk_norm=vision["use_qk_norm"],
        output=output,
    )


def _side(vision: dict[str, Any], name: str) -> int:
    """The side of a square that is given as a number or as rows and columns."""
    value = vision[name]
    sides = value if isinstance(value, list) else [value, value]
    square = len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    require(square and sides[0] == sides[1], f"vision_config {name} {value!r}", _FAMILY)
    return sides[0]


class InternVL(VisionLanguageModel):
    """InternVL for one still image, cut into tiles, and text."""

    marks_image = True
    tiles_apart = True

    def __init__(self, config: InternVLConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = InternVisionTower(config.vision, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)

    def layout(self, grid: tuple[int, int]) -> None:
        """Checks the grid of patches, on the host; tiles do not see each other.

        Args:
          grid: rows and columns of patches, with the tiles on top of each other.

        Raises:
          InputError: the image processor cuts other tiles than the weights are made for.
        """
        side = self.config.vision.side
        if grid[1] != side or grid[0] % side:
            raise InputError(
                f"the image processor cuts {grid[0]} x {grid[1]} patches, but the model in "
                f"config.json wants tiles of {side} x {side}; fetch the checkpoint again"
            )

    def visual_tokens(
        self, patches: Float[Array, "b p c"], layout: None
    ) -> Float[Array, "b v e"]:
        """Visual tokens of a batch of images, tile after tile."""
        return self.vision(patches)


def weight_keys(config: InternVLConfig) -> KeyMap:
    """The key map of a checkpoint, for `InternVL`."""
    keys = decoder_keys(config.decoder)
    vision = config.vision
    norm_bias = "" if vision.rms_norm else "+"
    bias = "+" if vision.attention_bias else ""
    modules = {
        "layernorm_before": f"attention_norm{norm_bias}",
        "attention.q_proj": f"attention.query{bias}",
        "attention.k_proj": f"attention.key{bias}",
        "attention.v_proj": f"attention.value{bias}",
        "attention.projection_layer": "attention.output+",
        "layernorm_after": f"mlp_norm{norm_bias}",
        "mlp.fc1": "up+",
        "mlp.fc2": "down+",
    }
    if vision.qk_norm:
        modules["attention.q_norm"] = "attention.query_norm"
        modules["attention.k_norm"] = "attention.key_norm"
    for layer in range(vision.layers):
        hf = f"vision_tower.encoder.layer.{layer}"
        keys |= module_keys(hf, "vision.layers", layer, modules)
        keys[f"{hf}.lambda_1"] = Target("vision.layers.attention_scale", layer)
        keys[f"{hf}.lambda_2"] = Target("vision.layers.mlp_scale", layer)
    hf = "vision_tower.embeddings"
    keys |= {
        f"{hf}.cls_token": Target("vision.class_token", None, _CLASS_TOKEN),
        f"{hf}.position_embeddings": Target("vision.positions", None, _POSITIONS),
        f"{hf}.patch_embeddings.projection.weight": Target(
            "vision.patch_embed.kernel", None, patch_kernel(vision)
        ),
        f"{hf}.patch_embeddings.projection.bias": Target("vision.patch_embed.bias"),
        f"{hf}.mask_token": None,
    }
    keys |= module_keys("multi_modal_projector", "vision.projector", None, _PROJECTOR)
    return keys


_PROJECTOR = {"layer_norm": "norm+", "linear_1": "inner+", "linear_2": "outer+"}
_CLASS_TOKEN = Axes(lambda x: x[0, 0], lambda x: x[None, None])
_POSITIONS = Axes(lambda x: x[0], lambda x: x[None])

FAMILY = Family(_FAMILY, InternVLConfig.from_hf, InternVL, weight_keys, True)
