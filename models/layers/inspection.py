"""A look into the decoder: inputs of its layers, their attention weights, their MLPs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from eagle_jax.models.layers.decoder import Decoder, DecoderLayer, Rotation, add_deep_feature


def layer_inputs(
    decoder: Decoder, x: Float[Array, "b s wide"], positions: Int[Array, "3 s"]
) -> tuple[Float[Array, "l b s e"], Float[Array, "b s e"]]:
    """The inputs of the stacked layers, and the input of the last layer.

    Args:
      decoder: the model's decoder.
      x: embeddings, as for `Decoder.hidden_states`.
      positions: temporal, row and column position of each token.
    """
    rotation = decoder.rotation(positions)
    x, deep = decoder.split_deep_features(x)

    def run(x, scanned):
        i, layer = scanned
        return add_deep_feature(layer(x, rotation)[0], deep, i), x

    x, inputs = jax.lax.scan(run, x, (decoder.stacked_numbers, decoder.layers))
    return inputs, x


def layer_with_attention(
    layer: DecoderLayer,
    x: Float[Array, "b s e"],
    rotation: Rotation,
    change: Float32[Array, "b h s s"] | float = 0.0,
) -> tuple[Float[Array, "b s e"], Float32[Array, "b h s s"]]:
    """A layer's output over a whole sequence, and its attention weights.

    Args:
      layer: a layer of a decoder.
      x: inputs of the layer.
      rotation: from `Decoder.rotation`.
      change: added to the attention weights. The gradient with respect to a change of zero is
        the gradient with respect to the weights.
    """
    normed = layer.attention_norm(x)
    query = layer.attention.queries(normed, rotation)
    key, value = layer.attention.keys_values(normed, rotation)
    shared = query.shape[2] // key.shape[2]
    key, value = (jnp.repeat(a, shared, axis=2) for a in (key, value))
    scores = jnp.einsum("bshd,buhd->bhsu", query, key, preferred_element_type=jnp.float32)
    causal = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    scores = jnp.where(causal, scores * query.shape[-1] ** -0.5, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    attended = jnp.einsum("bhsu,buhd->bshd", (weights + change).astype(value.dtype), value)
    return layer.add_mlp(x + layer.attention.close(attended)), weights


def tap(
    decoder: Decoder, x: Float[Array, "b s wide"], positions: Int[Array, "3 s"], layer: int
) -> tuple[
    Float[Array, "b s e"],
    Callable[[Float[Array, "b s e"], Int[Array, " t"]], Float[Array, "b t e"]],
]:
    """The input of a layer's MLP, and the rest of the decoder as a function of it.

    Args:
      decoder: the model's decoder.
      x: embeddings, as for `Decoder.hidden_states`.
      positions: temporal, row and column position of each token.
      layer: number of the layer, from 0. Not the last layer, whose output is computed at the
        requested rows only.

    Returns:
      The MLP's normed input; and a function from such an input and from rows to what
      `Decoder.hidden_states` returns for these rows.
    """
    rotation = decoder.rotation(positions)
    x, deep = decoder.split_deep_features(x)
    x = _run_layers(decoder, x, rotation, deep, 0, layer)
    tapped = jax.tree.map(lambda leaf: leaf[layer], decoder.layers)
    attended, _ = tapped.add_attention(x, rotation)

    def finish(normed, rows):
        x = add_deep_feature(attended + tapped.mlp(normed), deep, layer)
        x = _run_layers(decoder, x, rotation, deep, layer + 1, len(decoder.stacked_numbers))
        x, _ = decoder.last(x, rotation, rows=rows)
        return decoder.norm(x)

    return tapped.mlp_norm(attended), finish


def _run_layers(decoder: Decoder, x, rotation: Rotation, deep, first: int, end: int):
    # A slice of the stack would copy its weights. Without the checkpoint, a gradient would
    # keep such a slice as well; with it, a gradient keeps the inputs of the layers.
    @jax.checkpoint
    def run(x, i):
        layer = jax.tree.map(lambda leaf: leaf[i], decoder.layers)
        return add_deep_feature(layer(x, rotation)[0], deep, i), None

    return jax.lax.scan(run, x, np.arange(first, end))[0]
