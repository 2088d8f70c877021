"""Exact reuse between masked images that a model reads tile after tile.

Hiding one region changes a few tiles. Where tiles become visual tokens each by itself and enter
a causal decoder in their order, every tile that is as it was in the image before keeps its
tokens, and everything in front of the first tile that is not keeps its keys and values. So
masked images are scored as a chain, each from what the one before left behind. Nothing is
approximated: only work whose result is known is left out. A batch of b images is b chains side
by side.

The order decides how much neighbours share. The best is that of a dictionary whose letters are
the regions, those of the first tile first: each beginning that several images have in common is
then decoded once. It takes no knowledge of what a search is after.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.inputs.patches import ImagePlan, blocks_reached
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.decoder import Kept
from eagle_jax.scoring.question import Question

# For each place that the decoder can begin at it is compiled once more.
_MOST_BEGINNINGS = 6


class Chain(NamedTuple):
    """What a batch of masked images leaves behind for the next one."""

    visual: Float[Array, "b v e"]
    kept: Kept


def reuses(network: Network, plan: ImagePlan) -> bool:
    """Whether masked images of a plan are scored as a chain; decided before compilation.

    Args:
      network: the model's modules.
      plan: the image.
    """
    return network.tiles_apart and _tiles(plan) > 1


def in_chains(
    plan: ImagePlan,
    sets: Bool[Array, "c n"],
    count: Int[Array, ""],
    batch_size: int,
    shards: int,
) -> tuple[Int[Array, " c"], Bool[Array, "m b n"], Bool[Array, "m b i"]]:
    """Sorts sets so that they share much with those before, and says what they do not.

    Args:
      plan: the image.
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter.
      batch_size: images side by side.
      shards: parts of a batch that do not wait for each other. Each goes through a run of
        neighbours of its own; within a part neighbours are side by side, so that the decoder
        begins where they begin to differ from those before.

    Returns:
      Of each row that matters its place among the rows of all batches; the batches of sets; and
      the tiles of each that differ from the batch before.
    """
    reached = blocks_reached(plan, sets.shape[1])
    order = dictionary_order(sets, count, reached)
    batches, own = -(-len(sets) // batch_size), batch_size // shards
    run = jnp.maximum(-(-count // batch_size), 1) * own
    turn, part, place = jnp.ix_(jnp.arange(batches), jnp.arange(shards), jnp.arange(own))
    # What fills up the last ones is the last set again, which changes the least.
    ranks = jnp.minimum(part * run + turn * own + place, count - 1)
    batched = sets[order[ranks]].reshape(batches, batch_size, -1)
    rank = jnp.argsort(order)
    places = rank % run // own * batch_size + rank // run * own + rank % own
    return places, batched, changed_tiles(batched, reached)


def dictionary_order(
    sets: Bool[Array, "m n"], count: Int[Array, ""], reached: Bool[Array, "i n"]
) -> Int[Array, " m"]:
    """The order in which sets share the most with the set before.

    Args:
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter; the others come last.
      reached: the tiles that each region reaches, `eagle_jax.inputs.patches.blocks_reached`.

    Returns:
      Numbers of rows.
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
    """Which tiles of each image differ from those of the one before in its chain.

    Args:
      sets: batches of masked images, in the order in which they are scored.
      reached: the tiles that each region reaches.
    """
    differ = (sets[1:] ^ sets[:-1]).astype(jnp.float32)
    changed = jnp.einsum("mbn,in->mbi", differ, reached.astype(jnp.float32)) > 0
    return jnp.concatenate([jnp.ones((1, *changed.shape[1:]), bool), changed])


def beginning(plan: ImagePlan, changed: Bool[Array, "b i"]) -> Int[Array, ""]:
    """The tile at which the decoder begins: none in front of it has changed.

    Args:
      plan: the image.
      changed: tiles of a batch that differ from those of the batch before.
    """
    tiles = _beginnings(plan)
    # The last tile, the thumbnail, shows every region.
    first = jnp.argmax(changed.any(axis=0).at[-1].set(True))
    return jnp.minimum(first // tiles.step * tiles.step, tiles[-1])


def first_chain(network: Network, question: Question, batch: int) -> Chain:
    """An empty chain, for a first batch of which all tiles are said to have changed.

    Args:
      network: the model's modules.
      question: what is asked about the image.
      batch: number of images side by side.
    """
    kept = network.decoder.room(batch, len(question.ids))
    shape = batch, question.plan.tokens, network.config.decoder.embed
    return Chain(jnp.zeros(shape, kept.keys.dtype), kept)


def follow(
    network: Network,
    question: Question,
    patches: Float[Array, "b p c"],
    changed: Bool[Array, "b i"],
    chain: Chain,
) -> tuple[Float[Array, "b t e"], Chain]:
    """Reads the next batch of masked images, and of these only what is new.

    Args:
      network: the model's modules.
      question: what is asked about the image.
      patches: normalised pixels.
      changed: tiles that differ from those of the last batch.
      chain: what this left.

    Returns:
      Hidden states at the question's rows, as without reuse, and what the next batch needs.
    """
    with jax.named_scope("vision"):
        visual = _see(network, question, patches, changed, chain.visual)
    with jax.named_scope("decoder"):
        embeddings = network.embed(question.ids, visual, question.start)
        hidden, kept = _read(network, question, embeddings, changed, chain.kept)
    return hidden, Chain(visual, kept)


def _see(network, question: Question, patches, changed, visual) -> Array:
    """The visual tokens, those of changed tiles anew, one tile after the other."""
    changed = changed.reshape(-1)
    tiles = patches.reshape(len(changed), -1, patches.shape[-1])
    tokens = visual.reshape(len(changed), -1, visual.shape[-1])
    changed_first = jnp.argsort(~changed, stable=True)

    def see(i, tokens):
        tile = changed_first[i]
        new = network.visual_tokens(tiles[tile][None], question.layout)
        return tokens.at[tile].set(new[0].astype(tokens.dtype))

    return jax.lax.fori_loop(0, changed.sum(), see, tokens).reshape(visual.shape)


def _read(network, question: Question, embeddings, changed, kept) -> tuple[Array, Kept]:
    """The decoder, from where it can begin with what is kept."""
    tokens = question.plan.tokens // _tiles(question.plan)
    begin = beginning(question.plan, changed)

    def read_from(tile, _, state):
        # The tile's own tokens stand a little later, behind the text in front of the image.
        skipped = tile * tokens
        rest, positions = embeddings[:, skipped:], question.positions[:, skipped:]
        return network.decoder.resume(rest, positions, state[1], question.rows)

    shape = len(changed), len(question.rows), embeddings.shape[-1]
    state = jnp.zeros(shape, embeddings.dtype), kept
    for tile in _beginnings(question.plan):
        # One turn or none. `jax.lax.switch` would copy the keys and values of all layers on the
        # way in and on the way out; a loop changes them in place.
        read = functools.partial(read_from, tile)
        state = jax.lax.fori_loop(0, jnp.int32(begin == tile), read, state)
    return state


def _beginnings(plan: ImagePlan) -> range:
    others = _tiles(plan) - 1
    return range(0, others, -(-others // _MOST_BEGINNINGS))


def _tiles(plan: ImagePlan) -> int:
    return sum(math.prod(view.blocks) for view in plan.views)
