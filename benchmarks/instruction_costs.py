"""Operations of an instruction of an XLA program, and its bytes of main memory.

Operations are counted from the shapes of matrix products and convolutions, bytes from the
arrays that do not lie in a memory of the core.
"""

import math
import re

from eagle_jax.planning.utilisation.hlo import Computation, Instruction, Program, Run, fused
from eagle_jax.planning.utilisation.program_time import is_kernel, stated_cost

_SLICES = ("dynamic-slice", "slice", "gather")
# Names for parts of memory, and ends of what began elsewhere: nothing is computed or moved.
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all")


def operations(program: Program, run: Run) -> float:
    """Operations of the products and convolutions of one run, inside of fusions too.

    A multiplication and an addition are two operations. Other arithmetic is not counted. For a
    kernel the operations that it states (`jax.experimental.pallas.CostEstimate`) are taken.
    """
    return _operations(program, run.here, run.name)


def _operations(program: Program, here: Computation, name: str) -> float:
    instruction = here[name]
    if instruction.opcode == "dot":
        left = here[instruction.operands[0]].arrays[0].dims
        summed = re.findall(r"lhs_contracting_dims=\{([\d,]*)\}", instruction.text)[0]
        inner = math.prod(left[int(i)] for i in summed.split(",") if i)
        return 2.0 * math.prod(instruction.arrays[0].dims) * inner
    if instruction.opcode == "convolution":
        return _convolution(here, instruction)
    if cost := stated_cost(instruction):
        return float(cost["flops"])
    if instruction.opcode in ("fusion", "call") and (inside := fused(program, instruction)):
        return sum(_operations(program, inside, inner) for inner in inside)
    return 0.0


def _convolution(here: Computation, instruction: Instruction) -> float:
    labels = re.findall(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)[0]
    left, kernel = (here[name].arrays[0].dims for name in instruction.operands)
    given, _, made = labels
    sizes = dict(zip(labels[1], kernel, strict=True))
    window = re.search(r"window=\{([^}]*)\}", instruction.text)
    parts = dict(part.split("=") for part in window[1].split()) if window else {}
    out = instruction.arrays[0].dims
    total = 2.0 * out[made.index("b")] * out[made.index("f")] * sizes["i"]
    for axis, place in enumerate(sorted(set(made) - set("bf"))):

        def part(name, default, axis=axis):
            return parts[name].split("x")[axis] if name in parts else default

        low, _ = map(int, part("pad", "0_0").split("_"))
        dilated, spread = int(part("lhs_dilate", 1)), int(part("rhs_dilate", 1))
        stride = int(part("stride", 1))
        # Products are convolutions over dilated arrays here: most positions hold nothing.
        total *= sum(
            0 <= spot < left[given.index(place)] * dilated and spot % dilated == 0
            for row in range(out[made.index(place)])
            for tap in range(sizes[place])
            for spot in [row * stride + tap * spread - low]
        )
    return total


def main_memory_bytes(program: Program, run: Run) -> float:
    """Bytes that one run reads from the chip's main memory and writes to it.

    Arrays of which only slices are used count with the slices.
    """
    here, instruction = run.here, run.instruction
    opcode, arrays = instruction.opcode, instruction.arrays
    if opcode in _FREE or opcode.endswith("-done"):
        return 0.0
    if cost := stated_cost(instruction):
        return float(cost["bytes_accessed"])
    if opcode.endswith("-start"):
        moved = min(array.bytes for array in arrays[:2])
        return float(moved * sum(array.main for array in arrays[:2]))
    given = [here[name].arrays[0] for name in instruction.operands if name in here]
    written = sum(array.bytes for array in arrays if array.main)
    if opcode in _SLICES:
        return float(written + (arrays[0].bytes if given[0].main else 0))
    if opcode == "dynamic-update-slice":
        return float(2 * given[1].bytes * arrays[0].main)
    read = [array.bytes for array in given]
    if opcode == "fusion" and (inside := fused(program, instruction)):
        read = [min(size, _read(program, inside, place)) for place, size in enumerate(read)]
        root = list(inside.values())[-1]
        if root.opcode == "dynamic-update-slice":
            written = inside[root.operands[1]].arrays[0].bytes * arrays[0].main
    from_main = [size for size, array in zip(read, given, strict=True) if array.main]
    return float(written + sum(from_main))


def written_bytes(run: Run) -> int:
    """Bytes of the arrays that one run makes, wherever they lie.

    Instructions that only give names, or run beside other instructions, make none.
    """
    opcode = run.instruction.opcode
    names = opcode in _FREE or opcode == "custom-call" and not is_kernel(run.instruction)
    if names or opcode.endswith(("-start", "-done")) or opcode == "dynamic-update-slice":
        return 0
    return sum(array.bytes for array in run.instruction.arrays)


def _read(program: Program, here: Computation, place: int) -> float:
    """Bytes that a computation reads of its parameter with this number."""
    name = next(
        parameter
        for parameter, instruction in here.items()
        if instruction.opcode == "parameter" and instruction.operands[0] == str(place)
    )
    return _used(program, here, name)


def _used(program: Program, here: Computation, name: str) -> float:
    total = 0.0
    for user, instruction in here.items():
        if name not in instruction.operands:
            continue
        first = instruction.operands[0] == name
        if instruction.opcode in _SLICES and first:
            total += instruction.arrays[0].bytes
        elif instruction.opcode == "dynamic-update-slice" and first:
            pass
        elif instruction.opcode in ("bitcast", "reshape"):
            total += _used(program, here, user)
        elif instruction.opcode == "fusion" and (inside := fused(program, instruction)):
            total += _read(program, inside, instruction.operands.index(name))
        else:
            return math.inf
    return total
