"""Norms over features, groups and channels; their statistics are float32."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers


@lowers("native_layer_norm")
def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(-len(shape), 0))
    x32 = x.astype(jnp.float32)
    mean = x32.mean(axes, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.square(x32 - mean).mean(axes, keepdims=True) + eps)
    out = (x32 - mean) * rstd
    out = out if weight is None else out * weight
    return (out if bias is None else out + bias), mean, rstd


@lowers("native_group_norm")
def _group_norm(x, weight, bias, batch, channels, size, groups, eps):
    x32 = x.astype(jnp.float32).reshape(batch, groups, -1)
    mean = x32.mean(-1, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.square(x32 - mean).mean(-1, keepdims=True) + eps)
    out = ((x32 - mean) * rstd).reshape(x.shape)
    ones = (1, channels, *[1] * (x.ndim - 2))
    out = out if weight is None else out * weight.reshape(ones)
    out = out if bias is None else out + bias.reshape(ones)
    return out, mean[..., 0], rstd[..., 0]


@lowers("native_batch_norm", "_native_batch_norm_legit_no_training")
def _batch_norm(x, weight, bias, mean, variance, *options):
    # Options end with momentum and eps; in evaluation the running statistics count.
    ones = (1, x.shape[1], *[1] * (x.ndim - 2))
    scale = jax.lax.rsqrt(variance.astype(jnp.float32) + options[-1])
    out = (x - mean.reshape(ones)) * scale.reshape(ones)
    out = out if weight is None else out * weight.reshape(ones)
    out = out if bias is None else out + bias.reshape(ones)
    return out, mean, variance
