"""What the Qwen-VL families share: configuration, modules, and key map."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.hugging_face import (
    decoder_config,
    decoder_keys,
    module_keys,
    require,
    rope_fields,
)
from eagle_jax.models.checkpoints.weights import Axes, KeyMap, Target
from eagle_jax.models.families.vision_language import Family, VisionLanguageModel
from eagle_jax.models.layers.decoder import Decoder, DecoderConfig
from eagle_jax.models.layers.qwen_layout import VisionConfig, VisionLayout, vision_layout
from eagle_jax.models.layers.qwen_vit import QwenVisionTower
from eagle_jax.models.layers.rope import multimodal_positions

# Defaults of transformers for Qwen2 decoders.
_QWEN2_TEXT = {"max_position_embeddings": 32768, "rms_norm_eps": 1e-5, "rope_theta": 1e6}


@dataclasses.dataclass(frozen=True)
class QwenVLConfig:
    """Shape of a Qwen-VL checkpoint, and the id of its image tokens."""

    vision: VisionConfig
    decoder: DecoderConfig
    image_token_id: int

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations that turn a grid of patches into visual tokens."""
        return self.vision.flops(grid)

    @classmethod
    def read(
        cls,
        config: dict[str, Any],
        family: str,
        read_vision: Callable[[dict[str, Any]], VisionConfig],
        text_defaults: dict[str, Any],
        mrope_section: tuple[int, int, int] = (16, 24, 24),
        either_ties: bool = True,
        **shape: Any,
    ) -> "QwenVLConfig":
        """Reads config.json as on the hub (flat) or as transformers 5 writes it (nested).

        Args:
          config: the parsed file.
          family: the model_type, for messages.
          read_vision: reads the vision tower's part, by `vision_config`.
          text_defaults: defaults of transformers for the decoder's fields.
          mrope_section: default of the field of this name.
          either_ties: whether tie_word_embeddings in text_config ties the head although the
            outer field is false, as in transformers' classes of Qwen2-VL and Qwen2.5-VL.
          shape: fields of `DecoderConfig` that hold for all decoders of the family.

        Raises:
          InputError: a field is missing, or asks for something that is not supported.
        """
        text = config.get("text_config") or config
        vision = config.get("vision_config") or {}
        inner = text.get("tie_word_embeddings", False)
        tied = config.get("tie_word_embeddings", inner) or (inner and either_ties)
        try:
            tower, embed = read_vision(vision), text["hidden_size"]
            request = f"visual tokens of {tower.output} numbers beside words of {embed}"
            require(tower.output == embed, request, family)
            return cls(
                vision=tower,
                decoder=decoder_config(
                    {**text_defaults, **text},
                    family,
                    tied_head=tied,
                    mrope_section=mrope_section,
                    allowed={
                        "rope_type": ("default", "mrope"),
                        "mrope_interleaved": (shape.get("rope_interleaved", False),),
                    },
                    deep_features=len(tower.deep_layers),
                    **shape,
                ),
                image_token_id=config.get("image_token_id", 151655),
            )
        except KeyError as error:
            raise InputError(
                f"config.json of a {family} model lacks {error}; fetch the checkpoint again"
            ) from error


