"""Views, copies, joins and padding."""

import jax
import jax.numpy as jnp
import numpy as np

from eagle_jax.models.bridge.lowerings.table import lowers


@lowers("view", "_unsafe_view")
def _view(x, shape, stride=None):
    return jnp.reshape(x, shape)


@lowers("clone", "alias", "detach", "lift_fresh")
def _same(x):
    return x


@lowers("expand")
def _expand(x, shape, implicit=False):
    added = len(shape) - x.ndim
    known = [x.shape[i - added] if size == -1 else size for i, size in enumerate(shape)]
    return jnp.broadcast_to(x, known)


@lowers("permute")
def _permute(x, dims):
    return jnp.transpose(x, [dim % max(x.ndim, 1) for dim in dims])


@lowers("transpose")
def _transpose(x, a, b):
    return jnp.swapaxes(x, a, b) if x.ndim else x


@lowers("t")
def _t(x):
    return x.T


@lowers("unsqueeze")
def _unsqueeze(x, dim):
    return jnp.expand_dims(x, dim)


@lowers("squeeze")
def _squeeze(x, dim=None):
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return jnp.squeeze(x, tuple(d % x.ndim for d in dims if x.shape[d] == 1)) if x.ndim else x


@lowers("select")
def _select(x, dim, index):
    return jax.lax.index_in_dim(x, index, dim, keepdims=False)


@lowers("slice")
def _slice(x, dim=0, start=None, end=None, step=1):
    return x[(*[slice(None)] * (dim % x.ndim), slice(start, end, step))]


@lowers("split")
def _split(x, size, dim=0):
    return [_slice(x, dim, i, i + size) for i in range(0, max(x.shape[dim], 1), size)]


@lowers("split_with_sizes")
def _split_with_sizes(x, sizes, dim=0):
    ends = np.cumsum(sizes).tolist()
    return [_slice(x, dim, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@lowers("unbind")
def _unbind(x, dim=0):
    return [_select(x, dim, i) for i in range(x.shape[dim])]


@lowers("cat")
def _cat(arrays, dim=0):
    # PyTorch leaves out empty vectors of any other rank.
    rank = max(x.ndim for x in arrays)
    return jnp.concatenate([x for x in arrays if x.ndim == rank], axis=dim)


@lowers("stack")
def _stack(arrays, dim=0):
    return jnp.stack(arrays, axis=dim)


@lowers("repeat")
def _repeat(x, repeats):
    return jnp.tile(x, repeats)


@lowers("constant_pad_nd")
def _constant_pad(x, pad, value=0):
    widths = [(0, 0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[-1 - i] = (pad[2 * i], pad[2 * i + 1], 0)
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), widths)


@lowers("view_as_complex")
def _view_as_complex(x):
    return jax.lax.complex(x[..., 0], x[..., 1])


@lowers("view_as_real")
def _view_as_real(x):
    return jnp.stack([x.real, x.imag], -1)


@lowers("zeros_like", "empty_like")
def _zeros_like(x, dtype=None):
    return jnp.zeros_like(x, dtype)


@lowers("ones_like")
def _ones_like(x, dtype=None):
    return jnp.ones_like(x, dtype)


@lowers("full_like")
def _full_like(x, value, dtype=None):
    return jnp.full_like(x, value, dtype)
