"""Greedy decoding with a key/value cache, as one program."""

from collections.abc import Callable
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
    hidden, cache = prefill(decoder, embeddings, positions, length - 1, max_new_tokens)
    next_position = jax.lax.dynamic_index_in_dim(positions, length - 1, axis=1) + 1

    def advance(token, count, cache):
        x = decoder.embed(token)[:, None]
        position, index = next_position + count - 1, length + count - 1
        hidden, cache = step(decoder, x, position, cache, index)
        return decoder.logits(hidden[:, 0]), cache

    if rules is None or prompt_ids is None:
        # Nobody reads it: no token then needs its predecessors.
        prompt_ids = jnp.zeros(0, jnp.int32)
    return continue_greedily(
        decoder.logits(hidden[:, 0]),
        cache,
        advance,
        length,
        end_ids,
        max_new_tokens,
        prompt_ids=prompt_ids,
        settling=settling,
        thinking=thinking,
        rules=rules,
    )


def continue_greedily(
    logits: Float[Array, "b w"],
    state: Any,
    advance: Callable[[Any, Any, Any], tuple[Any, Any]],
    length: Int[Array, ""],
    end_ids: Int[Array, " x"],
    max_new_tokens: int,
    *,
    prompt_ids: Int[Array, " s"],
    settling: Settling | None = None,
    thinking: Bool[Array, ""] | bool = False,
    rules: LogitRules | None = None,
) -> Int[Array, "b m"]:
    """The loop of `generate`, for any way to get the next logits.

    Args:
      logits: logits of the first new token.
      state: what `advance` needs.
      advance: from the last new token of each prompt, the number of new tokens so far and the
        state, to the logits of the next token and the next state.
      length, end_ids, max_new_tokens, prompt_ids: as for `generate`.
      settling, thinking, rules: as for `generate`.

    Returns:
      The new token ids, as of `generate`.
    """
    batch = logits.shape[0]
    history = jnp.pad(prompt_ids.astype(jnp.int32), (0, max_new_tokens))
    history = jnp.broadcast_to(history, (batch, len(history)))

    def next_token(logits, history, count):
        token = most_likely(rules, logits, history, length, count, max_new_tokens)
        if rules is not None:
            history = history.at[:, length + count].set(token)
        return token, history

    first, history = next_token(logits, history, 0)
    ids = jnp.full((batch, max_new_tokens), -1, jnp.int32).at[:, 0].set(first)
    done = jnp.isin(first, end_ids)
    thinking = jnp.broadcast_to(jnp.asarray(thinking), (batch,))

    def unfinished(loop):
        count, done = loop[0], loop[-1]
        return (count < max_new_tokens) & ~jnp.all(done)

    def extend(loop):
        count, last, ids, state, history, thinking, done = loop
        logits, state = advance(last, count, state)
        token, history = next_token(logits, history, count)
        ids = ids.at[:, count].set(jnp.where(done, -1, token))
        done = done | jnp.isin(token, end_ids)
        if settling is not None:
            thinking = thinking | jnp.isin(last, settling.opening)
            thinking = thinking & ~jnp.isin(last, settling.closing)
            settled = jnp.isin(last, settling.words) & ~jnp.isin(token, settling.joints)
            done = done | (settled & ~thinking)
        return count + 1, token, ids, state, history, thinking, done

    loop = (jnp.int32(1), first, ids, state, history, thinking, done)
    return jax.lax.while_loop(unfinished, extend, loop)[2]
