"""Convolutions, pools and interpolation of grids."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from eagle_jax.models.bridge.lowerings.table import lowers


@lowers("convolution")
def _convolution(
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, *rest
):
    n = weight.ndim - 2
    stride, padding, dilation, more = (
        list(option) * n if len(option) == 1 else list(option)
        for option in (stride, padding, dilation, output_padding)
    )
    batched = x.ndim == weight.ndim
    x = x if batched else x[None]
    if transposed:
        out = _transposed(x, weight, stride, padding, dilation, more, groups)
    elif stride == list(weight.shape[2:]) and not any(padding) and groups == 1:
        out = _patches_product(x, weight)
    else:
        out = jax.lax.conv_general_dilated(
            x,
            weight,
            stride,
            [(p, p) for p in padding],
            rhs_dilation=dilation,
            feature_group_count=groups,
        )
    if bias is not None:
        out = out + bias.reshape(-1, *[1] * n)
    return out if batched else out[0]


def _patches_product(x, weight):
    """A convolution that reads each value once: the product of patches and one matrix."""
    kernel = weight.shape[2:]
    counts = [size // side for size, side in zip(x.shape[2:], kernel, strict=True)]
    used = tuple(slice(count * side) for count, side in zip(counts, kernel, strict=True))
    x = x[(slice(None), slice(None), *used)]
    pairs = [n for pair in zip(counts, kernel, strict=True) for n in pair]
    x = x.reshape(*x.shape[:2], *pairs)
    n = len(kernel)
    places, inner = [2 + 2 * i for i in range(n)], [3 + 2 * i for i in range(n)]
    x = x.transpose(0, *places, 1, *inner).reshape(x.shape[0], math.prod(counts), -1)
    out = jnp.einsum(
        "bpc,oc->bop",
        x,
        weight.reshape(weight.shape[0], -1),
        preferred_element_type=jnp.float32,
    )
    return out.reshape(*out.shape[:2], *counts)


def _transposed(x, weight, stride, padding, dilation, more, groups):
    n = weight.ndim - 2
    kernel = jnp.flip(weight, tuple(range(2, 2 + n)))
    inputs, outputs = kernel.shape[:2]
    kernel = kernel.reshape(groups, inputs // groups, outputs, *kernel.shape[2:])
    kernel = kernel.swapaxes(1, 2).reshape(groups * outputs, -1, *kernel.shape[3:])
    pads = [
        (d * (k - 1) - p, d * (k - 1) - p + o)
        for k, p, d, o in zip(weight.shape[2:], padding, dilation, more, strict=True)
    ]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        [1] * n,
        pads,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )


def _pool(x, initial, reduce, kernel, stride, padding, ceil=False):
    n = len(kernel)
    stride = list(stride) or list(kernel)
    pads = []
    for size, k, s, p in zip(x.shape[-n:], kernel, stride, padding, strict=True):
        spare = -(size + 2 * p - k) % s if ceil else 0
        pads.append((p, p + spare))
    ones = [1] * (x.ndim - n)
    return jax.lax.reduce_window(
        x, initial, reduce, (*ones, *kernel), (*ones, *stride), [(0, 0)] * len(ones) + pads
    )


def _pair(option):
    return list(option) * 2 if len(option) == 1 else list(option)


@lowers("max_pool2d_with_indices")
def _max_pool(x, kernel, stride=(), padding=(0,), dilation=(1,), ceil_mode=False):
    kernel, stride = _pair(kernel), _pair(stride) if stride else []
    out = _pool(x, -jnp.inf, jax.lax.max, kernel, stride, _pair(padding), ceil_mode)
    return out, jnp.zeros(out.shape, jnp.int32)


@lowers("avg_pool2d")
def _avg_pool(x, kernel, stride=(), padding=(0,), ceil_mode=False, include=True, divisor=None):
    kernel, stride = _pair(kernel), _pair(stride) if stride else []
    options = kernel, stride, _pair(padding), ceil_mode
    total = _pool(x.astype(jnp.float32), 0.0, jax.lax.add, *options)
    if divisor or (include and not ceil_mode):
        return total / (divisor or math.prod(kernel))
    return total / _pool(jnp.ones(x.shape, jnp.float32), 0.0, jax.lax.add, *options)


@lowers("_adaptive_avg_pool2d")
def _adaptive_avg_pool(x, size):
    for axis, target in zip(range(-len(size), 0), size, strict=True):
        weights = _adaptive_weights(x.shape[axis], target)
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ weights.T, -1, axis)
    return x


def _adaptive_weights(source: int, target: int) -> np.ndarray:
    weights = np.zeros((target, source), np.float32)
    for i in range(target):
        first, last = i * source // target, -(-(i + 1) * source // target)
        weights[i, first:last] = 1 / (last - first)
    return weights


@lowers("upsample_bilinear2d")
def _bilinear(x, size, align_corners, scales_h=None, scales_w=None):
    return _upsample(x, size, align_corners, (scales_h, scales_w), _linear_taps)


@lowers("upsample_bicubic2d")
def _bicubic(x, size, align_corners, scales_h=None, scales_w=None):
    return _upsample(x, size, align_corners, (scales_h, scales_w), _cubic_taps)


def _upsample(x, size, align_corners, scales, taps):
    for axis, target, scale in zip(range(-len(size), 0), size, scales, strict=True):
        source = x.shape[axis]
        at = np.arange(target)
        if align_corners:
            places = at * ((source - 1) / max(target - 1, 1))
        else:
            step = 1 / scale if scale else source / target
            places = (at + 0.5) * step - 0.5
        weights = taps(places, source).astype(np.float32)
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ weights.T, -1, axis)
    return x


def _linear_taps(places: np.ndarray, source: int) -> np.ndarray:
    places = np.maximum(places, 0)
    first = np.minimum(np.floor(places).astype(int), source - 1)
    second, rest = np.minimum(first + 1, source - 1), places - first
    weights, rows = np.zeros((len(places), source)), np.arange(len(places))
    np.add.at(weights, (rows, first), 1 - rest)
    np.add.at(weights, (rows, second), rest)
    return weights


def _cubic_taps(places: np.ndarray, source: int, a: float = -0.75) -> np.ndarray:
    first = np.floor(places).astype(int)
    weights, rows = np.zeros((len(places), source)), np.arange(len(places))
    for offset in (-1, 0, 1, 2):
        t = np.abs(places - first - offset)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        tap = np.clip(first + offset, 0, source - 1)
        np.add.at(weights, (rows, tap), np.where(t <= 1, near, far))
    return weights


@lowers("upsample_nearest2d")
def _nearest(x, size, *scales):
    scales = [scale for scale in scales if not isinstance(scale, list | tuple)]
    for i, (axis, target) in enumerate(zip(range(-len(size), 0), size, strict=True)):
        source = x.shape[axis]
        scale = scales[i] if i < len(scales) and scales[i] else None
        step = np.float32(1 / scale) if scale else np.float32(source / target)
        places = np.floor(np.arange(target, dtype=np.float32) * step).astype(int)
        x = jnp.take(x, np.minimum(places, source - 1), axis=axis)
    return x


@lowers("im2col")
def _im2col(x, kernel, dilation, padding, stride):
    patches = jax.lax.conv_general_dilated_patches(
        x, kernel, stride, [(p, p) for p in padding], rhs_dilation=dilation
    )
    return patches.reshape(*patches.shape[:2], -1)
