"""Greedy decoding with a key/value cache, as one program."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eagle_jax.models.layers.caching import prefill, step


def generate(
    model: Any,
    embeddings: Float[Array, "b s wide"],
    positions: Int[Array, "3 s"],
    length: Int[Array, ""],
    end_ids: Int[Array, " x"],
    max_new_tokens: int,
    *,
    settling: tuple[Int[Array, " y"], Int[Array, " z"]] | None = None,
) -> Int[Array, "b m"]:
    """Continues each prompt with its most likely token, until an end token or the limit.

    Args:
      model: a model of this package; its ``decoder`` is used.
      embeddings: embedded prompts of one length, padded at the end.
      positions: temporal, row and column position of each token of the padded prompts.
      length: number of real prompt tokens.
      end_ids: tokens that end an answer.
      max_new_tokens: limit ``m`` of the length of an answer; static.
      settling: two sets of token ids: tokens that settle the answer, and tokens that continue
        a word (hyphens). An answer then ends one token after a token of the first set, unless
        that one token is in the second set. None to let answers run to their end.

    Returns:
      The new token ids. The last token of an answer is included; -1 stands after it.
    """
    decoder = model.decoder
    batch = embeddings.shape[0]
    hidden, cache = prefill(decoder, embeddings, positions, length - 1, max_new_tokens)
    first = jnp.argmax(decoder.logits(hidden[:, 0]), axis=-1).astype(jnp.int32)
    ids = jnp.full((batch, max_new_tokens), -1, jnp.int32).at[:, 0].set(first)
    next_position = jax.lax.dynamic_index_in_dim(positions, length - 1, axis=1) + 1
    done = jnp.isin(first, end_ids)

    def unfinished(state):
        count, _, _, _, done = state
        return (count < max_new_tokens) & ~jnp.all(done)

    def extend(state):
        count, last, ids, cache, done = state
        x = decoder.embed(last)[:, None]
        position, index = next_position + count - 1, length + count - 1
        hidden, cache = step(decoder, x, position, cache, index)
        token = jnp.argmax(decoder.logits(hidden[:, 0]), axis=-1).astype(jnp.int32)
        ids = ids.at[:, count].set(jnp.where(done, -1, token))
        done = done | jnp.isin(token, end_ids)
        if settling is not None:
            done = done | (jnp.isin(last, settling[0]) & ~jnp.isin(token, settling[1]))
        return count + 1, token, ids, cache, done

    state = (jnp.int32(1), first, ids, cache, done)
    return jax.lax.while_loop(unfinished, extend, state)[2]
