"""Rules of generation_config.json that change which token is the most likely one."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

# On the host, and then on the device.
Values = Array | np.ndarray


class Biases(NamedTuple):
    """What is added to the logit of a token where the tokens before it are given ones.

    Attributes:
      before: tokens that must stand before, aligned at the end, -1 where any token may stand.
      token: token whose logit is changed.
      bias: number to add, minus infinity to forbid the token.
    """

    before: Int[Values, "k n"]
    token: Int[Values, " k"]
    bias: Float[Values, " k"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "biases",
        "prompt_penalty",
        "penalty",
        "bad_words",
        "ending",
        "min_new_tokens",
        "forced_end",
        "decay",
        "suppressed",
        "suppressed_first",
    ],
    meta_fields=["ngram", "prompt_ngram", "finite"],
)
@dataclasses.dataclass(frozen=True)
class LogitRules:
    """Rules for the next token, applied in this order; None and 0 stand for no rule.

    Rules that are absent are no part of the compiled program.

    Attributes:
      biases: what is added to the logits of tokens.
      prompt_penalty: number by which the logits of the prompt's tokens are multiplied if
        negative, and otherwise divided.
      penalty: the same for tokens of the prompt and of the answer.
      ngram: number n of tokens in a row that occur at most once in prompt and answer.
      prompt_ngram: the same for rows of tokens in the prompt.
      bad_words: tokens that are forbidden behind certain tokens.
      ending: tokens that end an answer, for `min_new_tokens` and `decay`.
      min_new_tokens: number of tokens before which the answer must not end.
      forced_end: tokens of which one is the last token of an answer that reaches its limit.
      finite: True to replace infinite logits, and those that are not numbers, by finite ones.
      decay: first, the number of tokens after which an end becomes more likely with each
        token; second, the factor by which it does.
      suppressed: tokens that are never said.
      suppressed_first: tokens with which an answer does not begin.

    References:
      transformers 5.24, `GenerationMixin._get_logits_processor`, whose order this is.
    """

    biases: Biases | None = None
    prompt_penalty: Float[Values, ""] | None = None
    penalty: Float[Values, ""] | None = None
    ngram: int = 0
    prompt_ngram: int = 0
    bad_words: Biases | None = None
    ending: Int[Values, " x"] | None = None
    min_new_tokens: Int[Values, ""] | None = None
    forced_end: Int[Values, " y"] | None = None
    finite: bool = False
    decay: Float[Values, " 2"] | None = None
    suppressed: Int[Values, " z"] | None = None
    suppressed_first: Int[Values, " w"] | None = None


def most_likely(
    rules: LogitRules | None,
    logits: Float[Array, "b v"],
    history: Int[Array, "b h"],
    length: Int[Array, ""],
    count: Int[Array, ""] | int,
    limit: int,
) -> Int[Array, " b"]:
    """The next token of each answer.

    Args:
      rules: rules for the next token; None takes the logits as they are.
      logits: logits of the next token.
      history: tokens of the prompt, then of the answer, up to ``length + count``.
      length: number of tokens of the prompt.
      count: number of tokens of the answer so far.
      limit: largest number of tokens of an answer.

    Returns:
      The token ids.
    """
    if rules is not None:
        logits = _ruled(rules, logits.astype(jnp.float32), history, length, count, limit)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32)


def _ruled(rules: LogitRules, logits, history, length, count, limit: int) -> Array:
    vocabulary, now = logits.shape[-1], length + count
    if rules.biases is not None:
        logits = logits + _bias(rules.biases, vocabulary, history, now)
    for penalty, end in ((rules.prompt_penalty, length), (rules.penalty, now)):
        if penalty is not None:
            held = _tokens_where(jnp.arange(history.shape[1]) < end, history, vocabulary)
            penalised = jnp.where(logits < 0, logits * penalty, logits / penalty)
            logits = jnp.where(held, penalised, logits)
    for size, end in ((rules.ngram, now), (rules.prompt_ngram, length)):
        if size:
            logits = _forbid(logits, _repeating(size, vocabulary, history, now, end))
    if rules.bad_words is not None:
        logits = logits + _bias(rules.bad_words, vocabulary, history, now)
    ending = None if rules.ending is None else _mask(rules.ending, vocabulary)
    if ending is not None and rules.min_new_tokens is not None:
        logits = _forbid(logits, ending & (count < rules.min_new_tokens))
    if rules.forced_end is not None:
        forced = jnp.where(_mask(rules.forced_end, vocabulary), 0.0, -jnp.inf)
        logits = jnp.where(count == limit - 1, forced, logits)
    if rules.finite:
        largest = jnp.finfo(jnp.float32).max
        logits = jnp.nan_to_num(logits, nan=0.0, posinf=largest, neginf=-largest)
    if ending is not None and rules.decay is not None:
        over = count - rules.decay[0]
        raised = jnp.abs(logits) * (rules.decay[1] ** over - 1)
        logits = jnp.where(ending & (over > 0) & jnp.isfinite(logits), logits + raised, logits)
    if rules.suppressed is not None:
        logits = _forbid(logits, _mask(rules.suppressed, vocabulary))
    if rules.suppressed_first is not None:
        first = _mask(rules.suppressed_first, vocabulary)
        logits = _forbid(logits, first & (count == 0))
    return logits


def _forbid(logits, tokens: Bool[Array, "*b v"]):
    return jnp.where(tokens, -jnp.inf, logits)


def _mask(tokens, vocabulary: int) -> Bool[Array, " v"]:
    return jnp.zeros(vocabulary, bool).at[tokens].set(True, mode="drop")


def _tokens_where(chosen, tokens, vocabulary: int) -> Bool[Array, "b v"]:
    """Which tokens of the vocabulary stand at the chosen places."""
    row = jnp.arange(tokens.shape[0])[:, None]
    # The last column is for what is not chosen, and for tokens that have no logit.
    column = jnp.where(chosen, jnp.minimum(tokens, vocabulary), vocabulary)
    held = jnp.zeros((tokens.shape[0], vocabulary + 1), bool)
    return held.at[row, column].set(True)[:, :vocabulary]


def _latest(history, now, number: int):
    """The latest tokens; -2, which is no token, before the first one."""
    place = now - number + jnp.arange(number)
    return jnp.where(place >= 0, history[:, jnp.maximum(place, 0)], -2)


def _repeating(size: int, vocabulary: int, history, now, end) -> Bool[Array, "b v"]:
    """Tokens that would complete a row of tokens that stands before ``end`` already."""
    windows = history.shape[1] - size + 1
    places = jnp.arange(windows)[:, None] + jnp.arange(size)
    rows = history[:, places]
    same = jnp.all(rows[..., :-1] == _latest(history, now, size - 1)[:, None], axis=-1)
    return _tokens_where(same & (places[:, -1] < end), rows[..., -1], vocabulary)


def _bias(biases: Biases, vocabulary: int, history, now) -> Float[Array, "b v"]:
    latest = _latest(history, now, biases.before.shape[1])[:, None]
    applies = jnp.all((biases.before == -1) | (biases.before == latest), axis=-1)
    added = jnp.where(applies, biases.bias, 0.0)
    return jnp.zeros((len(history), vocabulary)).at[:, biases.token].add(added)
