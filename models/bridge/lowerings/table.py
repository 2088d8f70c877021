"""The table of lowerings, which the other files of the folder fill."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

Lowering = Callable[..., Any]

LOWERINGS: dict[str, Lowering] = {}
"""From "add", or "add.Tensor" for a single overload, to a function of arrays."""


def lowers(*names: str) -> Callable[[Lowering], Lowering]:
    """Enters a function into the table.

    Args:
      names: names of ATen operations, without the namespace; with or without an overload.
    """

    def enter(function: Lowering) -> Lowering:
        for name in names:
            LOWERINGS[name] = function
        return function

    return enter


def in_float32(function: Lowering) -> Lowering:
    """The function with float32 in place of 16-bit floats.

    As in PyTorch, an operation then rounds its result once, however many steps it takes.
    """

    @functools.wraps(function)
    def computed(*arguments, **options):
        return function(*map(widened, arguments), **options)

    return computed


def widened(value: Any) -> Any:
    """A 16-bit floating-point array as float32; anything else as it is."""
    half = getattr(value, "dtype", None) in (jnp.bfloat16, jnp.float16)
    return value.astype(jnp.float32) if half else value
