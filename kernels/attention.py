"""One attention function, and the backends that compute it."""

import functools
import logging

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

logger = logging.getLogger(__name__)


@jax.named_scope("attention")
def attention(
    query: Float[Array, "b s h d"],
    key: Float[Array, "b u k d"],
    value: Float[Array, "b u k d"],
    *,
    causal: bool = False,
    lengths: Int[Array, " b"] | None = None,
    mask: Bool[Array, "s u"] | None = None,
) -> Float[Array, "b s h d"]:
    """Scaled dot-product attention with grouped key/value heads.

    Scores and softmax are float32 whatever the inputs are. On a GPU, cuDNN computes
    half-precision calls that need no explicit mask; everything else is plain XLA.

    Args:
      query: queries; ``h`` is a multiple of ``k``, and query head ``i`` reads
        key/value head ``i // (h / k)``.
      key: keys.
      value: values.
      causal: the queries are those of the last ``s`` keys, and each sees the keys up to its
        own: query ``i`` keys ``0..u - s + i``.
      lengths: only the first ``lengths[i]`` keys of batch row ``i`` exist.
      mask: True where a query may see a key; the same for every batch row.

    Returns:
      The attended values, in the dtype of ``query``.
    """
    # cuDNN counts causal keys from the first query on.
    aligned = mask is None and not (causal and query.shape[1] != key.shape[1])
    if aligned and query.dtype in (jnp.bfloat16, jnp.float16) and _cudnn_works():
        return _cudnn(query, key, value, causal=causal, lengths=lengths)
    return _xla(query, key, value, causal=causal, lengths=lengths, mask=mask)


def _xla(query, key, value, *, causal, lengths, mask):
    # Heads first, and the query heads of a group as one longer sequence: plain batched
    # matrix products, which a CPU runs about twice as fast as the same sums as an einsum.
    b, s, h, d = query.shape
    u, k = key.shape[1:3]
    query = (query * d**-0.5).reshape(b, s, k, h // k, d).transpose(0, 2, 3, 1, 4)
    query = query.reshape(b, k, -1, d)
    key, value = key.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    scores = jnp.matmul(query, key, preferred_element_type=jnp.float32)
    if causal:
        mask = jnp.arange(u) <= jnp.arange(u - s, u)[:, None]
    if mask is not None:
        scores = jnp.where(jnp.tile(mask, (h // k, 1)), scores, -jnp.inf)
    if lengths is not None:
        exists = jnp.arange(u) < lengths[:, None]
        scores = jnp.where(exists[:, None, None, :], scores, -jnp.inf)
    attended = jax.nn.softmax(scores, axis=-1).astype(value.dtype) @ value
    return attended.reshape(b, h, s, d).transpose(0, 2, 1, 3)


def _cudnn(query, key, value, *, causal, lengths):
    b, s = query.shape[:2]
    return jax.nn.dot_product_attention(
        query,
        key,
        value,
        is_causal=causal,
        query_seq_lengths=None if lengths is None else jnp.full((b,), s, jnp.int32),
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )


@functools.cache
def _cudnn_works() -> bool:
    """Tries a tiny call once: cuDNN attention is missing or broken on some installations."""
    if jax.default_backend() != "gpu":
        return False
    with jax.ensure_compile_time_eval():
        x = jnp.ones((1, 64, 1, 64), jnp.bfloat16)
        try:
            out = _cudnn(x, x, x, causal=True, lengths=None)
            jax.block_until_ready(out)
        except Exception as error:  # noqa: BLE001 - any failure means: not on this machine
            logger.warning("cuDNN attention does not work here, using plain XLA: %s", error)
            return False
    return True
