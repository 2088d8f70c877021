"""The devices of one process of a run."""

import jax
import numpy as np
from jax.sharding import Mesh

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError


@checked
def local_mesh(split_weights: int) -> Mesh | None:
    """A mesh of all devices of this process, which shares nothing with other processes.

    Args:
      split_weights: number of devices that share one copy of the weights.

    Returns:
      A mesh with the axes "data" and "model", or None for a single device.

    Raises:
      InputError: the number of devices is not a multiple of `split_weights`.
    """
    devices = np.array(jax.local_devices())
    if split_weights < 1 or devices.size % split_weights:
        raise InputError(
            f"split_weights is {split_weights}; it must divide the number of devices of this "
            f"process, {devices.size}"
        )
    if devices.size == 1:
        return None
    return Mesh(devices.reshape(-1, split_weights), ("data", "model"))
