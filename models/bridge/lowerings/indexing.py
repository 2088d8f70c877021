"""Reading and writing at places that arrays name."""

import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import lowers


def _at(indices):
    return tuple(slice(None) if index is None else index for index in indices)


@lowers("index")
def _index(x, indices):
    return jnp.asarray(x)[_at(indices)]


@lowers("index_put")
def _index_put(x, indices, values, accumulate=False):
    places = jnp.asarray(x).at[_at(indices)]
    return places.add(values) if accumulate else places.set(values)


@lowers("gather")
def _gather(x, dim, index, sparse_grad=False):
    return jnp.asarray(x)[_cells(dim, index)] if x.ndim else x


@lowers("scatter.src", "scatter.value")
def _scatter(x, dim, index, source):
    if jnp.ndim(source):
        source = source[tuple(slice(size) for size in index.shape)]
    return jnp.asarray(x).at[_cells(dim, index)].set(source)


def _cells(dim, index):
    """For each element of an index its full address."""
    grid = list(jnp.indices(index.shape, sparse=True))
    grid[dim] = jnp.asarray(index)
    return tuple(grid)


@lowers("embedding")
def _embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return jnp.take(weight, jnp.asarray(indices), axis=0, mode="clip")


@lowers("masked_scatter")
def _masked_scatter(x, mask, source):
    mask = jnp.broadcast_to(mask, x.shape).reshape(-1)
    order = jnp.cumsum(mask.astype(jnp.int32)) - 1
    values = source.reshape(-1)[jnp.clip(order, 0, source.size - 1)]
    return jnp.where(mask, values, x.reshape(-1)).reshape(x.shape)
