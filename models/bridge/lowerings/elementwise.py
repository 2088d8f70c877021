"""Operations on one element at a time: arithmetic, comparisons, activations, casts."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import LOWERINGS, in_float32, lowers

LOWERINGS |= {
    "bitwise_and": jnp.bitwise_and,
    "bitwise_not": jnp.bitwise_not,
    "bitwise_or": jnp.bitwise_or,
    "eq": jnp.equal,
    "floor_divide": jnp.floor_divide,
    "ge": jnp.greater_equal,
    "gt": jnp.greater,
    "le": jnp.less_equal,
    "logical_and": jnp.logical_and,
    "logical_not": jnp.logical_not,
    "logical_or": jnp.logical_or,
    "lt": jnp.less,
    "mul": jnp.multiply,
    "ne": jnp.not_equal,
    "neg": jnp.negative,
    "relu": jax.nn.relu,
    "where": jnp.where,
}
LOWERINGS |= {
    name: in_float32(function)
    for name, function in {
        "cos": jnp.cos,
        "exp": jnp.exp,
        "rsqrt": jax.lax.rsqrt,
        "sigmoid": jax.nn.sigmoid,
        "silu": jax.nn.silu,
        "sin": jnp.sin,
        "sqrt": jnp.sqrt,
        "tanh": jnp.tanh,
    }.items()
}


@lowers("add")
@in_float32
def _add(x, y, alpha=1):
    return x + (y if alpha == 1 else y * alpha)


@lowers("sub")
@in_float32
def _sub(x, y, alpha=1):
    return x - (y if alpha == 1 else y * alpha)


@lowers("rsub")
@in_float32
def _rsub(x, y, alpha=1):
    return y - (x if alpha == 1 else x * alpha)


@lowers("div")
@in_float32
def _div(x, y, rounding_mode=None):
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    quotient = jnp.divide(x, y)
    return quotient if rounding_mode is None else jnp.trunc(quotient)


@lowers("pow")
@in_float32
def _pow(x, exponent):
    if isinstance(exponent, int | float):
        if exponent == 0.5:
            return jnp.sqrt(x)
        if exponent == int(exponent) and 0 <= exponent <= 4:
            return jax.lax.integer_pow(jnp.asarray(x), int(exponent))
    return jnp.power(x, exponent)


@lowers("clamp")
def _clamp(x, min=None, max=None):
    return jnp.clip(x, min, max)


@lowers("masked_fill")
def _masked_fill(x, mask, value):
    return jnp.where(mask, jnp.asarray(value).astype(x.dtype), x)


@lowers("gelu")
@in_float32
def _gelu(x, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@lowers("softplus")
@in_float32
def _softplus(x, beta=1, threshold=20):
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(x * beta) / beta)


@lowers("polar")
def _polar(length, angle):
    return jax.lax.complex(length * jnp.cos(angle), length * jnp.sin(angle))


@lowers("fill")
def _fill(x, value):
    return jnp.broadcast_to(jnp.asarray(value).astype(x.dtype), x.shape)


@lowers("zero")
def _zero(x):
    return jnp.zeros_like(x)


@lowers("_to_copy")
def _to_copy(x, dtype=None):
    return x if dtype is None else cast(x, dtype)


def cast(x, dtype):
    """An array in another dtype, as PyTorch converts it: floats are cut towards zero."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating) and jnp.issubdtype(dtype, jnp.integer):
        x = jnp.trunc(x)
    return x.astype(dtype)
