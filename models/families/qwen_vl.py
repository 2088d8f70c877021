"""What the Qwen-VL families share: configuration, modules, and the names of the weights."""

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
)
from eagle_jax.models.checkpoints.weights import Layout, Target
from eagle_jax.models.families.vision_language import VisionLanguageModel
from eagle_jax.models.layers.decoder import Decoder, DecoderConfig
from eagle_jax.models.layers.qwen_vit import (
    QwenVisionTower,
    VisionConfig,
    VisionLayout,
    vision_layout,
)
from eagle_jax.models.layers.rope import multimodal_positions


@dataclasses.dataclass(frozen=True)
class QwenVLConfig:
    """Shape of a Qwen-VL checkpoint and the id that marks an image."""

    vision: VisionConfig
    decoder: DecoderConfig
    image_token_id: int

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Operations that turn a grid of patches into visual tokens."""
        return self.vision.flops(grid)

    @classmethod
    def read(
        cls,
        config: dict[str, Any],
        family: str,
        read_vision: Callable[[dict[str, Any]], VisionConfig],
        text_defaults: dict[str, Any],
        **decoder: Any,
    ) -> "QwenVLConfig":
        """Reads config.json as the hub has it (flat) or as transformers 5 writes it (nested).

        Args:
          config: the parsed file.
          family: the model_type, for messages.
          read_vision: reads the vision tower's part, see `vision_config`.
          text_defaults: what transformers fills in for the decoder.
          decoder: what is true of the family's decoders, see `decoder_config`.

        Raises:
          InputError: a field is missing, or asks for something the port does not do.
        """
        text = config.get("text_config") or config
        vision = config.get("vision_config") or {}
        try:
            tower, embed = read_vision(vision), text["hidden_size"]
            what = f"visual tokens of {tower.output} numbers beside words of {embed}"
            require(tower.output == embed, what, family)
            return cls(
                vision=tower,
                decoder=decoder_config(
                    {**text_defaults, **text},
                    family,
                    tied_head=config.get(
                        "tie_word_embeddings", text.get("tie_word_embeddings", False)
                    ),
                    multimodal_rope=True,
                    deep_features=len(tower.deep_layers),
                    **decoder,
                ),
                image_token_id=config.get("image_token_id", 151655),
            )
        except KeyError as error:
            raise InputError(f"config.json of a {family} model lacks {error}") from error


def vision_config(
    vision: dict[str, Any],
    family: str,
    *,
    patch: int,
    activation: str,
    gated: bool = False,
    **shape: Any,
) -> VisionConfig:
    """Reads what the vision towers of all families have in common.

    Args:
      vision: the tower's part of config.json.
      family: the model_type, for messages.
      patch: default of patch_size.
      activation: the only hidden_act the family has.
      gated: whether it is that of gated MLPs.
      shape: the other fields of the result.

    Raises:
      InputError: a field asks for something the port does not do.
      KeyError: a field is missing.
    """
    act = vision.get("hidden_act", activation)
    patch, merge = vision.get("patch_size", patch), vision.get("spatial_merge_size", 2)
    channels = vision.get("in_channels", vision.get("in_chans", 3))
    head = shape["embed"] // vision["num_heads"]
    rope = vision.get("rope_parameters") or {}
    kind, theta = rope.get("rope_type", "axial"), rope.get("rope_theta", 10000.0)
    for supported, what in (
        (act == activation, f"vision hidden_act {act!r}"),
        (type(patch) is int and patch > 0, f"vision patch_size {patch!r}"),
        (channels == 3, f"{channels} image channels"),
        (head % 4 == 0, f"a vision head of {head}, no multiple of 4"),
        (kind == "axial", f"vision rope_type {kind!r}"),
        (theta == 10000.0, f"vision rope_theta {theta}"),
    ):
        require(supported, what, family)
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


def qwen_vl_keys(
    config: QwenVLConfig, block: dict[str, str], merger: dict[str, str]
) -> dict[str, Target | None]:
    """Names the tensors that checkpoints of all families have, and where they go.

    Args:
      config: of the model.
      block: names of a vision layer's modules, see `module_keys`.
      merger: names of the merger's modules.
    """
    keys = decoder_keys(config.decoder)
    vision = config.vision
    for stack, layers in zip(("vision.windowed", "vision.full"), vision.kinds, strict=True):
        for index, layer in enumerate(layers):
            keys |= module_keys(f"visual.blocks.{layer}", stack, index, block)
    keys |= module_keys("visual.merger", "vision.merger", None, merger)
    kernel = (vision.embed, vision.channels, vision.frames, vision.patch, vision.patch)
    keys["visual.patch_embed.proj.weight"] = Target(
        "vision.patch_embed.kernel", None, _patch_kernel(kernel)
    )
    return keys


def _patch_kernel(shape: tuple[int, ...]) -> Layout:
    """(embed, channel, frame, row, column) <-> (frame, channel * row * column, embed)."""
    embed, channels, frames, rows, columns = shape
    return Layout(
        lambda x: x.transpose(2, 1, 3, 4, 0).reshape(frames, -1, embed),
        lambda x: x.reshape(frames, channels, rows, columns, embed).transpose(4, 1, 0, 2, 3),
    )
