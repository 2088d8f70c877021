"""Operations on one element at a time: arithmetic, comparisons, activations, casts."""

import jax
import jax.numpy as jnp

from eagle_jax.models.bridge.lowerings.table import LOWERINGS, lowers

LOWERINGS |= {
    "abs": jnp.abs,
    "acos": jnp.arccos,
    "asin": jnp.arcsin,
    "atan": jnp.arctan,
    "atan2": jnp.arctan2,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_not": jnp.bitwise_not,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
    "ceil": jnp.ceil,
    "cos": jnp.cos,
    "eq": jnp.equal,
    "erf": jax.scipy.special.erf,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "floor": jnp.floor,
    "fmod": jnp.fmod,
    "ge": jnp.greater_equal,
    "gt": jnp.greater,
    "isinf": jnp.isinf,
    "isnan": jnp.isnan,
    "le": jnp.less_equal,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "log_sigmoid_forward": lambda x: (jax.nn.log_sigmoid(x), jnp.zeros_like(x)),
    "logical_and": jnp.logical_and,
    "logical_not": jnp.logical_not,
    "logical_or": jnp.logical_or,
    "lt": jnp.less,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "mish": jax.nn.mish,
    "mul": jnp.multiply,
    "ne": jnp.not_equal,
    "neg": jnp.negative,
    "reciprocal": jnp.reciprocal,
    "relu": jax.nn.relu,
    "remainder": jnp.remainder,
    "rsqrt": jax.lax.rsqrt,
    "sigmoid": jax.nn.sigmoid,
    "sign": jnp.sign,
    "silu": jax.nn.silu,
    "sin": jnp.sin,
    "sqrt": jnp.sqrt,
    "tanh": jnp.tanh,
    "trunc": jnp.trunc,
    "where": jnp.where,
}


@lowers("add")
def _add(x, y, alpha=1):
    return x + (y if alpha == 1 else y * alpha)


@lowers("sub")
def _sub(x, y, alpha=1):
    return x - (y if alpha == 1 else y * alpha)


@lowers("rsub")
def _rsub(x, y, alpha=1):
    return y - (x if alpha == 1 else x * alpha)


@lowers("div")
def _div(x, y, rounding_mode=None):
    if rounding_mode is None:
        return jnp.divide(x, y)
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    return jnp.trunc(jnp.divide(x, y))


@lowers("floor_divide")
def _floor_divide(x, y):
    return jnp.floor_divide(x, y)


@lowers("pow")
def _pow(x, exponent):
    if isinstance(exponent, int | float):
        if exponent == 0.5:
            return jnp.sqrt(x)
        if exponent == int(exponent) and 0 <= exponent <= 4:
            return jax.lax.integer_pow(jnp.asarray(x), int(exponent))
    return jnp.power(x, exponent)


@lowers("round")
def _round(x, decimals=0):
    return jnp.round(x, decimals)


@lowers("clamp", "hardtanh")
def _clamp(x, min=None, max=None):
    return jnp.clip(x, min, max)


@lowers("clamp_min")
def _clamp_min(x, bound):
    return jnp.maximum(x, bound)


@lowers("clamp_max")
def _clamp_max(x, bound):
    return jnp.minimum(x, bound)


@lowers("masked_fill")
def _masked_fill(x, mask, value):
    return jnp.where(mask, jnp.asarray(value).astype(x.dtype), x)


@lowers("lerp")
def _lerp(x, end, weight):
    return x + weight * (end - x)


@lowers("addcmul")
def _addcmul(x, a, b, value=1):
    return x + value * a * b


@lowers("gelu")
def _gelu(x, approximate="none"):
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@lowers("softplus")
def _softplus(x, beta=1, threshold=20):
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(x * beta) / beta)


@lowers("leaky_relu")
def _leaky_relu(x, negative_slope=0.01):
    return jnp.where(x > 0, x, x * negative_slope)


@lowers("elu")
def _elu(x, alpha=1, scale=1, input_scale=1):
    return jnp.where(x > 0, x * scale, alpha * scale * jnp.expm1(x * input_scale))


@lowers("hardsigmoid")
def _hardsigmoid(x):
    return jnp.clip(x + 3, 0, 6) / 6


@lowers("hardswish")
def _hardswish(x):
    return x * jnp.clip(x + 3, 0, 6) / 6


@lowers("polar")
def _polar(length, angle):
    return jax.lax.complex(length * jnp.cos(angle), length * jnp.sin(angle))


@lowers("nan_to_num")
def _nan_to_num(x, nan=None, posinf=None, neginf=None):
    return jnp.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


@lowers("_to_copy")
def _to_copy(x, dtype=None):
    return x if dtype is None else cast(x, dtype)


def cast(x, dtype):
    """An array in another dtype, as PyTorch converts it: floats are cut towards zero."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating) and not jnp.issubdtype(
        dtype, jnp.complexfloating
    ):
        x = x.real
    if jnp.issubdtype(x.dtype, jnp.floating) and jnp.issubdtype(dtype, jnp.integer):
        x = jnp.trunc(x)
    return x.astype(dtype)


@lowers("fill")
def _fill(x, value):
    return jnp.broadcast_to(jnp.asarray(value).astype(x.dtype), x.shape)


@lowers("zero")
def _zero(x):
    return jnp.zeros_like(x)


@lowers("glu")
def _glu(x, dim=-1):
    a, b = jnp.split(x, 2, axis=dim)
    return a * jax.nn.sigmoid(b)
