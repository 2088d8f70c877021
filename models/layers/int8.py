"""Products of int8 weights and int8 activations with exact sums.

A weight is a whole number from -127 to 127 times the scale of its output. An activation is
such a number times the scale of its token, which is computed while the program runs, so that
nothing has to be calibrated.
"""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jaxtyping import Array, BFloat16, Float, Int8

_MOST = 127


def int8_matmul(
    x: Float[Array, "*b e"], kernel: Int8[Array, "e f"], scales: BFloat16[Array, " f"]
) -> Float[Array, "*b f"]:
    """``x @ (kernel * scales)`` with ``x`` rounded to int8, each row by its own scale.

    Args:
      x: activations, one row for each token.
      kernel: weights from `round_kernel`.
      scales: their scales from `round_kernel`.

    Returns:
      The product in the dtype of ``x``. Between the roundings of ``x`` and of the result the
      sums are int32; a row of zeros gives zeros.
    """
    wide = x.astype(jnp.float32)
    largest = jnp.max(jnp.abs(wide), axis=-1, keepdims=True)
    step = jnp.where(largest == 0, 1.0, largest / _MOST)
    whole = jnp.round(wide / step).astype(jnp.int8)
    axes = (((x.ndim - 1,), (0,)), ((), ()))
    sums = jax.lax.dot_general(whole, kernel, axes, preferred_element_type=jnp.int32)
    return (sums.astype(jnp.float32) * step * scales.astype(jnp.float32)).astype(x.dtype)


def round_kernel(
    kernel: Float[np.ndarray, "e f"],
) -> tuple[Int8[np.ndarray, "e f"], BFloat16[np.ndarray, " f"]]:
    """Rounds the kernel of a linear layer, each output by its own scale.

    Args:
      kernel: finite weights.

    Returns:
      Whole numbers from -127 to 127, and the scales. The error of their product is at most
      half a scale, plus the rounding error of the bfloat16 scale in the largest weights.
    """
    wide = kernel.astype(np.float32)
    scales = (np.abs(wide).max(axis=0) / _MOST).astype(ml_dtypes.bfloat16)
    scales[scales == 0] = 1
    # Divided by the rounded scales, so that their rounding costs next to nothing.
    return np.rint(wide / scales.astype(np.float32)).astype(np.int8), scales
