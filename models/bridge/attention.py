"""Attention of transformers' models, computed by JAX and registered with transformers."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from eagle_jax import kernels
from eagle_jax.models.bridge.traced import array_of, is_plain, torch_dtype, wrapped

ATTENTION = "eagle_jax"
# Shorter sequences, such as Qwen's windows of 64 patches one by one, cost compile time only.
_LONG = 128


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
    simple = mask is None and softcap is None and sinks is None and value.shape[3] == d
    if simple and s >= _LONG:
        # The backends of the ports, which scale by 1 / sqrt(d).
        if not math.isclose(scale, d**-0.5):
            query = (query.astype(jnp.float32) * (scale * d**0.5)).astype(query.dtype)
        heads_last = (x.swapaxes(1, 2) for x in (query, key, value))
        return kernels.attention(*heads_last, causal=causal).swapaxes(1, 2)
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


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in the interface of transformers, computed by JAX."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    mask = None
    if attention_mask is not None:
        causal = False
        if not _sees_all(attention_mask):
            mask = array_of(attention_mask)[..., : key.shape[2]]
    out = attend(
        array_of(query),
        array_of(key),
        array_of(value),
        mask=mask,
        causal=bool(causal) and query.shape[2] > 1,
        scale=scaling,
        softcap=softcap,
        sinks=None if s_aux is None else array_of(s_aux),
    )
    return wrapped(out.swapaxes(1, 2), torch_dtype(out.dtype)), None


def _sees_all(mask: torch.Tensor) -> bool:
    return is_plain(mask) and mask.dtype == torch.bool and bool(mask.all())


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)
