"""The decoder on the last tokens of a sequence, with cached keys and values of the others.

Two caches: `GenerationCache` grows by one token at a time (`prefill`, then `step`);
`SequenceCache` keeps a sequence of fixed length, whose tail changes (`resume`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from eagle_jax.kernels import attention
from eagle_jax.models.layers.decoder import Decoder, DecoderLayer, Rotation, add_deep_feature


class GenerationCache(NamedTuple):
    """Keys and values of all layers, for generation; those of the last layer stand apart."""

    keys: Float[Array, "l b u k d"]
    values: Float[Array, "l b u k d"]
    last_keys: Float[Array, "b u k d"]
    last_values: Float[Array, "b u k d"]


class SequenceCache(NamedTuple):
    """Keys and values of a whole sequence in all layers, for `resume`."""

    keys: Float[Array, "l b u k d"]
    values: Float[Array, "l b u k d"]


def prefill(
    decoder: Decoder,
    x: Float[Array, "b s wide"],
    positions: Int[Array, "3 s"],
    row: Int[Array, ""],
    new_tokens: int,
) -> tuple[Float[Array, "b 1 e"], GenerationCache]:
    """Runs a prompt and caches its keys and values.

    Args:
      decoder: the model's decoder.
      x: embedded prompts, as for `Decoder.hidden_states`.
      positions: temporal, row and column position of each token.
      row: position of the last token of the prompt.
      new_tokens: capacity of the cache behind the ``s`` tokens of the prompt.

    Returns:
      The hidden state at ``row``, and the cache.
    """
    rotation = decoder.rotation(positions)
    x, deep = decoder.split_deep_features(x)

    def run(x, scanned):
        i, layer = scanned
        x, keys_values = layer(x, rotation)
        return add_deep_feature(x, deep, i), keys_values

    x, (keys, values) = jax.lax.scan(run, x, (decoder.stacked_numbers, decoder.layers))
    x, (last_keys, last_values) = decoder.last(x, rotation, rows=row[None])

    def widen(a):
        return jnp.pad(a, [(0, 0)] * (a.ndim - 3) + [(0, new_tokens), (0, 0), (0, 0)])

    cache = GenerationCache(widen(keys), widen(values), widen(last_keys), widen(last_values))
    return decoder.norm(x), cache


def step(
    decoder: Decoder,
    x: Float[Array, "b 1 e"],
    positions: Int[Array, "3 1"],
    cache: GenerationCache,
    index: Int[Array, ""],
) -> tuple[Float[Array, "b 1 e"], GenerationCache]:
    """Runs one more token, whose key and value are cached at ``index``."""
    rotation = decoder.rotation(positions)

    def run(x, scanned):
        layer, keys, values = scanned
        return _step_layer(layer, x, rotation, keys, values, index)

    x, (keys, values) = jax.lax.scan(run, x, (decoder.layers, cache.keys, cache.values))
    x, last = _step_layer(decoder.last, x, rotation, cache.last_keys, cache.last_values, index)
    return decoder.norm(x), GenerationCache(keys, values, *last)


def _step_layer(layer: DecoderLayer, x, rotation: Rotation, keys, values, index):
    normed = layer.attention_norm(x)
    key, value = layer.attention.keys_values(normed, rotation)
    keys = jax.lax.dynamic_update_slice_in_dim(keys, key, index, axis=1)
    values = jax.lax.dynamic_update_slice_in_dim(values, value, index, axis=1)
    query = layer.attention.queries(normed, rotation)
    lengths = jnp.full(x.shape[0], index + 1, jnp.int32)
    attended = attention(query, keys, values, lengths=lengths)
    return layer.add_mlp(x + layer.attention.close(attended)), (keys, values)


def empty_cache(decoder: Decoder, batch: int, length: int) -> SequenceCache:
    """A cache of zeros for ``batch`` sequences of ``length`` tokens."""
    config = decoder.config
    shape = config.layers, batch, length, config.key_value_heads, config.head_size
    empty = jnp.zeros(shape, decoder.embedding.embedding.dtype)
    return SequenceCache(empty, empty)


def resume(
    decoder: Decoder,
    x: Float[Array, "b r e"],
    positions: Int[Array, "3 r"],
    cache: SequenceCache,
    rows: Int[Array, " t"],
) -> tuple[Float[Array, "b t e"], SequenceCache]:
    """`Decoder.hidden_states` of a sequence of which only the last ``r`` tokens are new.

    Not for decoders with deep features.

    Args:
      decoder: the model's decoder.
      x: embeddings of the last ``r`` tokens, perhaps of the whole sequence.
      positions: temporal, row and column position of these tokens.
      cache: keys and values of the whole sequence; those of the tokens before ``x`` are read.
      rows: positions in the whole sequence. The output at a position before ``x`` is
        meaningless.

    Returns:
      Final, normed hidden states at the rows, and the cache with the keys and values of ``x``.
    """
    rotation = decoder.rotation(positions)

    def run(carried, scanned):
        x, cache = carried
        i, layer = scanned
        return _resume_layer(layer, i, x, rotation, cache), None

    numbers = decoder.stacked_numbers
    (x, cache), _ = jax.lax.scan(run, (x, cache), (numbers, decoder.layers))
    x, cache = _resume_layer(decoder.last, len(numbers), x, rotation, cache, rows)
    with jax.named_scope("head"):
        return decoder.norm(x), cache


def _resume_layer(
    layer: DecoderLayer,
    number: int | Array,
    x: Array,
    rotation: Rotation,
    cache: SequenceCache,
    rows: Array | None = None,
) -> tuple[Array, SequenceCache]:
    first = cache.keys.shape[2] - x.shape[1]
    normed = layer.attention_norm(x)
    new = layer.attention.keys_values(normed, rotation)
    # Written before it is read: the compiler then needs no second copy of the whole cache.
    start = (number, 0, first, 0, 0)
    cache = SequenceCache(
        *(
            jax.lax.dynamic_update_slice(cached, part[None], start)
            for cached, part in zip(cache, new, strict=True)
        )
    )
    key, value = cache.keys[number], cache.values[number]
    return layer.add_mlp(layer.attend_to(key, value, x, normed, rotation, rows=rows)), cache
