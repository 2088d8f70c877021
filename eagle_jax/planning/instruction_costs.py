"""What an instruction of an XLA program does: operations, and bytes of main memory.

Operations are counted from the shapes of matrix products and convolutions, bytes from the
arrays that do not lie in a memory of the core.
"""

import json
import math
import re

from eagle_jax.planning.hlo import Computation, Instruction, Program, Run, fused

_SLICES = ("dynamic-slice", "slice", "gather")
# What neither computes nor moves: names for parts of memory, and ends of what began elsewhere.
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all")


def is_kernel(instruction: Instruction) -> bool:
    """Whether it is a kernel of our own, of which the compiler knows nothing."""
    return instruction.opcode == "custom-call" and '"tpu_custom_call"' in instruction.text


def stated_cost(instruction: Instruction) -> dict[str, str] | None:
    """What a kernel says it costs, "flops" and "bytes_accessed"; None if nothing."""
    found = re.search(r'"cost_estimate":(\{[^}]*\})', instruction.text)
    return json.loads(found[1]) if found else None


def operations(program: Program, run: Run) -> float:
    """Operations of one run: of its products and convolutions, those of a fusion included.

    A multiplication and an addition are two. Other arithmetic is not counted. A kernel does
    what it states, see `jax.experimental.pallas.CostEstimate`.
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
        return sum(_operations(program, inside, one) for one in inside)
    return 0.0


def _convolution(here: Computation, instruction: Instruction) -> float:
    labels = re.findall(r"dim_labels=(\w+)_(\w+)->(\w+)", instruction.text)[0]
    left, kernel = (here[name].arrays[0].dims for name in instruction.operands)
    given, _, made = labels
    sizes = dict(zip(labels[1], kernel, strict=True))
    window = re.search(r"window=\{([^}]*)\}", instruction.text)
    parts = dict(one.split("=") for one in window[1].split()) if window else {}
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
        moved = min(one.bytes for one in arrays[:2])
        return float(moved * sum(one.main for one in arrays[:2]))
    given = [here[name].arrays[0] for name in instruction.operands if name in here]
    written = sum(one.bytes for one in arrays if one.main)
    if opcode in _SLICES:
        return float(written + (arrays[0].bytes if given[0].main else 0))
    if opcode == "dynamic-update-slice":
        return float(2 * given[1].bytes * arrays[0].main)
    read = [one.bytes for one in given]
    if opcode == "fusion" and (inside := fused(program, instruction)):
        read = [min(size, _read(program, inside, place)) for place, size in enumerate(read)]
        root = list(inside.values())[-1]
        if root.opcode == "dynamic-update-slice":
            written = inside[root.operands[1]].arrays[0].bytes * arrays[0].main
    return float(written + sum(size for size, one in zip(read, given, strict=True) if one.main))


def written_bytes(run: Run) -> int:
    """Bytes of the arrays that one run makes, wherever they lie.

    What is a matter of names, or runs beside the rest, makes none.
    """
    opcode = run.instruction.opcode
    names = opcode in _FREE or opcode == "custom-call" and not is_kernel(run.instruction)
    if names or opcode.endswith(("-start", "-done")) or opcode == "dynamic-update-slice":
        return 0
    return sum(one.bytes for one in run.instruction.arrays)


def _read(program: Program, here: Computation, place: int) -> float:
    """Bytes of its parameter with this number that a computation looks at."""
    name = next(
        one
        for one, instruction in here.items()
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
