"""Floating-point operations of masked images, counted from the model's configuration."""

import functools
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.decoder import DecoderConfig
from eagle_jax.scoring.reuse import beginning, in_chains, reuses
from eagle_jax.scoring.scorer import padded_regions, padded_sets
from eagle_jax.search.sets import both_ways

# Number of steps of a search that are counted where images reuse what they share; for the other
# steps the operations are interpolated.
_COUNTED = 9


def forward_flops(config: Any, grid: tuple[int, int], rows: Int[np.ndarray, " t"]) -> float:
    """Operations that one masked image needs; a multiplication and an addition are two.

    Counted are patch embedding, vision layers, merger or projector, decoder layers over the
    sequence up to the last row, the last layer's query, output and MLP at the target rows
    alone, causal attention, and the head at the target rows. Norms, activations, rotations,
    the resize and padding are not counted.

    Args:
      config: the model's configuration, with ``decoder`` and ``vision_flops``.
      grid: rows and columns of patches.
      rows: sequence positions whose outputs are read.

    Returns:
      The number of operations.
    """
    return config.vision_flops(grid) + _decoder(config.decoder, int(rows.max()) + 1, rows)


def chained_flops(
    config: Any,
    image_plan: ImagePlan,
    rows: Int[np.ndarray, " t"],
    sets: Bool[np.ndarray, "c n"],
    *,
    batch_size: int = 1,
    shards: int = 1,
) -> float:
    """Operations that masked images need together where they reuse what they share.

    Batch after batch, in the order of `eagle_jax.scoring.reuse`; what fills up the last batch
    counts too. A program is compiled for each number of rows and regions.

    Args:
      config: configuration of a model that turns each tile into visual tokens by itself.
      image_plan: the image and its regions.
      rows: sequence positions whose outputs are read.
      sets: sets of one step, at most two for each region; True for a visible region.
      batch_size: number of images of a batch, over all devices.
      shards: number of devices that share a batch, each with its own part.

    Returns:
      The number of operations.
    """
    count, n = sets.shape
    sets = padded_sets(sets, 2 * padded_regions(n))
    turns = _turns(image_plan, sets, count, batch_size, shards)
    tiles, begins = (np.asarray(each)[: -(-count // batch_size)] for each in turns)
    per_tile = image_plan.tokens // tiles.shape[-1]
    side = config.vision.side
    vision = config.vision_flops((side, side)) * float(tiles.sum())
    numbers, times = np.unique(begins * per_tile, return_counts=True)
    length = int(rows.max()) + 1
    return vision + batch_size // shards * sum(
        float(n) * _decoder(config.decoder, length, rows, int(first))
        for first, n in zip(numbers, times, strict=True)
    )


@functools.partial(jax.jit, static_argnums=(3, 4))
def _turns(image_plan, sets, count, batch_size, shards):
    """Tiles that each batch reads anew, and where the decoder begins on each device."""
    _, _, changed = in_chains(image_plan, sets, count, batch_size, shards)
    by_device = changed.reshape(-1, batch_size // shards, changed.shape[-1])
    begins = jax.vmap(functools.partial(beginning, image_plan))(by_device)
    return changed, begins.reshape(-1, shards)


def search_batches(regions: int, batch_size: int) -> int:
    """Number of batches of an exact search, the last of each step perhaps not full.

    Args:
      regions: number of regions.
      batch_size: number of masked images of a batch, over all devices.
    """
    return sum(-(-2 * left // batch_size) for left in range(1, regions + 1))


def search_flops(
    network: Network,
    image_plan: ImagePlan,
    rows: Int[np.ndarray, " t"],
    regions: int,
    batch_size: int,
    mesh: tuple[int, int],
) -> float:
    """Operations of an exact search, what fills up batches included.

    Where masked images reuse what they share, some steps of a search in random order are
    counted and the other steps interpolated. Models with split weights reuse nothing.

    Args:
      network: the model's modules, or shapes in place of weights.
      image_plan: the image and its regions.
      rows: sequence positions whose outputs are read.
      regions: number of regions.
      batch_size: number of masked images of a batch, over all devices.
      mesh: devices along "data" and "model".

    Returns:
      The number of operations, over all devices.
    """
    data, model = mesh
    if model > 1 or not reuses(network, image_plan):
        forwards = search_batches(regions, batch_size) * batch_size
        return forwards * forward_flops(network.config, image_plan.grid, rows)
    image_plan = jax.device_put(image_plan)
    order, single = np.random.default_rng(0).permutation(regions), np.eye(regions, dtype=bool)
    steps = np.unique(np.linspace(0, regions - 1, _COUNTED).round().astype(int))
    counted = []
    for chosen in steps:
        sets = both_ways(single[order[:chosen]].any(0) | single[order[chosen:]])
        batches = {"batch_size": batch_size, "shards": data}
        counted.append(chained_flops(network.config, image_plan, rows, sets, **batches))
    return float(np.interp(np.arange(regions), steps, counted).sum())


def _decoder(config: DecoderConfig, length: int, rows: np.ndarray, first: int = 0) -> float:
    """Operations for the tokens from ``first`` on, which also attend to the tokens before."""
    inner = config.heads * config.head_size
    shared = 2 * config.key_value_heads * config.head_size
    local = 2 * (2 * config.embed * inner + 3 * config.embed * config.mlp)
    key_value = 2 * config.embed * shared
    tokens = length - first
    seen = (length * (length + 1) - first * (first + 1)) / 2
    layer = tokens * (local + key_value) + 4 * inner * seen
    last = len(rows) * local + tokens * key_value + 4 * inner * float((rows + 1).sum())
    head = 2 * len(rows) * config.embed * config.vocabulary
    return (config.layers - 1) * layer + last + head
