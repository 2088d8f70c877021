"""Attention on a TPU, straight from the outputs of products to the input of the next product.

A Pallas kernel. Queries, keys and values are read as their products wrote them, heads side by
side in the lanes, and the result is written in the same way: nothing is transposed, and
rotations, scores and masks never leave the chip's own memory (VMEM). One program of the grid
computes one sequence of the batch and as many heads as fill the lanes (one head of 128, two of
64, eight of 80). All keys of these heads fit into VMEM, so rows of scores are complete and the
softmax is a plain one.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from eagle_jax.kernels.plain import rms_norm

_LANES = 128
# Rows of scores that are computed together.
_ROWS = 256
_VMEM = 64 * 2**20


class _Span(NamedTuple):
    """Blocks of rows that one loop computes: ``count`` blocks of ``rows`` rows from ``first``.

    Each block sees ``keys`` keys: from the sequence's first key on, or, with ``windows``, from
    its own first row on. Within the block the windows, of the given lengths, see only
    themselves.
    """

    first: int
    count: int
    rows: int
    keys: int
    windows: tuple[int, ...] = ()


def fused_attention(
    query: Float[Array, "b s h d"],
    key: Float[Array, "b u k d"],
    value: Float[Array, "b u k d"],
    *,
    causal: bool,
    windows: tuple[int, ...] | None,
    norms: tuple[Float[Array, " d"], Float[Array, " d"], float] | None,
    rotation: tuple[Float[Array, "s f"], Float[Array, "s f"]] | None,
    interpret: bool = False,
) -> Float[Array, "b s h d"]:
    """Attention as `eagle_jax.kernels.attention` computes it, for arrays that `suits` accepts.

    Args:
      query: queries.
      key: keys.
      value: values.
      causal: whether query ``i`` sees only keys ``0..u - s + i``.
      windows: lengths of consecutive parts that see only themselves; None for one part.
      norms: scales of the norms of queries and keys, and their ``eps``; None for no norms.
      rotation: cosines and sines that rotate queries and keys, where ``s == u``; None for no
        rotation.
      interpret: run as plain JAX, on any device.
    """
    b, s, h, d = query.shape
    u, k = key.shape[1:3]
    heads, shared = _heads_per_program(h, k, d), h // k
    spans = _spans(s, u, causal, windows)
    inputs = [a.reshape(*a.shape[:2], -1) for a in (query, key, value)]
    queries = pl.BlockSpec((1, s, heads * d), lambda i, j: (i, 0, j))
    if heads == 1:
        keys = pl.BlockSpec((1, u, d), lambda i, j: (i, 0, jax.lax.div(j, shared)))
    else:
        keys = pl.BlockSpec((1, u, heads * d // shared), lambda i, j: (i, 0, j))
    scales = tables = scale_specs = table_specs = None
    if norms is not None:
        scales = tuple(scale.reshape(1, d) for scale in norms[:2])
        scale_specs = 2 * (pl.BlockSpec((1, d), lambda i, j: (0, 0)),)
    if rotation is not None:
        cos, sin = rotation
        tables = jnp.concatenate([cos, cos], 1), jnp.concatenate([-sin, sin], 1)
        table_specs = 2 * (pl.BlockSpec((s, d), lambda i, j: (0, 0)),)
    pairs = sum(span.count * span.rows * span.keys for span in spans)
    out = pl.pallas_call(
        functools.partial(
            _kernel, spans=spans, causal=causal, eps=None if norms is None else norms[2]
        ),
        grid=(b, h // heads),
        in_specs=[queries, keys, keys, scale_specs, table_specs],
        out_specs=queries,
        out_shape=jax.ShapeDtypeStruct((b, s, h * d), query.dtype),
        scratch_shapes=[pltpu.VMEM((max(1, heads // shared), u, d), key.dtype)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel"), vmem_limit_bytes=_VMEM
        ),
        cost_estimate=pl.CostEstimate(
            flops=4 * b * h * d * pairs,
            transcendentals=b * h * pairs,
            bytes_accessed=2 * b * d * (s * h + u * k) * query.dtype.itemsize,
        ),
        interpret=interpret,
        name="fused_attention",
    )(*inputs, scales, tables)
    return out.reshape(b, s, h, d)


def suits(query: Array, key: Array, windows: tuple[int, ...] | None) -> bool:
    """Whether the kernel can compute attention of queries and keys of these shapes and dtype.

    Args:
      query: queries (b, s, h, d).
      key: keys (b, u, k, d).
      windows: as for `fused_attention`.
    """
    (_, s, h, d), (u, k) = query.shape, key.shape[1:3]
    if query.dtype != jnp.bfloat16:
        return False
    heads = _heads_per_program(h, k, d)
    lanes = heads * d + max(1, heads * k // h) * d
    # Blocks of inputs and outputs are there twice, since the next one is loaded while one is
    # computed; scores are there three times at most.
    memory = u * (2 * 2 * 2 * lanes + 2 * 2 * 4 * _LANES + 3 * 4 * _ROWS)
    aligned = all(span.first % 16 == 0 for span in _spans(s, u, False, windows))
    return memory < _VMEM and aligned


def _heads_per_program(h: int, k: int, d: int) -> int:
    """The fewest query heads that fill whole lanes, or all heads where that cannot be."""
    heads = math.lcm(d, _LANES) // d
    if h % heads or (heads > 1 and h != k):
        return h
    return heads


def _spans(s: int, u: int, causal: bool, windows: tuple[int, ...] | None) -> list[_Span]:
    """How the rows of a sequence are cut into blocks."""
    if windows is not None:
        return _window_spans(windows)
    if causal:
        ends = [*range(_ROWS, s, _ROWS), s]
        firsts = [0, *ends[:-1]]
        return [
            _Span(first, 1, end - first, u - s + end)
            for first, end in zip(firsts, ends, strict=True)
        ]
    count, rest = divmod(s, _ROWS)
    spans = [_Span(0, count, _ROWS, u), _Span(count * _ROWS, 1, rest, u)]
    return [span for span in spans if span.count * span.rows]


def _window_spans(windows: tuple[int, ...]) -> list[_Span]:
    """Small windows share a block; equal blocks share a span."""
    blocks: list[tuple[int, ...]] = []
    for size in windows:
        if blocks and sum(blocks[-1]) + size <= _ROWS:
            blocks[-1] += (size,)
        else:
            blocks.append((size,))
    spans, first = [], 0
    for block, same in itertools.groupby(blocks):
        count, rows = len(list(same)), sum(block)
        spans.append(_Span(first, count, rows, rows, block))
        first += count * rows
    return spans


def _kernel(query, key, value, scales, tables, out, keys, *, spans, causal, eps):
    """One program of the grid: attention of some heads over one sequence.

    Args:
      query: (1, s, heads * d), the queries of these heads.
      key: (1, u, heads of keys * d), the keys that they share.
      value: (1, u, heads of keys * d), their values.
      scales: two of (1, d), of the norms of queries and keys; None for no norms.
      tables: two of (s, d), cosines and signed sines; None for no rotation.
      out: (1, s, heads * d), the attended values.
      keys: (heads of keys, u, d), scratch memory for normed and rotated keys.
      spans: the blocks of rows.
      causal: whether rows see only keys up to their own.
      eps: of the norms.
    """
    d = keys.shape[2]
    heads, shared = out.shape[2] // d, out.shape[2] // key.shape[2]
    before = key.shape[1] - out.shape[1]
    query_scale, key_scale = (None, None) if scales is None else (ref[0] for ref in scales)

    def prepared(x, scale, rows):
        if scale is not None:
            x = rms_norm(x, scale, eps)
        return x if tables is None else _rotated(x, *(table[rows, :] for table in tables))

    def attend(first, span: _Span):
        rows = pl.ds(first, span.rows)
        seen = pl.ds(first if span.windows else 0, span.keys)
        attended = []
        for i in range(heads):
            j = i // shared
            q = prepared(query[0, rows, i * d : (i + 1) * d], query_scale, rows) * d**-0.5
            scores = jax.lax.dot_general(
                q,
                keys[j, seen, :],
                (((1,), (1,)), ((), ())),
                preferred_element_type=jnp.float32,
            )
            mask = _mask(span, causal, first, before)
            if mask is not None:
                scores = jnp.where(mask, scores, -jnp.inf)
            weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
            total = weights.sum(axis=-1, keepdims=True)
            v = value[0, seen, j * d : (j + 1) * d]
            weights = (weights / total).astype(v.dtype)
            attended.append(jnp.dot(weights, v, preferred_element_type=jnp.float32))
        out[0, rows, :] = jnp.concatenate(attended, axis=1).astype(out.dtype)

    for j in range(key.shape[2] // d):
        keys[j] = prepared(key[0, :, j * d : (j + 1) * d], key_scale, slice(None))
    for span in spans:
        if span.count == 1:
            attend(span.first, span)
        else:
            pl.loop(0, span.count)(functools.partial(_attend_block, attend, span))


def _attend_block(attend, span: _Span, i):
    start = span.first + i * span.rows
    attend(pl.multiple_of(start, math.gcd(span.first, span.rows)), span)


def _rotated(x, cos, sin):
    wide = x.astype(jnp.float32)
    return (wide * cos + _swapped(wide) * sin).astype(x.dtype)


def _swapped(x):
    half = x.shape[1] // 2
    return jnp.concatenate([x[:, half:], x[:, :half]], axis=1)


def _mask(span: _Span, causal: bool, first, before: int):
    """Which keys each row of a block sees, (rows, keys); None for all of them.

    With fewer rows than keys, ``before`` keys belong to tokens before the first row.
    """
    if causal:
        return _iota(span.rows, span.keys, 1) <= _iota(span.rows, span.keys, 0) + first + before
    if len(span.windows) > 1:
        rows = _window(_iota(span.rows, 1, 0), span.windows)
        return rows == _window(_iota(1, span.keys, 1), span.windows)
    return None


def _iota(rows, columns, axis):
    return jax.lax.broadcasted_iota(jnp.int32, (rows, columns), axis)


def _window(index, sizes):
    """The number of the window in which an index lies, as float32."""
    return sum((index >= end).astype(jnp.float32) for end in np.cumsum(sizes)[:-1].tolist())
