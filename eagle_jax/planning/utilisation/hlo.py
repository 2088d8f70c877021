"""The text of an XLA program: its instructions, and how often each runs."""

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
      kind: type of its elements, "bf16" for example.
      dims: its shape.
      main: True in the chip's main memory, False in a memory of its core.
    """

    kind: str
    dims: tuple[int, ...]
    main: bool

    @property
    def bytes(self) -> int:
        """The size without the padding of tiles."""
        bits = 8 if self.kind == "pred" else int(re.findall(r"\d+", self.kind)[0])
        return math.prod(self.dims) * bits // 8


class Instruction(NamedTuple):
    """One line of a program.

    Attributes:
      opcode: kind of operation, "fusion" for example.
      arrays: its results.
      operands: names of the instructions whose results it takes.
      text: the rest of the line, behind the operands.
    """

    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    text: str

    def called(self, role: str) -> str | None:
        """Name of the computation that it calls as its "body", "condition", ..."""
        name = re.search(rf"\b{role}={_NAME}", self.text)
        return name and name[1]


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """A program.

    Attributes:
      computations: computations by name, each with its instructions by name, the root last.
      entry: name of the computation that is run.
    """

    computations: dict[str, Computation]
    entry: str


class Run(NamedTuple):
    """An instruction, and how often it runs.

    Attributes:
      here: the computation it stands in.
      name: its name.
      times: trips of the loops around it, times the fraction of the runs that take its branch.
      callers: the loops, branches and calls around it, each with the computation it stands in.
    """

    here: Computation
    name: str
    times: float
    callers: tuple[tuple[Computation, str], ...]

    @property
    def instruction(self) -> Instruction:
        """The instruction."""
        return self.here[self.name]


def parse(text: str) -> Program:
    """Reads the text of a compiled or lowered program.

    Args:
      text: from `jax.stages.Compiled.as_text`, for example.

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
        arrays=tuple(_array(*groups) for groups in _ARRAY.findall(rest[:end])),
        operands=tuple(name.lstrip("%") for name in rest[opened + 1 : closed].split(", ")),
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
    """All instructions that a program runs, loops and branches opened, fusions left whole.

    A loop runs as often as the constant in its condition says, and once if its bound is data.
    The branches of a switch run equally often.
    """
    yield from _walk(program, program.entry, 1.0, ())


def _walk(
    program: Program,
    computation: str,
    times: float,
    callers: tuple[tuple[Computation, str], ...],
) -> Iterator[Run]:
    here = program.computations[computation]
    for name, instruction in here.items():
        if instruction.opcode == "while":
            trips = _trips(program, here, instruction)
            called, often = [str(instruction.called("body"))], times * trips
        elif instruction.opcode == "conditional":
            called = _branches(instruction)
            often = times / len(called)
        elif instruction.opcode == "call":
            called, often = [str(instruction.called("to_apply"))], times
        else:
            yield Run(here, name, times, callers)
            continue
        for inner in called:
            yield from _walk(program, inner, often, (*callers, (here, name)))


def _branches(instruction: Instruction) -> list[str]:
    if listed := re.search(r"branch_computations=\{([^}]*)\}", instruction.text):
        return [name.strip(" %") for name in listed[1].split(",")]
    return [str(instruction.called(f"{which}_computation")) for which in ("true", "false")]


def _trips(program: Program, here: Computation, loop: Instruction) -> int:
    """Trips of a loop over a counter: the bound it is compared with, less its start."""
    condition = program.computations[str(loop.called("condition"))]
    root = list(condition.values())[-1]
    looked_at = [condition, *filter(None, [fused(program, root)])]
    bounds = [
        int(instruction.operands[0])
        for computation in looked_at
        for instruction in computation.values()
        if _number(instruction)
    ]
    if not bounds:
        return 1
    start = 0
    counters = [
        instruction
        for instruction in condition.values()
        if instruction.opcode == "get-tuple-element"
    ]
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
    """The computation of a fusion or a call; None for other instructions."""
    called = _CALLED.search(instruction.text)
    return program.computations[called[1]] if called else None
