"""Matrix products as precise as the weights ask for."""

from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp


def full_precision(network: Any) -> AbstractContextManager:
    """Where products of a float32 model are float32 products: no TF32, no bfloat16 passes.

    Accelerators take short cuts in float32 by default. Weights of half precision are not
    concerned.

    Args:
      network: the model's modules.

    Returns:
      A context to call the model in.
    """
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(network)}
    wanted = "highest" if jnp.dtype(jnp.float32) in dtypes else None
    return jax.default_matmul_precision(wanted)
