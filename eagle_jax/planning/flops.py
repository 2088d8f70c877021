"""Floating-point operations of scored masks, counted from the model's configuration."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.models.layers.decoder import DecoderConfig
from eagle_jax.scoring.reuse import beginning, in_chains


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


def chained_flops(
    config: Any,
    plan: ImagePlan,
    rows: Int[np.ndarray, " t"],
    sets: Bool[np.ndarray, "c n"],
    count: int,
) -> float:
    """Operations that masked images need together where they reuse what they share.

    One image after the other, as `eagle_jax.scoring.reuse` goes through them; counted as
    `forward_flops` counts. Programs are compiled for each number of rows and regions.

    Args:
      config: of a model whose tiles become visual tokens each by itself.
      plan: the image and its regions.
      rows: sequence positions whose outputs are read.
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter.

    Returns:
      The number of operations.
    """
    tiles, begins = (np.asarray(each) for each in _turns(plan, sets, count))
    per_tile = plan.tokens // tiles.shape[1]
    side = config.vision.side
    vision = config.vision_flops((side, side)) * float(tiles[:count].sum())
    numbers, times = np.unique(begins[:count] * per_tile, return_counts=True)
    length = int(rows.max()) + 1
    return vision + sum(
        float(n) * _decoder(config.decoder, length, rows, int(first))
        for first, n in zip(numbers, times, strict=True)
    )


@jax.jit
def _turns(plan, sets, count):
    _, _, changed = in_chains(plan, sets, count, 1)
    return changed[:, 0], jax.vmap(functools.partial(beginning, plan))(changed)


def _decoder(config: DecoderConfig, length: int, rows: np.ndarray, first: int = 0) -> float:
    """From token ``first`` on, over the keys and values of those in front."""
    inner = config.heads * config.head_size
    shared = 2 * config.key_value_heads * config.head_size
    own = 2 * (2 * config.embed * inner + 3 * config.embed * config.mlp)
    key_value = 2 * config.embed * shared
    tokens = length - first
    seen = (length * (length + 1) - first * (first + 1)) / 2
    layer = tokens * (own + key_value) + 4 * inner * seen
    last = len(rows) * own + tokens * key_value + 4 * inner * float((rows + 1).sum())
    head = 2 * len(rows) * config.embed * config.vocabulary
    return (config.layers - 1) * layer + last + head
