"""Attention in plain JAX: the CPU's backend, and the reference of the other backends."""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.argument_types import checked


@checked
def rms_norm(
    x: Float[Array, "*b e"], scale: Float[Array, " e"], eps: float
) -> Float[Array, "*b e"]:
    """Root-mean-square norm with float32 statistics.

    Args:
      x: vectors.
      scale: factor of each number of a normed vector.
      eps: added to the mean square.
    """
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return wide.astype(x.dtype) * scale.astype(x.dtype)


@checked
def rotate(
    x: Float[Array, "b s h d"],
    rotation: tuple[Float[Array, "s f"], Float[Array, "s f"]],
) -> Float[Array, "b s h d"]:
    """Rotates each head's vector by position-dependent angles (rotary embedding).

    Element ``i`` of the first half and element ``i`` of the second half form a pair.
    The arithmetic is float32 whatever the dtype of ``x``.

    Args:
      x: queries or keys.
      rotation: cosines and sines of the angles, ``f = d / 2``.
    """
    cos, sin = (table[:, None, :] for table in rotation)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def plain_attention(
    query: Float[Array, "b s h d"],
    key: Float[Array, "b u k d"],
    value: Float[Array, "b u k d"],
    *,
    causal: bool,
    lengths: Int[Array, " b"] | None,
    mask: Bool[Array, "s u"] | None,
) -> Float[Array, "b s h d"]:
    """`eagle_jax.kernels.attention` by two products and a softmax, with the same arguments."""
    # Heads first, and the query heads of a group as one longer sequence: plain batched
    # matrix products, which a CPU runs about twice as fast as the same sums as an einsum.
    b, s, h, d = query.shape
    u, k = key.shape[1:3]
    query = (query * d**-0.5).reshape(b, s, k, h // k, d).transpose(0, 2, 3, 1, 4)
    query = query.reshape(b, k, -1, d)
    key, value = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    scores = jnp.matmul(query, key, preferred_element_type=jnp.float32)
    if causal:
        # From counters, in the fusion that reads them: a tiled mask would be written out.
        place = u - s + jax.lax.broadcasted_iota(jnp.int32, scores.shape, 2) % s
        seen = jax.lax.broadcasted_iota(jnp.int32, scores.shape, 3) <= place
        scores = jnp.where(seen, scores, -jnp.inf)
    if mask is not None:
        scores = jnp.where(jnp.tile(mask, (h // k, 1)), scores, -jnp.inf)
    if lengths is not None:
        exists = jnp.arange(u) < lengths[:, None]
        scores = jnp.where(exists[:, None, None, :], scores, -jnp.inf)
    attended = jax.nn.softmax(scores, axis=-1).astype(value.dtype) @ value
    return attended.reshape(b, h, s, d).transpose(0, 2, 1, 3)


def in_windows(
    attend, query: Array, key: Array, value: Array, windows: tuple[int, ...]
) -> Array:
    """Attention within consecutive parts of a sequence; neighbours of one length form a batch.

    Args:
      attend: function of queries, keys and values that returns the attended values.
      query: queries (b, s, h, d).
      key: keys (b, s, k, d).
      value: values (b, s, k, d).
      windows: lengths of the parts, ``s`` in all.
    """
    attended, first = [], 0
    for size, same in itertools.groupby(windows):
        end = first + size * len(list(same))
        parts = (a[:, first:end].reshape(-1, size, *a.shape[2:]) for a in (query, key, value))
        attended.append(attend(*parts).reshape(-1, end - first, *query.shape[2:]))
        first = end
    return jnp.concatenate(attended, axis=1)
