"""Norms over features; their statistics are float32."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import in_float32, lowers


@lowers("native_layer_norm")
@in_float32
def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdims=True)
    scale = jax.lax.rsqrt(jnp.square(x - mean).mean(axes, keepdims=True) + eps)
    out = (x - mean) * scale
    out = out if weight is None else out * weight
    return (out if bias is None else out + bias), mean, scale
