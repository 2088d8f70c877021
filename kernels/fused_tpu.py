"""Attention of a sequence on a TPU, from outputs of products to the input of the next.

A Pallas kernel. Queries, keys and values are read as their products wrote them, heads side by
side in the lanes, and the result is written so: nothing is transposed, and rotations, scores
and masks never leave the chip's own memory. One program of the grid has one image and as many
heads as fill its lanes (one of 128, two of 64, eight of 80); their keys fit it whole, so rows
of scores are complete and the softmax is the plain one.
"""

import functools
import itertools
import math

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
    """Attention of `eagle_jax.kernels.attention`, as far as `suits` allows.

    Args:
      query: queries.
      key: keys.
      value: values.
      causal: query ``i`` sees keys ``0..u - s + i``.
      windows: lengths of consecutive parts that see themselves alone; None for one.
      norms: scales and ``eps`` of the norms of queries and keys; None for no norms.
      rotation: cosines and sines to rotate queries and keys by, where ``s == u``; None for no
        rotation.
      interpret: run as plain JAX, on any device.
    """
    b, s, h, d = query.shape
    u, k = key.shape[1:3]
    group = _group(h, k, d)
    shared = h // k
    spans = _spans(s, u, causal, windows)
    inputs = [query.reshape(b, s, h * d), key.reshape(b, u, k * d), value.reshape(b, u, k * d)]
    lanes = group * d
    own = pl.BlockSpec((1, s, lanes), lambda i, j: (i, 0, j))
    if group == 1:
        theirs = pl.BlockSpec((1, u, d), lambda i, j: (i, 0, jax.lax.div(j, shared)))
    else:
        theirs = pl.BlockSpec((1, u, lanes // shared), lambda i, j: (i, 0, j))
    specs = [own, theirs, theirs]
    if norms is not None:
        inputs += [norm.reshape(1, d) for norm in norms[:2]]
        specs += 2 * [pl.BlockSpec((1, d), lambda i, j: (0, 0))]
    if rotation is not None:
        cos, sin = rotation
        inputs += [jnp.concatenate([cos, cos], 1), jnp.concatenate([-sin, sin], 1)]
        specs += 2 * [pl.BlockSpec((s, d), lambda i, j: (0, 0))]
    pairs = sum(count * rows * keys for _, count, rows, keys, _ in spans)
    out = pl.pallas_call(
        functools.partial(_kernel, spans, causal, d, norms and norms[2], rotation is not None),
        grid=(b, h // group),
        in_specs=specs,
        out_specs=own,
        out_shape=jax.ShapeDtypeStruct((b, s, h * d), query.dtype),
        scratch_shapes=[pltpu.VMEM((max(1, group // shared), u, d), key.dtype)],
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
    )(*inputs)
    return out.reshape(b, s, h, d)


def suits(query: Array, key: Array, windows: tuple[int, ...] | None) -> bool:
    """Whether queries and keys of these shapes and this dtype are something for the kernel."""
    (_, s, h, d), (u, k) = query.shape, key.shape[1:3]
    if query.dtype != jnp.bfloat16:
        return False
    group = _group(h, k, d)
    lanes = group * d + max(1, group * k // h) * d
    # Blocks come while others are computed: twice. Scores are there three times at most.
    memory = u * (2 * 2 * 2 * lanes + 2 * 2 * 4 * _LANES + 3 * 4 * _ROWS)
    starts = [first for first, *_ in _spans(s, u, False, windows)]
    return memory < _VMEM and all(first % 16 == 0 for first in starts)


def _group(h: int, k: int, d: int) -> int:
    """Query heads of one program: so many that their lanes are whole, or all."""
    group = math.lcm(d, _LANES) // d
    if h % group or (group > 1 and h != k):
        return h
    return group


def _spans(
    s: int, u: int, causal: bool, windows
) -> list[tuple[int, int, int, int, tuple[int, ...]]]:
    """Blocks of rows as (first, count of blocks, rows, keys, windows in each block)."""
    if windows is None:
        whole, rest = divmod(s, _ROWS)
        if causal:
            ends = [*range(_ROWS, s, _ROWS), s]
            return [
                (first, 1, end - first, u - s + end, ())
                for first, end in zip([0, *ends], ends, strict=False)
            ]
        spans = [(0, whole, _ROWS, u, ()), (whole * _ROWS, 1, rest, u, ())]
        return [span for span in spans if span[1] * span[2]]
    blocks: list[tuple[int, ...]] = []
    for size in windows:
        if blocks and sum(blocks[-1]) + size <= _ROWS:
            blocks[-1] += (size,)
        else:
            blocks.append((size,))
    spans, first = [], 0
    for block, same in itertools.groupby(blocks):
        count, rows = len(list(same)), sum(block)
        spans.append((first, count, rows, rows, block))
        first += count * rows
    return spans


def _kernel(spans, causal, d, eps, rotates, query, key, value, *refs):
    *refs, out, keys = refs
    scales = [ref[0] for ref in refs[: 0 if eps is None else 2]]
    tables = refs[-2:] if rotates else ()
    heads, shared = out.shape[2] // d, out.shape[2] // key.shape[2]
    before = key.shape[1] - out.shape[1]

    def prepared(x, which, rows):
        if eps is not None:
            x = rms_norm(x, scales[which], eps)
        if tables:
            cos, sin = (table[rows, :] for table in tables)
            wide = x.astype(jnp.float32)
            x = (wide * cos + _swapped(wide) * sin).astype(x.dtype)
        return x

    for j in range(key.shape[2] // d):
        keys[j] = prepared(key[0, :, j * d : (j + 1) * d], 1, slice(None))

    def block(first, rows, count, seen):
        here = pl.ds(first, rows)
        there = pl.ds(0 if not seen else first, count)
        attended = []
        for i in range(heads):
            q = prepared(query[0, here, i * d : (i + 1) * d], 0, here) * d**-0.5
            j = i // shared
            scores = jax.lax.dot_general(
                q,
                keys[j, there, :],
                (((1,), (1,)), ((), ())),
                preferred_element_type=jnp.float32,
            )
            mask = None
            if causal:
                mask = _iota(rows, count, 1) <= _iota(rows, count, 0) + first + before
            elif len(seen) > 1:
                mask = _window(_iota(rows, 1, 0), seen) == _window(_iota(1, count, 1), seen)
            if mask is not None:
                scores = jnp.where(mask, scores, -jnp.inf)
            shares = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
            total = shares.sum(axis=-1, keepdims=True)
            v = value[0, there, j * d : (j + 1) * d]
            shares = (shares / total).astype(v.dtype)
            attended.append(jnp.dot(shares, v, preferred_element_type=jnp.float32))
        out[0, here, :] = jnp.concatenate(attended, axis=1).astype(out.dtype)

    for first, count, rows, seen_keys, seen in spans:
        if count == 1:
            block(first, rows, seen_keys, seen)
        else:

            @pl.loop(0, count)
            def _(i, first=first, rows=rows, seen_keys=seen_keys, seen=seen):
                start = pl.multiple_of(first + i * rows, math.gcd(first, rows))
                block(start, rows, seen_keys, seen)


def _swapped(x):
    half = x.shape[1] // 2
    return jnp.concatenate([x[:, half:], x[:, :half]], axis=1)


def _iota(rows, columns, axis):
    return jax.lax.broadcasted_iota(jnp.int32, (rows, columns), axis)


def _window(place, sizes):
    return sum((place >= end).astype(jnp.float32) for end in np.cumsum(sizes)[:-1].tolist())
