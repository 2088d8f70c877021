"""One attention function, and the choice of the backend that computes it."""

import contextlib
import contextvars
import functools
import logging
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.kernels.fused_tpu import fused_attention, suits
from eagle_jax.kernels.plain import in_windows, plain_attention, rms_norm, rotate

logger = logging.getLogger(__name__)

_unsplit = contextvars.ContextVar("unsplit", default=False)


@checked
@contextlib.contextmanager
def unsplit(whole: bool) -> Iterator[None]:
    """Allows fused kernels in what is traced in this context, if all arrays are unsplit.

    The compiler splits plain operations over devices where the weights are split; a kernel it
    cannot split.

    Args:
      whole: whether no array traced in the context is split over devices, unless by
        `jax.shard_map`.
    """
    token = _unsplit.set(whole)
    try:
        yield
    finally:
        _unsplit.reset(token)


@checked
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

    Scores and softmax are float32 whatever the dtype of the inputs. The implementation follows
    from the platform for which the program is compiled:

    | platform | implementation |
    |---|---|
    | TPU | `fused_attention` for bfloat16 without ``lengths`` and ``mask``, where `unsplit` |
    | GPU | cuDNN for half precision without ``mask``, if it works on this machine |
    | any | `plain_attention` for everything else |

    Args:
      query: queries; ``h`` is a multiple of ``k``, and query head ``i`` reads key/value head
        ``i // (h / k)``.
      key: keys.
      value: values.
      causal: whether the queries belong to the last ``s`` keys, and query ``i`` sees only keys
        ``0..u - s + i``.
      lengths: number of keys in each batch row that exist, the first ones; None for all keys.
      mask: True where a query may see a key, the same for every batch row; None for no mask.
      windows: lengths of consecutive parts of the sequence, ``s == u`` in all, each of which
        sees only itself; not together with the three arguments above. None for one part.
      norms: scales of the `rms_norm` of queries and of keys, and their ``eps``; None for
        queries and keys as they are.
      rotation: cosines and sines by which `rotate` turns the normed queries and keys; needs
        ``s == u``. None for no rotation.

    Returns:
      The attended values, in the dtype of ``query``.
    """
    if windows is not None and sum(windows) != query.shape[1]:
        raise InputError(
            f"windows is {windows!s:.60}, {sum(windows)} in all; the sequence has length "
            f"{query.shape[1]}"
        )
    elsewhere = functools.partial(
        _unfused,
        causal=causal,
        lengths=lengths,
        mask=mask,
        windows=windows,
        norms=norms,
        rotation=rotation,
    )
    why = None
    if lengths is not None or mask is not None:
        why = "some keys are masked"
    elif not _unsplit.get():
        why = "arrays may be split over chips"
    elif not suits(query, key, windows):
        why = "the kernel does not support this dtype or shape"
    if why is not None:
        if jax.default_backend() == "tpu":
            _say_plain(f"{query.dtype}{query.shape} over {key.shape[1]} keys", why)
        return elsewhere(query, key, value)
    fused = functools.partial(
        fused_attention, causal=causal, windows=windows, norms=norms, rotation=rotation
    )
    return jax.lax.platform_dependent(query, key, value, tpu=fused, default=elsewhere)


def _unfused(query, key, value, *, causal, lengths, mask, windows, norms, rotation):
    if norms is not None:
        query_scale, key_scale, eps = norms
        query, key = rms_norm(query, query_scale, eps), rms_norm(key, key_scale, eps)
    if rotation is not None:
        query, key = rotate(query, rotation), rotate(key, rotation)
    attend = functools.partial(_dense, causal=causal, lengths=lengths, mask=mask)
    if windows is None:
        return attend(query, key, value)
    return in_windows(attend, query, key, value, windows)


@functools.cache
def _say_plain(arrays: str, why: str) -> None:
    logger.info("attention of %s does not use the fused TPU kernel: %s", arrays, why)


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
        except Exception as error:  # noqa: BLE001 - any failure means that it does not work here
            logger.warning("cuDNN attention does not work here, using plain XLA: %s", error)
            return False
    return True