def vision_config(
    vision: dict[str, Any],
    family: str,
    *,
    patch: int,
    activation: str,
    gated: bool = False,
    **shape: Any,
) -> VisionConfig:
    """Reads the fields that the vision towers of all families have.

    Args:
      vision: the tower's part of config.json.
      family: the model_type, for messages.
      patch: default of patch_size.
      activation: the only hidden_act that the family has.
      gated: whether the MLPs are gated.
      shape: all other fields of the result.

    Raises:
      InputError: a field asks for something that is not supported.
      KeyError: a field is missing.
    """
    act = vision.get("hidden_act", activation)
    patch, merge = vision.get("patch_size", patch), vision.get("spatial_merge_size", 2)
    channels = vision.get("in_channels", vision.get("in_chans", 3))
    head = shape["embed"] // vision["num_heads"]
    rope = rope_fields(vision)
    rope_type = rope.get("rope_type", rope.get("type", "axial"))
    theta = rope.get("rope_theta", vision.get("rope_theta", 10000.0))
    for supported, request in (
        (act == activation, f"vision hidden_act {act!r}"),
        (type(patch) is int and patch > 0, f"vision patch_size {patch!r}"),
        (channels == 3, f"{channels} image channels"),
        (head % 4 == 0, f"a vision head of {head}, not a multiple of 4"),
        (vision.get("head_dim", head) == head, f"vision head_dim {vision.get('head_dim')}"),
        (rope_type in ("axial", "default"), f"vision rope_type {rope_type!r}"),
        (theta == 10000.0, f"vision rope_theta {theta}"),
    ):
        require(supported, request, family)
    return VisionConfig(
        layers=vision["depth"],
        heads=vision["num_heads"],
        channels=channels,
        patch=patch,
        frames=vision.get("temporal_patch_size", 2),
        merge=merge,
        activation=None if gated else activation,
        **shape,
    )


class QwenVL(VisionLanguageModel):
    """Qwen2-VL, Qwen2.5-VL or Qwen3-VL for one still image and text."""

    def __init__(self, config: QwenVLConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.vision = QwenVisionTower(config.vision, rngs=rngs)
        self.decoder = Decoder(config.decoder, rngs=rngs)

    def layout(self, grid: tuple[int, int]) -> VisionLayout:
        """Lays a grid of patches out for the vision tower, on the host."""
        return vision_layout(self.config.vision, grid)

    def positions(
        self, ids: Int[np.ndarray, " s"], grid: tuple[int, int]
    ) -> Int[np.ndarray, "3 s"]:
        """Temporal, row and column position of each token, on the host.

        Args:
          ids: ids of the whole sequence, with one image token for each visual token.
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


def qwen_vl_keys(
    config: QwenVLConfig, layer: dict[str, str], merger: dict[str, str]
) -> dict[str, Target | None]:
    """The key map of the tensors that checkpoints of all families have.

    Args:
      config: shape of the checkpoint.
      layer: modules of a vision layer, as for `module_keys`.
      merger: modules of the merger, as for `module_keys`.
    """
    keys = decoder_keys(config.decoder)
    vision = config.vision
    for stack, numbers in (
        ("vision.windowed", vision.windowed_layers),
        ("vision.full", vision.full_layers),
    ):
        for index, number in enumerate(numbers):
            keys |= module_keys(f"visual.blocks.{number}", stack, index, layer)
    keys |= module_keys("visual.merger", "vision.merger", None, merger)
    keys["visual.patch_embed.proj.weight"] = Target(
        "vision.patch_embed.kernel", None, _patch_kernel(vision)
    )
    return keys


def _patch_kernel(vision: VisionConfig) -> Axes:
    """(embed, channel, frame, row, column) <-> (frame, channel * row * column, embed)."""
    shape = (vision.frames, vision.channels, vision.patch, vision.patch, vision.embed)
    return Axes(
        lambda x: x.transpose(2, 1, 3, 4, 0).reshape(vision.frames, -1, vision.embed),
        lambda x: x.reshape(shape).transpose(4, 1, 0, 2, 3),
    )


def qwen2_family(
    model_type: str,
    read_vision: Callable[[dict[str, Any]], VisionConfig],
    layer: dict[str, str],
    merger: dict[str, str],
) -> Family:
    """A family whose decoder is Qwen2's.

    Args:
      model_type: name of the family in config.json.
      read_vision: reads the vision tower's part of config.json, by `vision_config`.
      layer: modules of a vision layer, as for `module_keys`.
      merger: modules of the merger, as for `module_keys`.
    """

    def read_config(config: dict[str, Any]) -> QwenVLConfig:
        return QwenVLConfig.read(config, model_type, read_vision, _QWEN2_TEXT, qkv_bias=True)

    def weight_keys(config: QwenVLConfig) -> KeyMap:
        return qwen_vl_keys(config, layer, merger)

    return Family(model_type, read_config, QwenVL, weight_keys)
