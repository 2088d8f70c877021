"""Attention: of transformers' interface, and of PyTorch's own operations."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers


def attend(query, key, value, *, mask=None, causal=False, scale=None, softcap=None, sinks=None):
    """Attention of any number of query heads for each key head.

    Args:
      query: queries, (b, h, s, d).
      key: keys, (b, k, u, d), where k divides h.
      value: values, (b, k, u, o).
      mask: booleans, True where a query sees a key, or numbers that are added to the scores;
        broadcastable to (b, h, s, u). None for no mask.
      causal: whether a query sees no later key; the last query sees all keys.
      scale: factor of the scores; None for 1 / sqrt(d).
      softcap: bound of the scores, by a hyperbolic tangent; None for no bound.
      sinks: a score of each head that takes part in the softmax and has no value, (h,).

    Returns:
      The outputs, (b, h, s, o), in the dtype of the values.
    """
    (b, h, s, d), (k, u) = query.shape, key.shape[1:3]
    scale = d**-0.5 if scale is None else scale
    grouped = query.reshape(b, k, h // k, s, d)
    with jax.named_scope("attention"):
        scores = jnp.einsum(
            "bkgsd,bkud->bkgsu", grouped, key, preferred_element_type=jnp.float32
        )
        scores = scores.reshape(b, h, s, u) * scale
        if softcap is not None:
            scores = jnp.tanh(scores / softcap) * softcap
        lowest = jnp.finfo(scores.dtype).min
        if causal:
            seen = jnp.arange(u) <= jnp.arange(s)[:, None] + (u - s)
            scores = jnp.where(seen, scores, lowest)
        if mask is not None:
            added = mask.dtype != bool
            scores = scores + mask if added else jnp.where(mask, scores, lowest)
        if sinks is not None:
            column = jnp.broadcast_to(sinks[:, None, None], (b, h, s, 1))
            scores = jnp.concatenate([scores, column.astype(scores.dtype)], -1)
        weights = jax.nn.softmax(scores, axis=-1)[..., :u].astype(value.dtype)
        weights = weights.reshape(b, k, h // k, s, u)
        out = jnp.einsum(
            "bkgsu,bkuo->bkgso", weights, value, preferred_element_type=jnp.float32
        )
    return out.reshape(b, h, s, -1).astype(value.dtype)


@lowers("_scaled_dot_product_flash_attention_for_cpu")
def _flash_attention(
    query, key, value, dropout_p=0.0, is_causal=False, attn_mask=None, scale=None
):
    out = attend(query, key, value, mask=attn_mask, causal=is_causal, scale=scale)
    return out, jnp.zeros(query.shape[:-1], jnp.float32)
