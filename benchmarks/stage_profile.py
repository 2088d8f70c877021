"""Where the time of the fused step goes, stage by stage, as a TPU's compiler predicts it."""

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from instruction_costs import main_memory_bytes, operations, written_bytes

from eagle_jax.planning.chips import Chip
from eagle_jax.planning.compilation import Compiled
from eagle_jax.planning.step import Step
from eagle_jax.planning.utilisation.hlo import Computation, Program, Run, parse, walk
from eagle_jax.planning.utilisation.program_time import (
    cycles,
    instruction_seconds,
    is_kernel,
    stated_cost,
)

STAGES = (
    "pixels",
    "vision attention",
    "vision rest",
    "decoder attention",
    "decoder rest",
    "head",
    "search",
)


class Stage(NamedTuple):
    """One stage of a step, over one batch on one chip.

    Attributes:
      name: one of `STAGES`, or the name of a measured part.
      milliseconds: time of the stage.
      operations: operations of its products as the program does them, superfluous operations
        included.
      bytes: bytes between main memory and the core; None where that is not known.
      kernels: milliseconds of kernels, which are counted at `KERNEL_UTILISATION`.
      silent: bytes written by gathers, between chips, and by kernels that state no cost, of
        whose time nothing is known.
    """

    name: str
    milliseconds: float
    operations: float
    bytes: float | None = None
    kernels: float = 0.0
    silent: float = 0.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """A batch of masked images on one chip.

    Attributes:
      model: name of the checkpoint.
      hardware: a topology, or the device that was measured.
      batch_size: masked images of the batch, over all chips.
      needed: operations that the chip's part of the batch needs, as
        `eagle_jax.planning.flops.forward_flops` counts them.
      peak: operations per second of the chip.
      bandwidth: bytes per second of its main memory; None where that is not known.
      weights: bytes of the weights on the chip.
      program: bytes of the program on the chip, without the weights.
      stages: the stages, which follow each other.
    """

    model: str
    hardware: str
    batch_size: int
    needed: float
    peak: float
    bandwidth: float | None
    weights: int
    program: int
    stages: tuple[Stage, ...]

    @property
    def milliseconds(self) -> float:
        """Time of all stages."""
        return sum(stage.milliseconds for stage in self.stages)

    @property
    def utilisation(self) -> float:
        """Fraction of the peak, counting the operations that are needed."""
        return self.needed / (self.peak * self.milliseconds / 1e3)

    def as_json(self) -> dict[str, Any]:
        """The profile as plain numbers, each stage with its fraction of peak and bandwidth."""
        values = dataclasses.asdict(self) | {
            "milliseconds": self.milliseconds,
            "utilisation": self.utilisation,
            "stages": [
                stage._asdict()
                | {"utilisation": self._of_peak(stage), "bandwidth": self._of_bandwidth(stage)}
                for stage in self.stages
            ],
        }
        return _rounded(values)

    def table(self) -> str:
        """The profile as lines of text."""
        lines = [
            f"{self.model}, {self.hardware}, {self.batch_size} masked images a batch: "
            f"{self.milliseconds:.4g} ms, utilisation {self.utilisation:.1%}",
            f"{'':<20}{'ms':>9}{'time':>9}{'TFLOP':>9}{'utilisation':>12}{'GB':>9}"
            f"{'bandwidth':>10}{'kernels':>9}{'silent':>9}",
        ]
        for stage in self.stages:
            moved, band = stage.bytes, self._of_bandwidth(stage)
            lines.append(
                f"{stage.name:<20}{stage.milliseconds:>9.2f}"
                f"{stage.milliseconds / self.milliseconds:>9.1%}"
                f"{stage.operations / 1e12:>9.4g}{self._of_peak(stage):>12.1%}"
                f"{'-' if moved is None else f'{moved / 1e9:.2f}':>9}"
                f"{'-' if band is None else f'{band:.1%}':>10}{stage.kernels:>9.2f}"
                f"{stage.silent / 1e9:>9.2f}"
            )
        operations = sum(stage.operations for stage in self.stages)
        lines.append(
            f"{operations / self.needed:.3f} times the {self.needed / 1e12:.4g} TFLOP needed"
        )
        return "\n".join(lines)

    def _of_peak(self, stage: Stage) -> float:
        return _ratio(stage.operations, self.peak * stage.milliseconds / 1e3)

    def _of_bandwidth(self, stage: Stage) -> float | None:
        if stage.bytes is None or self.bandwidth is None:
            return None
        return _ratio(stage.bytes, self.bandwidth * stage.milliseconds / 1e3)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def predict(step: Step, compiled: Compiled) -> Profile:
    """The profile that the compiler for a TPU expects of a step.

    Args:
      step: the step.
      compiled: its program, compiled with the effort of a real run.
    """
    program, chip = parse(compiled.program.as_text()), step.chip
    kind, shape, _ = step.topology
    return Profile(
        model=step.model,
        hardware=f"{kind}:{shape}",
        batch_size=step.batch_size,
        needed=step.flops * step.batch_size / math.prod(step.mesh),
        peak=step.peak,
        bandwidth=chip.bandwidth,
        weights=step.weight_bytes,
        program=compiled.argument_bytes + compiled.temporary_bytes - step.weight_bytes,
        stages=predicted_stages(program, chip, step.peak),
    )


