"""The text of an XLA program: its instructions, how often each runs, and what it does.

Optimised programs for TPUs carry the compiler's own estimate of cycles in every fusion, and the
names that JAX gave what was fused. What an instruction does is counted in `instruction_costs`.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_ARRAY = re.compile(r"\b(pred|[a-z]+\d+\w*)\[([\d,]*)\](\{[^}]*\})?")
_NAME = r"%?([\w.\-]+)"
_HEAD = re.compile(rf"(ENTRY )?{_NAME} .*\{{$")
_CALLED = re.compile(rf"\b(?:calls|to_apply)={_NAME}")


class Array(NamedTuple):
    """An array of a program.

    Attributes:
      kind: of its elements, "bf16" for example.
      dims: its shape.
      main: whether it lies in the chip's main memory and not in a memory of its core.
    """

    kind: str
    dims: tuple[int, ...]
    main: bool

    @property
    def bytes(self) -> int:
        """Its size without the padding of tiles."""
        bits = 8 if self.kind == "pred" else int(re.findall(r"\d+", self.kind)[0])
        return math.prod(self.dims) * bits // 8


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      opcode: such as "fusion".
      arrays: its results.
      operands: names of the instructions whose results it takes.
      text: whatever stands behind the operands.
    """

    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str

    def called(self, role: str) -> str | None:
        """Name of the computation it calls as its "body", "condition", ..."""
        found = re.search(rf"\b{role}={_NAME}", self.text)
        return found and found[1]


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """A program: computations by name, each with its instructions by name, the last its root.

    Attributes:
      computations: all of them.
      entry: name of the one that is run.
    """

    computations: dict[str, Computation]
    entry: str


class Run(NamedTuple):
    """An instruction with how often it runs.

    Attributes:
      here: the computation it stands in.
      name: its own.
      times: trips of the loops around it, times its share of the branches.
      scopes: the parts of the name that JAX gave it and the loops it is in, scopes and
        primitives. An instruction of the compiler's own, a copy of a weight for example, has
        those of what it works on.
    """

    here: Computation
    name: str
    times: float
    scopes: frozenset[str]

    @property
    def instruction(self) -> Instruction:
        """What runs."""
        return self.here[self.name]


def parse(text: str) -> Program:
    """Reads the text of a compiled or lowered program.

    Args:
      text: of `jax.stages.Compiled.as_text`, for example.

    Returns:
      The program.

    Raises:
      ValueError: the text has no entry.
    """
    computations: dict[str, Computation] = {}
    entry, current = None, None
    for line in text.splitlines():
        head = not line.startswith(" ") and _HEAD.match(line)
        if head:
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
        elif current is not None and line.startswith(" "):
            name, instruction = _instruction(line)
            if " ROOT " in line[:16]:
                root = name
            current[name] = instruction
        elif current and line.startswith("}"):
            # The root need not stand last: schedules put it where its operands are ready.
            current[root] = current.pop(root)
    if entry is None:
        raise ValueError("the text is no program: it has no ENTRY")
    return Program(computations, entry)


def _instruction(line: str) -> tuple[str, Instruction]:
    name, _, rest = re.sub(r"/\*.*?\*/", "", line).strip().partition(" = ")
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    opened = rest.index("(", end)
    closed = _closing(rest, opened)
    return name.removeprefix("ROOT ").strip("% "), Instruction(
        opcode=rest[end:opened].strip(),
        arrays=tuple(_array(*one) for one in _ARRAY.findall(rest[:end])),
        operands=tuple(one.lstrip("%") for one in rest[opened + 1 : closed].split(", ")),
        text=rest[closed + 1 :],
    )


def _closing(text: str, opened: int) -> int:
    depth = 0
    for place in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"a bracket stays open in {text[:80]!r}")


def _array(kind: str, dims: str, layout: str) -> Array:
    shape = tuple(map(int, filter(None, dims.split(","))))
    return Array(kind, shape, "S(" not in layout)


def walk(program: Program) -> Iterator[Run]:
    """All that a program runs, loops and branches opened, fusions left whole.

    A loop runs as often as its condition's constant says, and once if that is data. The
    branches of a switch run equally often.
    """
    yield from _walk(program, program.computations[program.entry], 1.0, frozenset())


def _walk(
    program: Program, here: Computation, times: float, within: frozenset[str]
) -> Iterator[Run]:
    for name, instruction in here.items():
        scopes = _scopes(here, name) | within
        if instruction.opcode == "while":
            trips = _trips(program, here, instruction)
            inner = [(instruction.called("body"), times * trips)]
        elif instruction.opcode == "conditional":
            branches = _branches(instruction)
            inner = [(branch, times / len(branches)) for branch in branches]
        elif instruction.opcode == "call":
            inner = [(instruction.called("to_apply"), times)]
        else:
            yield Run(here, name, times, scopes)
            continue
        for called, often in inner:
            yield from _walk(program, program.computations[str(called)], often, scopes)


def _branches(instruction: Instruction) -> list[str]:
    if listed := re.search(r"branch_computations=\{([^}]*)\}", instruction.text):
        return [one.strip(" %") for one in listed[1].split(",")]
    return [str(instruction.called(f"{which}_computation")) for which in ("true", "false")]


def _trips(program: Program, here: Computation, loop: Instruction) -> int:
    """How often the loop of a counter runs: the bound it is compared with, less its start."""
    condition = program.computations[str(loop.called("condition"))]
    root = list(condition.values())[-1]
    lines = [condition, *filter(None, [fused(program, root)])]
    bounds = [int(one.operands[0]) for line in lines for one in line.values() if _number(one)]
    if not bounds:
        return 1
    start = 0
    counters = [one for one in condition.values() if one.opcode == "get-tuple-element"]
    if len(counters) == 1:
        place = int(re.findall(r"index=(\d+)", counters[0].text)[0])
        first = here[here[loop.operands[0]].operands[place]]
        while first.opcode in ("copy", "bitcast"):
            first = here[first.operands[0]]
        start = int(first.operands[0]) if _number(first) else 0
    return max(bounds) - start


def _number(instruction: Instruction) -> bool:
    return instruction.opcode == "constant" and instruction.operands[0].isdigit()


def fused(program: Program, instruction: Instruction) -> Computation | None:
    """What a fusion or a call consists of; None for other instructions."""
    found = _CALLED.search(instruction.text)
    return program.computations[found[1]] if found else None


def _scopes(here: Computation, name: str) -> frozenset[str]:
    while name in here:
        if found := re.search(r'op_name="([^"]*)"', here[name].text):
            parts = re.split(r"[/()]+", found[1])
            # An argument has the name of its place in the network.
            return frozenset(parts if len(parts) > 1 else found[1].split(".")[:2])
        name = here[name].operands[0]
    return frozenset()


def cycles(instruction: Instruction) -> int:
    """The compiler's estimate for one run, 0 where it gives none."""
    found = re.search(r'"estimated_cycles":"(\d+)"', instruction.text)
    return int(found[1]) if found else 0
