"""Floating-point operations of one scored mask, counted from the model's configuration."""

import numpy as np

from eagle_jax.models.decoder import DecoderConfig
from eagle_jax.models.qwen_vit import VisionConfig, vision_layout


def forward_flops(
    vision: VisionConfig, decoder: DecoderConfig, grid: tuple[int, int], rows: np.ndarray
) -> float:
    """Operations that one masked image needs, a multiplication and an addition being two.

    Counted: patch embedding, vision layers, merger, decoder layers over the sequence up to
    the last row, the last layer's query, output and MLP at the target rows alone, causal
    attention, and the head at the target rows. Norms, activations, rotations, the resize
    and padding are not.

    Args:
        vision: Shape of the vision tower.
        decoder: Shape of the decoder.
        grid: Rows and columns of patches.
        rows: Sequence positions whose logits are read.

    Returns:
        The number of operations.
    """
    rows = np.asarray(rows)
    return _vision_flops(vision, grid) + _decoder_flops(decoder, int(rows.max()) + 1, rows)


def _vision_flops(config: VisionConfig, grid: tuple[int, int]) -> float:
    patches = grid[0] * grid[1]
    embed = config.embed
    windows = np.asarray(vision_layout(config, grid).lengths, dtype=np.float64)
    full = len(config.full_layers)
    linear = 2 * patches * embed * (3 * embed + embed + 3 * config.mlp)
    attention = (
        4
        * embed
        * (full * float(patches) ** 2 + (config.layers - full) * float((windows**2).sum()))
    )
    joined = embed * config.merge**2
    merger = 2 * patches / config.merge**2 * (joined * joined + joined * config.output)
    patch_embed = 2 * patches * config.channels * config.patch**2 * embed
    return patch_embed + config.layers * linear + attention + merger


def _decoder_flops(config: DecoderConfig, length: int, rows: np.ndarray) -> float:
    inner = config.heads * config.head_size
    shared = 2 * config.key_value_heads * config.head_size
    own = 2 * (2 * config.embed * inner + 3 * config.embed * config.mlp)
    key_value = 2 * config.embed * shared
    layer = length * (own + key_value) + 4 * inner * length * (length + 1) / 2
    last = len(rows) * own + length * key_value + 4 * inner * float((rows + 1).sum())
    head = 2 * len(rows) * config.embed * config.vocabulary
    return (config.layers - 1) * layer + last + head
