"""The causal language model: embeddings in, hidden states and log-probabilities out.

`caching` runs it on the last tokens of a sequence only; `inspection` looks into it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.kernels import attention, rotate
from eagle_jax.models.layers.building_blocks import GatedMLP, Linear, RMSNorm, stack

Rotation = tuple[Float[Array, "s f"], Float[Array, "s f"]]
"""Cosines and sines of the rotary angles of each token."""


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """Shape of a decoder.

    Llama has neither ``qkv_bias`` nor ``qk_norm``; Qwen2 has ``qkv_bias``; Qwen3 has
    ``qk_norm``, a norm of each head's queries and keys.

    Attributes:
      context: longest sequence of prompt, image and answer together, in tokens.
      rope_sections: number of the ``head_size / 2`` rotary frequencies that follow the
        temporal, the row and the column position. One-dimensional positions have
        ``(head_size / 2, 0, 0)``.
      rope_interleaved: whether the three position axes take turns from frequency to frequency
        instead of having one block of frequencies each.
      deep_features: number of additional vectors that each visual token brings. The first is
        added after the first layer, the second after the second layer, and so on. In the
        input of the decoder they follow the token's embedding, ``wide = (1 + deep_features) *
        e`` numbers in all; text tokens have zeros there.
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


class Attention(nnx.Module):
    """The projections of grouped-query self-attention; `kernels.attention` does the rest."""

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
        """Causal attention over a whole sequence, and the sequence's keys and values."""
        query, key, value = (self._heads(f(x)) for f in (self.query, self.key, self.value))
        norms = None
        if self.qk_norm:
            scales = self.query_norm.scale[...], self.key_norm.scale[...]
            norms = *scales, self.query_norm.eps
        attended = attention(query, key, value, causal=True, norms=norms, rotation=rotation)
        return self.close(attended), (self._rotated_key(key, rotation), value)

    def queries(self, x, rotation: Rotation):
        """Queries, normed and rotated."""
        query = self._heads(self.query(x))
        return rotate(self.query_norm(query) if self.qk_norm else query, rotation)

    def keys_values(self, x, rotation: Rotation):
        """Keys, normed and rotated, and values."""
        key = self._rotated_key(self._heads(self.key(x)), rotation)
        return key, self._heads(self.value(x))

    def close(self, attended):
        """The output projection of the attended values of all heads."""
        return self.output(attended.reshape(*attended.shape[:2], -1))

    def _heads(self, x):
        return x.reshape(*x.shape[:2], -1, self.head_size)

    def _rotated_key(self, key, rotation: Rotation):
        return rotate(self.key_norm(key) if self.qk_norm else key, rotation)


