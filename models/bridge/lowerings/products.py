"""Products of matrices, with sums in float32."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg

from eagle_jax.models.bridge.lowerings.table import lowers


@lowers("mm", "bmm", "mv")
def product(a, b, out_dtype=None):
    """The product of two matrices or batches of them; float32 for 16-bit floats."""
    if jnp.issubdtype(a.dtype, jnp.floating):
        return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))
    return jnp.matmul(a, b)


@lowers("addmm", "baddbmm")
def _addmm(x, a, b, beta=1, alpha=1):
    scaled = product(a, b) if alpha == 1 else product(a, b) * alpha
    return scaled if beta == 0 else scaled + (x if beta == 1 else x * beta)


@lowers("_grouped_mm")
def _grouped_mm(x, weight, offs=None, bias=None, out_dtype=None):
    sizes = jnp.diff(jnp.asarray(offs), prepend=0)
    return _ragged(x, weight, sizes).astype(x.dtype)


# JAX has no vmap of ragged_dot yet.
@jax.custom_batching.sequential_vmap
def _ragged(x, weight, sizes):
    return jax.lax.ragged_dot(x, weight, sizes, preferred_element_type=jnp.float32)


@lowers("linalg_solve_triangular")
def _solve_triangular(a, b, upper, left=True, unitriangular=False):
    if not left:
        return _solve_triangular(a.mT, b.mT, not upper, True, unitriangular).mT
    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
    return jax.scipy.linalg.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)
