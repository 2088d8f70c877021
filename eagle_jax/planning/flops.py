"""Floating-point operations of one scored mask, counted from the model's configuration."""

from typing import Any

import numpy as np
from jaxtyping import Int

from eagle_jax.models.layers.decoder import DecoderConfig


def forward_flops(config: Any, grid: tuple[int, int], rows: Int[np.ndarray, " t"]) -> float:
    """Operations that one masked image needs, a multiplication and an addition being two.

    Counted: patch embedding, vision layers, merger or projector, decoder layers over the
    sequence up to the last row, the last layer's query, output and MLP at the target rows
    alone, causal attention, and the head at the target rows. Norms, activations, rotations,
    the resize and padding are not.

    Args:
      config: of the model, with its ``decoder`` and ``vision_flops``.
      grid: rows and columns of patches.
      rows: sequence positions whose outputs are read.

    Returns:
      The number of operations.
    """
    return config.vision_flops(grid) + _decoder(config.decoder, int(rows.max()) + 1, rows)


def _decoder(config: DecoderConfig, length: int, rows: np.ndarray) -> float:
    inner = config.heads * config.head_size
    shared = 2 * config.key_value_heads * config.head_size
    own = 2 * (2 * config.embed * inner + 3 * config.embed * config.mlp)
    key_value = 2 * config.embed * shared
    layer = length * (own + key_value) + 4 * inner * length * (length + 1) / 2
    last = len(rows) * own + length * key_value + 4 * inner * float((rows + 1).sum())
    head = 2 * len(rows) * config.embed * config.vocabulary
    return (config.layers - 1) * layer + last + head
