"""The causal language model: embeddings in, hidden states and log-probabilities out."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.kernels import attention, rotate
from eagle_jax.models.layers.building_blocks import GatedMLP, Linear, RMSNorm, stack

Rotation = tuple[Float[Array, "s f"], Float[Array, "s f"]]


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Llama, Qwen2 and Qwen3 differ in ``qkv_bias`` (Qwen2) and ``qk_norm``, a norm of each
    head's queries and keys (Qwen3). ``rope_sections`` says how many of the
    ``head_size / 2`` rotary frequencies follow the temporal, the row and the column
    position; plain one-dimensional positions have ``(head_size / 2, 0, 0)``. They follow each
    other in blocks, or take turns if ``rope_interleaved``. ``context`` is the longest sequence,
    prompt, image and answer together.

    Visual tokens of a model with ``deep_features`` bring so many more vectors; the first is
    added behind the first layer, the second behind the second, and so on. In `hidden_states`
    and `prefill` these stand behind each token's own numbers, zeros in the text's.
    """

    vocabulary: int
    context: int
    embed: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    mlp: int
    norm_eps: float
    rope_theta: float
    rope_sections: tuple[int, int, int]
    tied_head: bool
    qkv_bias: bool = False
    qk_norm: bool = False
    rope_interleaved: bool = False
    deep_features: int = 0


class Cache(NamedTuple):
    """Keys and values of all layers, for generation; the last layer is kept apart."""

    keys: Float[Array, "l b u k d"]
    values: Float[Array, "l b u k d"]
    last_keys: Float[Array, "b u k d"]
    last_values: Float[Array, "b u k d"]


class Kept(NamedTuple):
    """Keys and values of a whole sequence in all layers, for `Decoder.resume`."""

    keys: Float[Array, "l b u k d"]
    values: Float[Array, "l b u k d"]


