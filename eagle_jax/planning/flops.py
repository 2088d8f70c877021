"""Floating-point operations of one scored mask, counted from the model's configuration."""

from typing import Any

import numpy as np
from jaxtyping import Int

from eagle_jax.models.layers.clip_vit import ClipConfig
from eagle_jax.models.layers.decoder import DecoderConfig
from eagle_jax.models.layers.intern_vit import InternVisionConfig
from eagle_jax.models.layers.qwen_vit import VisionConfig, vision_layout


def forward_flops(config: Any, grid: tuple[int, int], rows: Int[np.ndarray, " t"]) -> float:
    """Operations that one masked image needs, a multiplication and an addition being two.

    Counted: patch embedding, vision layers, merger or projector, decoder layers over the
    sequence up to the last row, the last layer's query, output and MLP at the target rows
    alone, causal attention, and the head at the target rows. Norms, activations, rotations,
    the resize and padding are not.

    Args:
      config: of the model, with its ``vision`` and ``decoder``.
      grid: rows and columns of patches.
      rows: sequence positions whose outputs are read.

    Returns:
      The number of operations.
    """
    vision, decoder = config.vision, config.decoder
    if isinstance(vision, VisionConfig):
        count = _qwen_vision(vision, grid)
    elif isinstance(vision, ClipConfig):
        count = _clip_vision(vision, grid, decoder.embed)
    else:
        count = _intern_vision(vision, grid)
    return count + _decoder(decoder, int(rows.max()) + 1, rows)


def _qwen_vision(config: VisionConfig, grid: tuple[int, int]) -> float:
    patches, embed = grid[0] * grid[1], config.embed
    windows = np.asarray(vision_layout(config, grid).lengths, dtype=np.float64)
    windowed, full = (len(layers) for layers in config.kinds)
    matrices = 3 if config.activation is None else 2
    linear = 2 * patches * embed * (4 * embed + matrices * config.mlp)
    squares = full * float(patches) ** 2 + windowed * float((windows**2).sum())
    joined = embed * config.merge**2
    merger = 2 * patches / config.merge**2 * joined * (joined + config.output)
    mergers = (1 + len(config.deep_layers)) * merger
    patch_embed = 2 * patches * config.channels * config.patch**2 * embed
    return patch_embed + config.layers * linear + 4 * embed * squares + mergers


def _clip_vision(config: ClipConfig, grid: tuple[int, int], output: int) -> float:
    patches = grid[0] * grid[1]
    projector = 2 * patches * output * (config.embed + output)
    return _plain_tower(config, patches) + projector


def _intern_vision(config: InternVisionConfig, grid: tuple[int, int]) -> float:
    patches = config.side**2
    tiles = grid[0] * grid[1] // patches
    joined = config.embed * config.merge**2
    projector = 2 * patches / config.merge**2 * config.output * (joined + config.output)
    return tiles * (_plain_tower(config, patches) + projector)


def _plain_tower(config: ClipConfig | InternVisionConfig, patches: int) -> float:
    """A tower of full attention and two-layer MLPs over the patches and a class token."""
    embed, tokens = config.embed, patches + 1
    linear = 2 * tokens * embed * (4 * embed + 2 * config.mlp)
    patch_embed = 2 * patches * config.channels * config.patch**2 * embed
    return patch_embed + config.layers * (linear + 4 * embed * float(tokens) ** 2)


def _decoder(config: DecoderConfig, length: int, rows: np.ndarray) -> float:
    inner = config.heads * config.head_size
    shared = 2 * config.key_value_heads * config.head_size
    own = 2 * (2 * config.embed * inner + 3 * config.embed * config.mlp)
    key_value = 2 * config.embed * shared
    layer = length * (own + key_value) + 4 * inner * length * (length + 1) / 2
    last = len(rows) * own + length * key_value + 4 * inner * float((rows + 1).sum())
    head = 2 * len(rows) * config.embed * config.vocabulary
    return (config.layers - 1) * layer + last + head
