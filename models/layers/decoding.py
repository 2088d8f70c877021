"""Greedy decoding with a key/value cache, as one program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.models.layers.caching import prefill, step
from eagle_jax.models.layers.logit_rules import LogitRules, most_likely


class Settling(NamedTuple):
    """Tokens that end an answer early, because its first word is settled.

    Attributes:
      words: tokens that settle the answer.
      joints: tokens after which a word may continue, such as hyphens.
      opening: tokens with which a thought may begin; what follows does not settle the answer.
      closing: tokens that end a thought.
    """

    words: Int[Array | np.ndarray, " w"]
    joints: Int[Array | np.ndarray, " j"]
    opening: Int[Array | np.ndarray, " o"]
    closing: Int[Array | np.ndarray, " c"]


def generate(
    model: Any,
    embeddings: Float[Array, "b s wide"],
    positions: Int[Array, "3 s"],
    length: Int[Array, ""],
    end_ids: Int[Array, " x"],
    max_new_tokens: int,
    *,
    settling: Settling | None = None,
    thinking: Bool[Array, ""] | bool = False,
    rules: LogitRules | None = None,
    prompt_ids: Int[Array, " s"] | None = None,
) -> Int[Array, "b m"]:
    """Continues each prompt with its most likely token, until an end token or the limit.

    Args:
      model: a model of this package; its ``decoder`` is used.
      embeddings: embedded prompts of one length, padded at the end.
      positions: temporal, row and column position of each token of the padded prompts.
      length: number of real prompt tokens.
      end_ids: tokens that end an answer.
      max_new_tokens: limit ``m`` of the length of an answer; static.
      settling: tokens that end an answer early. It ends one token after one of the ``words``
        outside of a thought, unless that one token is among the ``joints``. None to let
        answers run to their end.
      thinking: True if the prompt ends inside a thought, which the answer has to close.
      rules: rules for the next token, which need `prompt_ids`; None for the most likely token.
      prompt_ids: token ids of the padded prompt, image tokens included.

    Returns:
      The new token ids. The last token of an answer is included; -1 stands after it.
    """
    decoder = model.decoder
    batch = embeddings.shape[0]
    if rules is None or prompt_ids is None:
        # Nobody reads it: no token then needs its predecessors.
        prompt_ids = jnp.zeros(0, jnp.int32)
    history = jnp.pad(prompt_ids.astype(jnp.int32), (0, max_new_tokens))
    history = jnp.broadcast_to(history, (batch, len(history)))

    def next_token(hidden, history, count):
        logits = decoder.logits(hidden[:, 0])
        token = most_likely(rules, logits, history, length, count, max_new_tokens)
        if rules is not None:
            history = history.at[:, length + count].set(token)
        return token, history

    hidden, cache = prefill(decoder, embeddings, positions, length - 1, max_new_tokens)
    first, history = next_token(hidden, history, 0)
    ids = jnp.full((batch, max_new_tokens), -1, jnp.int32).at[:, 0].set(first)
    next_position = jax.lax.dynamic_index_in_dim(positions, length - 1, axis=1) + 1
    done = jnp.isin(first, end_ids)
    thinking = jnp.broadcast_to(jnp.asarray(thinking), (batch,))

    def unfinished(state):
        count, done = state[0], state[-1]
        return (count < max_new_tokens) & ~jnp.all(done)

    def extend(state):
        count, last, ids, cache, history, thinking, done = state
        x = decoder.embed(last)[:, None]
        position, index = next_position + count - 1, length + count - 1
        hidden, cache = step(decoder, x, position, cache, index)
        token, history = next_token(hidden, history, count)
        ids = ids.at[:, count].set(jnp.where(done, -1, token))
        done = done | jnp.isin(token, end_ids)
        if settling is not None:
            thinking = thinking | jnp.isin(last, settling.opening)
            thinking = thinking & ~jnp.isin(last, settling.closing)
            settled = jnp.isin(last, settling.words) & ~jnp.isin(token, settling.joints)
            done = done | (settled & ~thinking)
        return count + 1, token, ids, cache, history, thinking, done

    state = (jnp.int32(1), first, ids, cache, history, thinking, done)
    return jax.lax.while_loop(unfinished, extend, state)[2]
