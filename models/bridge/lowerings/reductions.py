"""Sums, extremes, sorts and running sums along axes."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers


def _axes(dim):
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return None
    return tuple(dim) if isinstance(dim, list | tuple) else dim


def _widened(x, dtype=None):
    """The array in the dtype that sums are made in."""
    if dtype is not None:
        return x.astype(dtype)
    if x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer):
        return x.astype(jnp.int32)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@lowers("sum")
def _sum(x, dim=None, keepdim=False, dtype=None):
    return jnp.sum(_widened(x, dtype), _axes(dim), keepdims=keepdim)


@lowers("mean")
def _mean(x, dim=None, keepdim=False, dtype=None):
    return jnp.mean(_widened(x, dtype), _axes(dim), keepdims=keepdim)


@lowers("prod")
def _prod(x, dim=None, keepdim=False, dtype=None):
    return jnp.prod(_widened(x, dtype), _axes(dim), keepdims=keepdim)


@lowers("amax")
def _amax(x, dim=None, keepdim=False):
    return jnp.max(x, _axes(dim), keepdims=keepdim)


@lowers("amin")
def _amin(x, dim=None, keepdim=False):
    return jnp.min(x, _axes(dim), keepdims=keepdim)


@lowers("max")
def _max(x, dim=None, keepdim=False):
    if dim is None:
        return jnp.max(x)
    return jnp.max(x, dim, keepdims=keepdim), jnp.argmax(x, dim, keepdims=keepdim)


@lowers("min")
def _min(x, dim=None, keepdim=False):
    if dim is None:
        return jnp.min(x)
    return jnp.min(x, dim, keepdims=keepdim), jnp.argmin(x, dim, keepdims=keepdim)


@lowers("argmax")
def _argmax(x, dim=None, keepdim=False):
    return jnp.argmax(x, dim, keepdims=keepdim)


@lowers("argmin")
def _argmin(x, dim=None, keepdim=False):
    return jnp.argmin(x, dim, keepdims=keepdim)


@lowers("any", "_is_any_true")
def _any(x, dim=None, keepdim=False):
    return jnp.any(x, _axes(dim), keepdims=keepdim)


@lowers("all", "_is_all_true")
def _all(x, dim=None, keepdim=False):
    return jnp.all(x, _axes(dim), keepdims=keepdim)


@lowers("var.correction")
def _var(x, dim=None, correction=None, keepdim=False):
    ddof = 1 if correction is None else correction
    return jnp.var(_widened(x), _axes(dim), ddof=ddof, keepdims=keepdim)


@lowers("std.correction")
def _std(x, dim=None, correction=None, keepdim=False):
    return jnp.sqrt(_var(x, dim, correction, keepdim))


@lowers("var_mean.correction")
def _var_mean(x, dim=None, correction=None, keepdim=False):
    return _var(x, dim, correction, keepdim), _mean(x, dim, keepdim)


@lowers("linalg_vector_norm")
def _vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    axes, x = _axes(dim), _widened(x, dtype)
    if ord == 2:
        return jnp.sqrt(jnp.sum(jnp.square(jnp.abs(x)), axes, keepdims=keepdim))
    if ord == float("inf"):
        return jnp.max(jnp.abs(x), axes, keepdims=keepdim)
    return jnp.sum(jnp.abs(x) ** ord, axes, keepdims=keepdim) ** (1 / ord)


@lowers("cumsum")
def _cumsum(x, dim, dtype=None):
    return jnp.cumsum(_widened(x, dtype), dim) if x.ndim else x


@lowers("cumprod")
def _cumprod(x, dim, dtype=None):
    return jnp.cumprod(_widened(x, dtype), dim) if x.ndim else x


@lowers("logsumexp")
def _logsumexp(x, dim, keepdim=False):
    return jax.nn.logsumexp(_widened(x), _axes(dim), keepdims=keepdim)


@lowers("_softmax")
def _softmax(x, dim, half_to_float=False):
    return jax.nn.softmax(_widened(x), axis=dim)


@lowers("_log_softmax")
def _log_softmax(x, dim, half_to_float=False):
    return jax.nn.log_softmax(_widened(x), axis=dim)


@lowers("topk")
def _topk(x, k, dim=-1, largest=True, sorted=True):
    moved = jnp.moveaxis(x, dim, -1)
    values, places = jax.lax.top_k(moved if largest else -moved, k)
    values = values if largest else -values
    return jnp.moveaxis(values, -1, dim), jnp.moveaxis(places, -1, dim)


@lowers("sort")
def _sort(x, stable=True, dim=-1, descending=False):
    # PyTorch has dim in the second place of the overload without ``stable``.
    if not isinstance(stable, bool):
        stable, dim, descending = True, stable, dim if isinstance(dim, bool) else descending
    places = jnp.argsort(x, axis=dim, stable=True, descending=descending)
    return jnp.take_along_axis(x, places, axis=dim), places


@lowers("histc")
def _histc(x, bins=100, min=0, max=0):
    x = x.reshape(-1).astype(jnp.float32)
    place = jnp.floor((x - min) * (bins / (max - min))).astype(jnp.int32)
    place = jnp.where(x == max, bins - 1, place)
    return jnp.sum(place == jnp.arange(bins)[:, None], axis=1)
