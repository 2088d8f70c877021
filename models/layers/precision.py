"""Matrix products as precise as the weights."""

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp


def full_precision(network: Any) -> AbstractContextManager:
    """A context in which float32 weights have float32 products: no TF32, no bfloat16 passes.

    Accelerators compute float32 products with less precision by default. For weights of half
    precision the context changes nothing.

    Args:
      network: the model's modules.
    """
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(network)}
    wanted = "highest" if jnp.dtype(jnp.float32) in dtypes else None
    return jax.default_matmul_precision(wanted)
