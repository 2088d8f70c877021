"""Convolutions, pools and windows of grids."""

import math

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers, widened


@lowers("convolution")
def _convolution(
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, *rest
):
    if transposed:
        raise NotImplementedError("transposed convolutions have no lowering")
    n = weight.ndim - 2
    stride, padding, dilation = (
        list(option) * n if len(option) == 1 else list(option)
        for option in (stride, padding, dilation)
    )
    batched = x.ndim == weight.ndim
    x = x if batched else x[None]
    if stride == list(weight.shape[2:]) and not any(padding) and groups == 1:
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
        out = widened(out) + bias.reshape(-1, *[1] * n)
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


@lowers("avg_pool2d")
def _avg_pool(x, kernel, stride=(), padding=(0,), ceil_mode=False, include=True, divisor=None):
    kernel, stride, padding = map(_pair, (kernel, stride or kernel, padding))
    ones = (1,) * (x.ndim - 2)
    sides = zip(x.shape[-2:], kernel, stride, padding, strict=True)
    spare = [-(size + 2 * p - k) % s if ceil_mode else 0 for size, k, s, p in sides]
    pads = [(0, 0)] * len(ones) + [(p, p + s) for p, s in zip(padding, spare, strict=True)]

    def total(values):
        window, steps = (*ones, *kernel), (*ones, *stride)
        return jax.lax.reduce_window(values, 0.0, jax.lax.add, window, steps, pads)

    values = x.astype(jnp.float32)
    if divisor or (include and not ceil_mode):
        return total(values) / (divisor or math.prod(kernel))
    return total(values) / total(jnp.ones_like(values))


def _pair(option):
    return list(option) * 2 if len(option) == 1 else list(option)


@lowers("im2col")
def _im2col(x, kernel, dilation, padding, stride):
    patches = jax.lax.conv_general_dilated_patches(
        x, kernel, stride, [(p, p) for p in padding], rhs_dilation=dilation
    )
    return patches.reshape(*patches.shape[:2], -1)
