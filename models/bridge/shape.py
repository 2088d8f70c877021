"""Sizes of a model of transformers, under the names that the rest of the package uses."""

import dataclasses
from typing import Any

from eagle_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, or of a vision tower: ``patch``, ``merge`` and ``heads``."""

    vocabulary: int = 0
    context: int = 0
    embed: int = 0
    layers: int = 0
    heads: int = 1
    key_value_heads: int = 1
    head_size: int = 1
    mlp: int = 0
    tied_head: bool = False
    patch: int = 1
    merge: int = 1


@dataclasses.dataclass(frozen=True)
class BridgeConfig:
    """Sizes of a bridged model.

    Attributes:
      vision, decoder: sizes of the parts.
      image_token_id: token id that stands for each visual token.
      vision_weights: number of weights outside the decoder.
    """

    vision: Shape
    decoder: Shape
    image_token_id: int
    vision_weights: int

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Estimated operations for the visual tokens: two for each weight and token."""
        return 2.0 * self.vision_weights * grid[0] * grid[1]


def read_shape(model: Any, where: str) -> BridgeConfig:
    """The shape of a model of transformers.

    Args:
      model: the modules.
      where: name of the config.json in messages.

    Raises:
      InputError: the model has no image token, or its length or vocabulary is unknown.
    """
    config = model.config
    text = config.get_text_config()
    names = ("image_token_id", "image_token_index")
    image_token = next((i for n in names if (i := getattr(config, n, None)) is not None), None)
    if image_token is None:
        raise InputError(
            f"{where} names no image_token_id; models that read images without image tokens "
            "are not supported"
        )

    def number(name: str) -> int:
        try:
            return int(getattr(text, name, None) or 0)
        except Exception:  # configurations whose layers differ raise
            return 0

    heads = number("num_attention_heads") or 1
    decoder = Shape(
        vocabulary=text.vocab_size,
        context=number("max_position_embeddings") or 2**31 - 1,
        embed=text.hidden_size,
        layers=text.num_hidden_layers,
        heads=heads,
        key_value_heads=number("num_key_value_heads") or heads,
        head_size=number("head_dim") or text.hidden_size // heads,
        mlp=number("intermediate_size"),
        tied_head=bool(getattr(config, "tie_word_embeddings", False)),
    )
    seen = {id(p) for p in (model.get_decoder() or model).parameters()}
    others = sum(p.numel() for p in model.parameters() if id(p) not in seen)
    return BridgeConfig(Shape(), decoder, image_token, others)