def predicted_stages(program: Program, chip: Chip, peak: float) -> tuple[Stage, ...]:
    """The stages of an optimised program, with the time that the compiler for a TPU expects.

    What has no estimate is said at
    `eagle_jax.planning.utilisation.program_time.program_seconds`.

    Args:
      program: from `parse`, compiled with the effort of a real run.
      chip: the chip that it was compiled for.
      peak: operations per second of the chip, in the precision of the products.

    Returns:
      The `STAGES`, also those that take no time.
    """
    sums = {name: [0.0] * 5 for name in STAGES}
    for run in walk(program):
        milliseconds = 1e3 * instruction_seconds(run, chip, peak)
        kernels = milliseconds if is_kernel(run.instruction) else 0.0
        work, moved = operations(program, run), main_memory_bytes(program, run)
        known = cycles(run.instruction) or stated_cost(run.instruction)
        silent = 0 if known else written_bytes(run)
        stage = sums[stage_of(scopes_of(run))]
        for place, value in enumerate((milliseconds, work, moved, kernels, silent)):
            stage[place] += run.times * value
    return tuple(Stage(name, *values) for name, values in sums.items())


def heaviest(program: Program, chip: Chip, peak: float, count: int) -> list[str]:
    """The instructions that take longest, one line each."""
    runs = [(run, run.times * instruction_seconds(run, chip, peak)) for run in walk(program)]
    runs.sort(key=lambda pair: pair[1], reverse=True)
    lines = []
    for run, seconds in runs[:count]:
        shapes = " ".join(
            f"{array.kind}{list(array.dims)}".replace(" ", "")
            for array in run.instruction.arrays
        )
        lines.append(
            f"{1e3 * seconds:>8.2f} ms x{run.times:<5g}"
            f"{operations(program, run) / 1e9:>8.1f} GFLOP"
            f"{main_memory_bytes(program, run) / 1e6:>8.1f} MB  "
            f"{stage_of(scopes_of(run)):<18}{run.name} {shapes}"
        )
    return lines


def scopes_of(run: Run) -> frozenset[str]:
    """The parts of the name that JAX gave an instruction and the loops around it.

    They are scopes and primitives. An instruction of the compiler's own, a copy of a weight for
    example, has the scopes of its operand.
    """
    places = [*run.callers, (run.here, run.name)]
    return frozenset().union(*(_scopes(here, name) for here, name in places))


def _scopes(here: Computation, name: str) -> frozenset[str]:
    while name in here:
        if named := re.search(r'op_name="([^"]*)"', here[name].text):
            parts = re.split(r"[/()]+", named[1])
            # An argument has the name of its place in the network.
            return frozenset(parts if len(parts) > 1 else named[1].split(".")[:2])
        name = here[name].operands[0]
    return frozenset()


def stage_of(scopes: Iterable[str]) -> str:
    """The stage to which an instruction with these parts of its name belongs.

    An instruction outside of the scopes of `eagle_jax.scoring.set_function` serves the search.
    """
    for name in ("pixels", "head"):
        if name in scopes:
            return name
    for name in ("vision", "decoder"):
        if name in scopes:
            return f"{name} attention" if "attention" in scopes else f"{name} rest"
    return "search"
