"""Sums, sorts and running sums along axes."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers, widened


def _axes(dim):
    if isinstance(dim, list | tuple):
        return tuple(dim) or None
    return dim


def _summable(x, dtype=None):
    """The array in the dtype that sums are made in."""
    if dtype is not None:
        x = x.astype(dtype)
    elif x.dtype == bool:
        x = x.astype(jnp.int32)
    return widened(x)


@lowers("sum")
def _sum(x, dim=None, keepdim=False, dtype=None):
    return jnp.sum(_summable(x, dtype), _axes(dim), keepdims=keepdim)


@lowers("mean")
def _mean(x, dim=None, keepdim=False, dtype=None):
    return jnp.mean(_summable(x, dtype), _axes(dim), keepdims=keepdim)


@lowers("any", "_is_any_true")
def _any(x, dim=None, keepdim=False):
    return jnp.any(x, _axes(dim), keepdims=keepdim)


@lowers("all", "_is_all_true")
def _all(x, dim=None, keepdim=False):
    return jnp.all(x, _axes(dim), keepdims=keepdim)


@lowers("cumsum")
def _cumsum(x, dim, dtype=None):
    return jnp.cumsum(_summable(x, dtype), dim) if x.ndim else x


@lowers("_softmax")
def _softmax(x, dim, half_to_float=False):
    return jax.nn.softmax(widened(x), axis=dim)


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