class Attention(nnx.Module):
    """Grouped-query self-attention: the projections; the products are kernels'."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        inner = config.heads * config.head_size
        shared = config.key_value_heads * config.head_size
        bias = config.qkv_bias
        self.query = Linear(config.embed, inner, use_bias=bias, rngs=rngs)
        self.key = Linear(config.embed, shared, use_bias=bias, rngs=rngs)
        self.value = Linear(config.embed, shared, use_bias=bias, rngs=rngs)
        self.output = Linear(inner, config.embed, use_bias=False, rngs=rngs)
        self.head_size = config.head_size
        self.qk_norm = config.qk_norm
        if config.qk_norm:
            self.query_norm = RMSNorm(config.head_size, config.norm_eps)
            self.key_norm = RMSNorm(config.head_size, config.norm_eps)

    def __call__(self, x, rotation: Rotation):
        """Causal attention over a whole sequence, and its keys and values."""
        query, key, value = (self._heads(f(x)) for f in (self.query, self.key, self.value))
        norms = None
        if self.qk_norm:
            scales = self.query_norm.scale[...], self.key_norm.scale[...]
            norms = *scales, self.query_norm.eps
        attended = attention(query, key, value, causal=True, norms=norms, rotation=rotation)
        return self.close(attended), (self._turned(key, rotation), value)

    def queries(self, x, rotation: Rotation):
        query = self._heads(self.query(x))
        return rotate(self.query_norm(query) if self.qk_norm else query, rotation)

    def keys_values(self, x, rotation: Rotation):
        return self._turned(self._heads(self.key(x)), rotation), self._heads(self.value(x))

    def close(self, attended):
        return self.output(attended.reshape(*attended.shape[:2], -1))

    def _heads(self, x):
        return x.reshape(*x.shape[:2], -1, self.head_size)

    def _turned(self, key, rotation: Rotation):
        return rotate(self.key_norm(key) if self.qk_norm else key, rotation)


class DecoderLayer(nnx.Module):
    """Pre-norm attention and gated MLP, each with a residual."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.embed, config.norm_eps)
        self.mlp = GatedMLP(config.embed, config.mlp, use_bias=False, rngs=rngs)

    def __call__(self, x, rotation: Rotation, mask=None, rows=None):
        """The layer over a whole sequence; with ``rows``, its output at those rows only."""
        x, kept = self.attend(x, rotation, mask, rows)
        return self._finish(x), kept

    def attend(self, x, rotation: Rotation, mask=None, rows=None):
        """The first half of the layer: what its MLP is added to."""
        normed = self.attention_norm(x)
        if rows is None and mask is None:
            attended, kept = self.attention(normed, rotation)
            return x + attended, kept
        kept = self.attention.keys_values(normed, rotation)
        return self._look_back(x, normed, rotation, *kept, mask, rows), kept

    def resume(self, x, rotation: Rotation, kept: Kept, number: int | Array, rows=None):
        """Layer ``number`` over the last tokens of a sequence; ``rows`` are of all of it."""
        first = kept.keys.shape[2] - x.shape[1]
        normed = self.attention_norm(x)
        new = self.attention.keys_values(normed, rotation)
        # Written before it is read: the compiler then needs no second copy of all layers.
        place = (number, 0, first, 0, 0)
        kept = Kept(
            *(
                jax.lax.dynamic_update_slice(old, one[None], place)
                for old, one in zip(kept, new, strict=True)
            )
        )
        key, value = kept.keys[number], kept.values[number]
        return self._finish(self._look_back(x, normed, rotation, key, value, None, rows)), kept

    def _look_back(self, x, normed, rotation: Rotation, key, value, mask, rows):
        """Adds attention to the last tokens of a sequence, or to those of its ``rows``."""
        if rows is not None:
            if mask is None:
                mask = jnp.arange(key.shape[1]) <= rows[:, None]
            else:
                mask = mask[rows]
            # Rows of padding may lie in front of the tokens that are here.
            here = jnp.maximum(rows - (key.shape[1] - x.shape[1]), 0)
            x, normed = x[:, here], normed[:, here]
            rotation = (rotation[0][here], rotation[1][here])
        query = self.attention.queries(normed, rotation)
        attended = attention(query, key, value, causal=mask is None, mask=mask)
        return x + self.attention.close(attended)

    def openly(self, x, rotation: Rotation, change=0.0):
        """The layer over a whole sequence, and its attention weights, float32 (b, h, s, s).

        ``change`` is added to the weights: a gradient with respect to it, at zero, is one with
        respect to them.
        """
        normed = self.attention_norm(x)
        query = self.attention.queries(normed, rotation)
        key, value = self.attention.keys_values(normed, rotation)
        shared = query.shape[2] // key.shape[2]
        key, value = (jnp.repeat(a, shared, axis=2) for a in (key, value))
        scores = jnp.einsum("bshd,buhd->bhsu", query, key, preferred_element_type=jnp.float32)
        causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        scores = jnp.where(causal, scores * query.shape[-1] ** -0.5, -jnp.inf)
        weights = jax.nn.softmax(scores, axis=-1)
        attended = jnp.einsum("bhsu,buhd->bshd", (weights + change).astype(value.dtype), value)
        return self._finish(x + self.attention.close(attended)), weights

    def step(self, x, rotation: Rotation, keys, values, position):
        """One new token at ``position``, attending to the cached keys up to itself."""
        normed = self.attention_norm(x)
        key, value = self.attention.keys_values(normed, rotation)
        keys = jax.lax.dynamic_update_slice_in_dim(keys, key, position, axis=1)
        values = jax.lax.dynamic_update_slice_in_dim(values, value, position, axis=1)
        query = self.attention.queries(normed, rotation)
        lengths = jnp.full(x.shape[0], position + 1, jnp.int32)
        attended = attention(query, keys, values, lengths=lengths)
        return self._finish(x + self.attention.close(attended)), (keys, values)

    def _finish(self, x):
        return x + self.mlp(self.mlp_norm(x))


