"""Weights that are NaN or infinite, as diverged trainings leave them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.tensor_files import StoredTensor

_STRIP = 2**17


def not_finite(tensor: StoredTensor, dtype: Any) -> InputError:
    """The refusal of a tensor that is not finite as stored or in the dtype it is loaded in."""
    if np.isfinite(tensor.read()).all():
        return InputError(
            f"{tensor.name} in {tensor.path} holds numbers beyond the range of "
            f"{jnp.dtype(dtype)}; load the model in bfloat16 or float32"
        )
    return InputError(
        f"{tensor.name} in {tensor.path} holds numbers that are not finite (NaN or infinity); "
        "take a checkpoint from before its training diverged, or fetch it again"
    )


def is_finite(values: np.ndarray) -> bool:
    """Whether all numbers are finite, at the speed of memory.

    The bits of infinities and NaNs are the largest of their sign: read as signed numbers those
    of the positive ones, read as unsigned numbers those of the negative ones.
    """
    info, size = jnp.finfo(values.dtype), values.dtype.itemsize
    infinity = int(np.array(np.inf, values.dtype).view(f"u{size}"))
    sign = 1 << (info.bits - 1)
    signed, unsigned = (values.reshape(-1).view(f"{kind}{size}") for kind in "iu")
    for first in range(0, values.size, _STRIP):
        strip = slice(first, first + _STRIP)
        if signed[strip].max() >= infinity or unsigned[strip].max() >= infinity + sign:
            return False
    return True
