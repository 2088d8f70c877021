"""The accelerators that plans are made for, and the slices they come in."""

import math
import re
from typing import NamedTuple

from eagle_jax.errors import InputError

_GIB = 2**30
_SLICES = [[1, 1], [1, 2], [2, 2], [2, 4], [4, 4], [4, 8], [8, 8], [8, 16], [16, 16]]


class Chip(NamedTuple):
    """An accelerator.

    Attributes:
      memory: bytes that programs can use.
      bfloat16: peak operations per second.
      int8: peak operations per second; None where int8 products are not known to be faster.
      bandwidth: bytes per second of its main memory.
      clock: cycles per second of a TPU, whose programs can be compiled in advance and carry
        estimates in cycles; None for a GPU.
      largest: maximum number of chips of a slice or host.
    """

    memory: float
    bfloat16: float
    int8: float | None
    bandwidth: float
    clock: float | None
    largest: int

    @property
    def tpu(self) -> bool:
        """True for a TPU, whose programs can be compiled without it."""
        return self.clock is not None


CHIPS = {
    "v5e": Chip(15.75 * _GIB, 197e12, 394e12, 819e9, 1.5e9, 256),
    "v6e": Chip(31.25 * _GIB, 918e12, 1836e12, 1640e9, 1.75e9, 256),
    "a100": Chip(0.95 * 80e9, 312e12, None, 2039e9, None, 16),
    "h100": Chip(0.95 * 80e9, 989e12, None, 3350e9, None, 8),
    "h200": Chip(0.95 * 141e9, 989e12, None, 4800e9, None, 8),
}


def parse_topology(topology: str) -> tuple[str, str, int]:
    """Kind of chip, shape and number of chips.

    Args:
      topology: "v5e:2x2", "v6e:2x4" and so on, or "a100", "h100", "h200", with ":8" for eight.

    Raises:
      InputError: the topology is not known.
    """
    kind, _, shape = topology.lower().partition(":")
    chip = CHIPS.get(kind)
    if chip is not None and chip.tpu and re.fullmatch(r"\d{1,2}x\d{1,2}", shape):
        sides = sorted(map(int, shape.split("x")))
        if sides in _SLICES:
            return kind, shape, math.prod(sides)
    elif chip is not None and not chip.tpu and re.fullmatch(r"[1-9]\d?", shape or "1"):
        if int(shape or 1) <= chip.largest:
            return kind, shape or "1", int(shape or 1)
    slices = ", ".join("x".join(map(str, sides)) for sides in _SLICES)
    raise InputError(
        f"topology is {topology!r}; it must be v5e:SHAPE or v6e:SHAPE with SHAPE one of "
        f"{slices}, or a100, h100 or h200, with :N for N of them on one host"
    )