class Decoder(nnx.Module):
    """A stack of decoder layers between a token embedding and a vocabulary head.

    The last layer lives apart from the scanned stack, since scoring needs its output at
    the target rows alone.
    """

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embedding = nnx.Embed(config.vocabulary, config.embed, rngs=rngs)
        self.layers = stack(
            lambda rngs: DecoderLayer(config, rngs=rngs), config.layers - 1, rngs
        )
        self.last = DecoderLayer(config, rngs=rngs)
        self.norm = RMSNorm(config.embed, config.norm_eps)
        if not config.tied_head:
            self.head = nnx.Linear(config.embed, config.vocabulary, use_bias=False, rngs=rngs)

    def embed(self, ids: Int[Array, "*b"]) -> Float[Array, "*b e"]:
        """Token embeddings of ``ids``."""
        # Not `self.embedding(ids)`: that has the dtype the module was built with, float32,
        # whatever was loaded, and the whole decoder would follow.
        return self.embedding.embedding[...][ids]

    def hidden_states(
        self,
        x: Float[Array, "b s c"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
        mask: Bool[Array, "s s"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final, normed hidden states at the given rows.

        Args:
          x: embeddings of the whole sequence, image tokens included, and their deep features.
          positions: temporal, row and column position of each token.
          rows: sequence positions to return; None for all of them.
          mask: True where a row may see a column; None for causal.
        """
        rotation = self.rotation(positions)
        x, deep = self._parted(x)

        def run(x, scanned):
            i, layer = scanned
            return _deepened(layer(x, rotation, mask)[0], deep, i), None

        x, _ = jax.lax.scan(run, x, (self._numbers, self.layers))
        x, _ = self.last(x, rotation, mask, rows)
        with jax.named_scope("head"):
            return self.norm(x)

    def room(self, batch: int, length: int) -> Kept:
        """Where `resume` keeps the keys and values of so many sequences, still empty."""
        config = self.config
        shape = config.layers, batch, length, config.key_value_heads, config.head_size
        empty = jnp.zeros(shape, self.embedding.embedding.dtype)
        return Kept(empty, empty)

    def resume(
        self,
        x: Float[Array, "b r e"],
        positions: Int[Array, "3 r"],
        kept: Kept,
        rows: Int[Array, " t"],
    ) -> tuple[Float[Array, "b t e"], Kept]:
        """`hidden_states` of a sequence of which all but the last tokens are as they were.

        Not for decoders with deep features.

        Args:
          x: embeddings of the last ``r`` tokens, perhaps of all of them.
          positions: of these tokens.
          kept: the keys and values, of which those in front of ``x`` are read.
          rows: positions in the whole sequence, none in front of ``x``; there, an output is
            without meaning.

        Returns:
          Final, normed hidden states at the rows, and ``kept`` with the keys and values of
          ``x`` in their places.
        """
        rotation = self.rotation(positions)

        def run(carried, scanned):
            x, kept = carried
            i, layer = scanned
            return layer.resume(x, rotation, kept, i), None

        (x, kept), _ = jax.lax.scan(run, (x, kept), (self._numbers, self.layers))
        x, kept = self.last.resume(x, rotation, kept, self.config.layers - 1, rows)
        with jax.named_scope("head"):
            return self.norm(x), kept

    def layer_inputs(
        self, x: Float[Array, "b s c"], positions: Int[Array, "3 s"]
    ) -> tuple[Float[Array, "l b s e"], Float[Array, "b s e"]]:
        """What each layer of the stack reads, and what the last layer reads."""
        rotation = self.rotation(positions)
        x, deep = self._parted(x)

        def run(x, scanned):
            i, layer = scanned
            return _deepened(layer(x, rotation)[0], deep, i), x

        x, inputs = jax.lax.scan(run, x, (self._numbers, self.layers))
        return inputs, x

    def tap(
        self, x: Float[Array, "b s c"], positions: Int[Array, "3 s"], layer: int
    ) -> tuple[
        Float[Array, "b s e"],
        Callable[[Float[Array, "b s e"], Int[Array, " t"]], Float[Array, "b t e"]],
    ]:
        """What a layer's MLP reads, and the rest of the decoder as a function of it.

        Args:
          x: embeddings, as for `hidden_states`.
          positions: likewise.
          layer: number of the layer, from 0; not the last, of whose output only the rows that
            are asked for exist.

        Returns:
          The normed sum of the layer's input and its attention; and a function from this, or
          from something in its place, and from rows to what `hidden_states` gives there.
        """
        rotation = self.rotation(positions)
        x, deep = self._parted(x)
        x = self._some(x, rotation, deep, 0, layer)
        tapped = jax.tree.map(lambda leaf: leaf[layer], self.layers)
        attended, _ = tapped.attend(x, rotation)

        def finish(normed, rows):
            x = _deepened(attended + tapped.mlp(normed), deep, layer)
            x = self._some(x, rotation, deep, layer + 1, len(self._numbers))
            x, _ = self.last(x, rotation, rows=rows)
            return self.norm(x)

        return tapped.mlp_norm(attended), finish

    def _some(self, x, rotation, deep, first, end):
        """Layers ``first`` to ``end - 1`` of the stack."""

        # A slice of the stack would be a copy of its weights, and without the checkpoint a
        # gradient would keep one: it keeps the layers' inputs instead.
        @jax.checkpoint
        def run(x, i):
            layer = jax.tree.map(lambda leaf: leaf[i], self.layers)
            return _deepened(layer(x, rotation)[0], deep, i), None

        return jax.lax.scan(run, x, np.arange(first, end))[0]

    def prefill(
        self,
        x: Float[Array, "b s c"],
        positions: Int[Array, "3 s"],
        row: Int[Array, ""],
        room: int,
    ) -> tuple[Float[Array, "b 1 e"], Cache]:
        """Runs a prompt, keeping keys and values, with ``room`` more places for new tokens."""
        rotation = self.rotation(positions)
        x, deep = self._parted(x)

        def run(x, scanned):
            i, layer = scanned
            x, kept = layer(x, rotation)
            return _deepened(x, deep, i), kept

        x, (keys, values) = jax.lax.scan(run, x, (self._numbers, self.layers))
        x, (last_keys, last_values) = self.last(x, rotation, rows=row[None])

        def widen(a):
            return jnp.pad(a, [(0, 0)] * (a.ndim - 3) + [(0, room), (0, 0), (0, 0)])

        cache = Cache(widen(keys), widen(values), widen(last_keys), widen(last_values))
        return self.norm(x), cache

    def step(
        self,
        x: Float[Array, "b 1 e"],
        positions: Int[Array, "3 1"],
        cache: Cache,
        place: Int[Array, ""],
    ) -> tuple[Float[Array, "b 1 e"], Cache]:
        """Runs one more token, stored at ``place`` of the cache."""
        rotation = self.rotation(positions)

        def run(x, scanned):
            layer, keys, values = scanned
            return layer.step(x, rotation, keys, values, place)

        x, (keys, values) = jax.lax.scan(run, x, (self.layers, cache.keys, cache.values))
        x, last = self.last.step(x, rotation, cache.last_keys, cache.last_values, place)
        return self.norm(x), Cache(keys, values, *last)

    def logits(self, hidden: Float[Array, "*b e"]) -> Float[Array, "*b w"]:
        """Float32 scores of every vocabulary entry."""
        if self.config.tied_head:
            kernel = self.embedding.embedding[...].T
        else:
            kernel = self.head.kernel[...]
        return jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)

    def logits_of(
        self, hidden: Float[Array, "*b e"], ids: Int[Array, " c"]
    ) -> Float[Array, "*b c"]:
        """Float32 scores of some vocabulary entries, whatever position predicts them."""
        if self.config.tied_head:
            kernel = self.embedding.embedding[...][ids].T
        else:
            kernel = self.head.kernel[...][:, ids]
        return jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)

    def log_probabilities(
        self, hidden: Float[Array, "b t e"], ids: Int[Array, " t"]
    ) -> Float[Array, "b t"]:
        """Float32 log-probability of token ``ids[i]`` after hidden row ``i``."""
        logits = self.logits(hidden)
        chosen = jnp.take_along_axis(logits, ids[None, :, None], axis=-1)[..., 0]
        return chosen - jax.nn.logsumexp(logits, axis=-1)

    def rotation(self, positions: Int[Array, "3 s"]) -> Rotation:
        """Cosines and sines of the rotary angles, each frequency by its own position axis."""
        config = self.config
        pairs = config.head_size // 2
        frequency = config.rope_theta ** (-np.arange(pairs, dtype=np.float32) / pairs)
        if config.rope_interleaved:
            axis = np.zeros(pairs, np.int64)
            for one in (1, 2):
                axis[one : 3 * config.rope_sections[one] : 3] = one
        else:
            axis = np.repeat(np.arange(3), config.rope_sections)
        angles = positions.astype(jnp.float32)[axis].T * frequency.astype(np.float32)
        return jnp.cos(angles), jnp.sin(angles)

    @property
    def _numbers(self) -> np.ndarray:
        return np.arange(self.config.layers - 1)

    def _parted(self, x):
        """Embeddings, and the deep features as one array with a leading axis, or None."""
        if not self.config.deep_features:
            return x, None
        x, *deep = jnp.split(x, 1 + self.config.deep_features, axis=-1)
        return x, jnp.stack(deep)


def _deepened(x, deep, layer):
    if deep is None:
        return x
    return x + jnp.where(layer < len(deep), deep[jnp.minimum(layer, len(deep) - 1)], 0)
