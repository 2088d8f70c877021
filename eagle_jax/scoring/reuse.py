"""Exact reuse between masked images in models that read an image tile by tile.

Hiding a region changes a few tiles. In a network with `tiles_apart`, each tile becomes visual
tokens independently, and a causal decoder reads the tiles in their order. A tile that is the
same as in the previous masked image keeps its visual tokens, and all tokens before the first
changed tile keep their keys and values. So masked images are scored as a chain, where each
image starts from the results of the previous image. Nothing is approximated: only work whose
result is known is left out. A batch of b masked images is b chains side by side.

The order of the sets decides how much neighbours share. The best is the order of a dictionary
whose letters are the regions, those in the first tile first: each prefix that several masked
images have in common is then decoded once. The order does not depend on the search.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.inputs.reach import blocks_reached
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.caching import SequenceCache, empty_cache, resume
from eagle_jax.scoring.question import Question

# The decoder is compiled once for each tile at which it can begin.
_MOST_BEGINNINGS = 6


class Chain(NamedTuple):
    """Visual tokens, keys and values of a batch of masked images, for the next batch."""

    visual: Float[Array, "b v e"]
    kept: SequenceCache


def reuses(network: Network, plan: ImagePlan) -> bool:
    """Whether masked images are scored as chains; decided before compilation.

    Args:
      network: the model's modules.
      plan: the image and its regions.
    """
    return network.tiles_apart and _tiles(plan) > 1


def in_chains(
    plan: ImagePlan,
    sets: Bool[Array, "c n"],
    count: Int[Array, ""],
    batch_size: int,
    shards: int,
) -> tuple[Int[Array, " c"], Bool[Array, "m b n"], Bool[Array, "m b i"]]:
    """Sorts sets into batches so that each shares much with the same row of the batch before.

    The sets are ranked by `dictionary_order`, and each shard scores a run of consecutive ranks.
    The rows of a shard hold neighbouring ranks, so that all of them begin to differ from the
    batch before at about the same tile. Nine sets, a batch size of 4 and 2 shards make these
    batches of ranks:

                 shard 0   shard 1
        batch 0   0   1  |  6   7
        batch 1   2   3  |  8   8
        batch 2   4   5  |  8   8

    Each shard has 2 rows of a batch, so its run has 3 * 2 ranks. Rank 7 is in shard 7 // 6 = 1,
    in batch 7 % 6 // 2 = 0 and there in the shard's row 7 % 2 = 1, which is place
    0 * 4 + 1 * 2 + 1 = 3 of all rows. Spare rows repeat the last set, which changes no tile.

    Args:
      plan: the image and its regions.
      sets: one row per masked image, True for a visible region.
      count: number of rows to score; the other rows are ignored.
      batch_size: number of masked images in a batch.
      shards: number of equal parts of a batch that do not wait for each other.

    Returns:
      For each of the first ``count`` sets its place among the rows of all batches; the batches
      of sets; and for each row the tiles that differ from the batch before.
    """
    reached = blocks_reached(plan, sets.shape[1])
    order = dictionary_order(sets, count, reached)
    batches, rows = -(-len(sets) // batch_size), batch_size // shards
    run = jnp.maximum(-(-count // batch_size), 1) * rows
    batch, shard, row = jnp.ix_(jnp.arange(batches), jnp.arange(shards), jnp.arange(rows))
    ranks = jnp.minimum(shard * run + batch * rows + row, count - 1)
    batched = sets[order[ranks]].reshape(batches, batch_size, -1)
    rank = jnp.argsort(order)
    places = rank % run // rows * batch_size + rank // run * rows + rank % rows
    return places, batched, changed_tiles(batched, reached)


def dictionary_order(
    sets: Bool[Array, "m n"], count: Int[Array, ""], reached: Bool[Array, "i n"]
) -> Int[Array, " m"]:
    """The order in which each set shares most with the set before.

    Args:
      sets: one row per masked image, True for a visible region.
      count: number of rows to score; the other rows come last.
      reached: tiles that each region reaches, `eagle_jax.inputs.reach.blocks_reached`.

    Returns:
      Row numbers, in order.
    """
    letters = jnp.argsort(jnp.argmax(reached, axis=0), stable=True)
    ignored = jnp.arange(len(sets)) >= count
    words = jnp.concatenate([ignored[:, None], sets[:, letters]], axis=1)

    def sort_by(i, order):
        letter = words[order, words.shape[1] - 1 - i]
        return order[jnp.argsort(letter, stable=True)]

    return jax.lax.fori_loop(0, words.shape[1], sort_by, jnp.arange(len(sets)))


def changed_tiles(
    sets: Bool[Array, "m b n"], reached: Bool[Array, "i n"]
) -> Bool[Array, "m b i"]:
    """Tiles of each masked image that differ from the previous image of its chain.

    Args:
      sets: batches of sets, in the order in which they are scored.
      reached: tiles that each region reaches.
    """
    differ = (sets[1:] ^ sets[:-1]).astype(jnp.float32)
    changed = jnp.einsum("mbn,in->mbi", differ, reached.astype(jnp.float32)) > 0
    return jnp.concatenate([jnp.ones((1, *changed.shape[1:]), bool), changed])


def beginning(plan: ImagePlan, changed: Bool[Array, "b i"]) -> Int[Array, ""]:
    """The tile at which the decoder begins: no tile before it has changed.

    Args:
      plan: the image and its regions.
      changed: tiles of a batch that differ from the batch before.
    """
    tiles = _beginnings(plan)
    # The last tile, the thumbnail, shows every region.
    first = jnp.argmax(changed.any(axis=0).at[-1].set(True))
    return jnp.minimum(first // tiles.step * tiles.step, tiles[-1])


def first_chain(network: Network, question: Question, batch: int) -> Chain:
    """An empty chain, for a first batch in which all tiles count as changed.

    Args:
      network: the model's modules.
      question: the question about the image.
      batch: number of masked images in a batch.
    """
    kept = empty_cache(network.decoder, batch, len(question.ids))
    shape = batch, question.plan.tokens, network.config.decoder.embed
    return Chain(jnp.zeros(shape, kept.keys.dtype), kept)


def follow(
    network: Network,
    question: Question,
    patches: Float[Array, "b p c"],
    changed: Bool[Array, "b i"],
    chain: Chain,
) -> tuple[Float[Array, "b t e"], Chain]:
    """Computes what is new in the next batch of masked images.

    Args:
      network: the model's modules.
      question: the question about the image.
      patches: normalised pixels of each masked image.
      changed: tiles that differ from the batch before.
      chain: chain after the batch before.

    Returns:
      Hidden states at the question's rows, the same as without reuse, and the next chain.
    """
    with jax.named_scope("vision"):
        visual = _see(network, question, patches, changed, chain.visual)
    with jax.named_scope("decoder"):
        embeddings = network.embed(question.ids, visual, question.start)
        hidden, kept = _read(network, question, embeddings, changed, chain.kept)
    return hidden, Chain(visual, kept)


def _see(network, question: Question, patches, changed, visual) -> Array:
    """The visual tokens; those of changed tiles are computed, one tile after the other."""
    changed = changed.reshape(-1)
    tiles = patches.reshape(len(changed), -1, patches.shape[-1])
    tokens = visual.reshape(len(changed), -1, visual.shape[-1])
    changed_first = jnp.argsort(~changed, stable=True)

    def see(i, tokens):
        tile = changed_first[i]
        new = network.visual_tokens(tiles[tile][None], question.layout)
        return tokens.at[tile].set(new[0].astype(tokens.dtype))

    return jax.lax.fori_loop(0, changed.sum(), see, tokens).reshape(visual.shape)


def _read(
    network, question: Question, embeddings, changed, kept
) -> tuple[Array, SequenceCache]:
    """Runs the decoder from the first tile at which it has to begin."""
    tokens = question.plan.tokens // _tiles(question.plan)
    begin = beginning(question.plan, changed)

    def read_from(tile, _, state):
        # The tile's tokens stand a little later, behind the text before the image.
        skipped = tile * tokens
        rest, positions = embeddings[:, skipped:], question.positions[:, skipped:]
        return resume(network.decoder, rest, positions, state[1], question.rows)

    shape = len(changed), len(question.rows), embeddings.shape[-1]
    state = jnp.zeros(shape, embeddings.dtype), kept
    for tile in _beginnings(question.plan):
        # A loop of one turn or none. `jax.lax.switch` would copy the keys and values of all
        # layers on the way in and on the way out; a loop changes them in place.
        read = functools.partial(read_from, tile)
        state = jax.lax.fori_loop(0, jnp.int32(begin == tile), read, state)
    return state


def _beginnings(plan: ImagePlan) -> range:
    others = _tiles(plan) - 1
    return range(0, others, -(-others // _MOST_BEGINNINGS))


def _tiles(plan: ImagePlan) -> int:
    return sum(math.prod(view.blocks) for view in plan.views)
