"""One attention function, and the backends that compute it."""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.kernels.fused_tpu import fused_attention, suits
from eagle_jax.kernels.plain import in_windows, plain_attention, rms_norm, rotate

logger = logging.getLogger(__name__)

_unsplit = contextvars.ContextVar("unsplit", default=False)


@contextlib.contextmanager
def unsplit(holds: bool) -> Iterator[None]:
    """Where whether every array is whole on its device is known: kernels are then allowed.

    The compiler splits plain operations over devices as the weights are, but no kernel.

    Args:
      holds: no array that is traced in the context is split, unless by `jax.shard_map`.
    """
    token = _unsplit.set(holds)
    try:
        yield
    finally:
        _unsplit.reset(token)


@jax.named_scope("attention")
def attention(
    query: Float[Array, "b s h d"],
    key: Float[Array, "b u k d"],
    value: Float[Array, "b u k d"],
    *,
    causal: bool = False,
    lengths: Int[Array, " b"] | None = None,
    mask: Bool[Array, "s u"] | None = None,
    windows: tuple[int, ...] | None = None,
    norms: tuple[Float[Array, " d"], Float[Array, " d"], float] | None = None,
    rotation: tuple[Float[Array, "s f"], Float[Array, "s f"]] | None = None,
) -> Float[Array, "b s h d"]:
    """Scaled dot-product attention with grouped key/value heads.

    Scores and softmax are float32 whatever the inputs are. What computes it follows from the
    platform the program is compiled for:

    | platform | |
    |---|---|
    | TPU | `fused_attention` for bfloat16 where nothing is masked apart, where `unsplit` |
    | GPU | cuDNN for half precision without an explicit mask, if it works here |
    | any | `plain_attention` for everything else |

    Args:
      query: queries; ``h`` is a multiple of ``k``, and query head ``i`` reads
        key/value head ``i // (h / k)``.
      key: keys.
      value: values.
      causal: the queries are those of the last ``s`` keys, and each sees the keys up to its
        own: query ``i`` keys ``0..u - s + i``.
      lengths: only the first ``lengths[i]`` keys of batch row ``i`` exist.
      mask: True where a query may see a key; the same for every batch row.
      windows: lengths of consecutive parts of the sequence, ``s == u`` in all, each of which
        sees itself alone; without the three above.
      norms: the scales of the queries' and the keys' `rms_norm` and its ``eps``, which come
        first; None for queries and keys as they are.
      rotation: cosines and sines by which queries and keys are then turned, see `rotate`;
        needs ``s == u``. None for no rotation.

    Returns:
      The attended values, in the dtype of ``query``.
    """

    def elsewhere(query, key, value):
        if norms is not None:
            query_scale, key_scale, eps = norms
            query, key = rms_norm(query, query_scale, eps), rms_norm(key, key_scale, eps)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        attend = functools.partial(_dense, causal=causal, lengths=lengths, mask=mask)
        if windows is None:
            return attend(query, key, value)
        return in_windows(attend, query, key, value, windows)

    why = None
    if lengths is not None or mask is not None:
        why = "some keys are masked"
    elif not _unsplit.get():
        why = "arrays may be split over chips"
    elif not suits(query, key, windows):
        why = "not a dtype or shape of the kernel"
    if why is not None:
        if jax.default_backend() == "tpu":
            _say_plain(f"{query.dtype}{query.shape} over {key.shape[1]} keys", why)
        return elsewhere(query, key, value)
    fused = functools.partial(
        fused_attention, causal=causal, windows=windows, norms=norms, rotation=rotation
    )
    return jax.lax.platform_dependent(query, key, value, tpu=fused, default=elsewhere)


@functools.cache
def _say_plain(what: str, why: str) -> None:
    logger.info("attention of %s is plain on this TPU: %s", what, why)


def _dense(query, key, value, *, causal, lengths, mask):
    # cuDNN counts causal keys from the first query on.
    aligned = mask is None and not (causal and query.shape[1] != key.shape[1])
    if aligned and query.dtype in (jnp.bfloat16, jnp.float16) and _cudnn_works():
        return _cudnn(query, key, value, causal=causal, lengths=lengths)
    return plain_attention(query, key, value, causal=causal, lengths=lengths, mask=mask)


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