class DecoderLayer(nnx.Module):
    """Pre-norm attention and gated MLP, each with a residual."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed, config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.embed, config.norm_eps)
        self.mlp = GatedMLP(config.embed, config.mlp, use_bias=False, rngs=rngs)

    def __call__(self, x, rotation: Rotation, mask=None, rows=None):
        """The layer over a whole sequence, and the sequence's keys and values.

        Args:
          x: inputs (b, s, e).
          rotation: of each token.
          mask: True where a row may see a column, (s, s); None for causal attention.
          rows: positions (t,) at which the output is computed; None for all of them.
        """
        x, keys_values = self.add_attention(x, rotation, mask, rows)
        return self.add_mlp(x), keys_values

    def add_attention(self, x, rotation: Rotation, mask=None, rows=None):
        """The first half of the layer; arguments and results as of the whole layer."""
        normed = self.attention_norm(x)
        if rows is None and mask is None:
            attended, keys_values = self.attention(normed, rotation)
            return x + attended, keys_values
        key, value = self.attention.keys_values(normed, rotation)
        return self.attend_to(key, value, x, normed, rotation, mask, rows), (key, value)

    def attend_to(self, key, value, x, normed, rotation: Rotation, mask=None, rows=None):
        """Adds attention to given keys and values of a whole sequence.

        Args:
          key: keys (b, u, k, d) of all tokens.
          value: values (b, u, k, d) of all tokens.
          x: inputs (b, s, e) of the last ``s`` tokens.
          normed: the same after `attention_norm`.
          rotation: of the last ``s`` tokens.
          mask: True where a row may see a column, (s, u); None for causal attention.
          rows: positions (t,) in the whole sequence to keep; None for the last ``s`` tokens.
        """
        if rows is not None:
            if mask is None:
                mask = jnp.arange(key.shape[1]) <= rows[:, None]
            else:
                mask = mask[rows]
            # Rows of padding may lie in front of the last s tokens.
            here = jnp.maximum(rows - (key.shape[1] - x.shape[1]), 0)
            x, normed = x[:, here], normed[:, here]
            rotation = (rotation[0][here], rotation[1][here])
        query = self.attention.queries(normed, rotation)
        attended = attention(query, key, value, causal=mask is None, mask=mask)
        return x + self.attention.close(attended)

    def add_mlp(self, x):
        """The second half of the layer."""
        return x + self.mlp(self.mlp_norm(x))


class Decoder(nnx.Module):
    """A stack of decoder layers between a token embedding and a vocabulary head.

    The last layer lives apart from the scanned stack, since scoring needs its output at the
    target rows alone.
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
        # Not `self.embedding(ids)`: its result would have the dtype that the module was built
        # with, float32, whatever weights were loaded, and so would the whole decoder.
        return self.embedding.embedding[...][ids]

    def hidden_states(
        self,
        x: Float[Array, "b s wide"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
        mask: Bool[Array, "s s"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final, normed hidden states at the given rows.

        Args:
          x: embeddings of the whole sequence, image tokens included, with the deep features
            of `DecoderConfig`.
          positions: temporal, row and column position of each token.
          rows: sequence positions to return; None for all of them.
          mask: True where a row may see a column; None for causal attention.
        """
        rotation = self.rotation(positions)
        x, deep = self.split_deep_features(x)

        def run(x, scanned):
            i, layer = scanned
            return add_deep_feature(layer(x, rotation, mask)[0], deep, i), None

        x, _ = jax.lax.scan(run, x, (self.stacked_numbers, self.layers))
        x, _ = self.last(x, rotation, mask, rows)
        with jax.named_scope("head"):
            return self.norm(x)

    def logits(self, hidden: Float[Array, "*b e"]) -> Float[Array, "*b w"]:
        """Float32 logits of the whole vocabulary, ``w`` entries."""
        if self.config.tied_head:
            kernel = self.embedding.embedding[...].T
        else:
            kernel = self.head.kernel[...]
        return jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)

    def logits_of(
        self, hidden: Float[Array, "*b e"], ids: Int[Array, " i"]
    ) -> Float[Array, "*b i"]:
        """Float32 logits of the vocabulary entries ``ids``, all of them at every position."""
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
            axes = np.zeros(pairs, np.int64)
            for axis in (1, 2):
                axes[axis : 3 * config.rope_sections[axis] : 3] = axis
        else:
            axes = np.repeat(np.arange(3), config.rope_sections)
        angles = positions.astype(jnp.float32)[axes].T * frequency.astype(np.float32)
        return jnp.cos(angles), jnp.sin(angles)

    @property
    def stacked_numbers(self) -> np.ndarray:
        """Numbers of the layers in the scanned stack, all but the last layer."""
        return np.arange(self.config.layers - 1)

    def split_deep_features(self, x: Float[Array, "b s wide"]):
        """Embeddings (b, s, e), and deep features (deep_features, b, s, e) or None."""
        if not self.config.deep_features:
            return x, None
        x, *deep = jnp.split(x, 1 + self.config.deep_features, axis=-1)
        return x, jnp.stack(deep)


def add_deep_feature(x, deep, layer):
    """The output of a layer with the deep feature that belongs there, if there is any."""
    if deep is None:
        return x
    return x + jnp.where(layer < len(deep), deep[jnp.minimum(layer, len(deep) - 1)], 0)
