"""Where the time of the fused step goes, stage by stage, without the chip or on it."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from eagle_jax.planning import hlo
from eagle_jax.planning.chips import Chip
from eagle_jax.planning.compilation import Compiled
from eagle_jax.planning.instruction_costs import (
    is_kernel,
    main_memory_bytes,
    operations,
    stated_cost,
    written_bytes,
)
from eagle_jax.planning.step import Step

# Kernels written for a chip carry no estimate: they are taken to reach this share of its peak
# or of its bandwidth, whichever takes longer.
KERNEL_SHARE = 0.5
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
      name: one of `STAGES`, or what was measured.
      milliseconds: it takes.
      operations: of its products, as the program does them, superfluous ones included.
      bytes: between main memory and the core; None where that is not known.
      kernels: milliseconds of these that are counted at `KERNEL_SHARE`, for kernels.
      silent: bytes written by gathers, between chips, and by kernels that state no cost:
        nothing is known of their time, but for what the bytes of a kernel take.
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
      batch_size: masks of the batch, of all chips.
      needed: operations that the chip's part of them needs, see
        `eagle_jax.planning.flops.forward_flops`.
      peak: operations per second of the chip.
      bandwidth: bytes per second of its main memory; None where that is not known.
      weights: bytes on the chip.
      program: bytes on the chip besides.
      stages: which follow each other.
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
        """All stages, one after the other."""
        return sum(stage.milliseconds for stage in self.stages)

    @property
    def share(self) -> float:
        """Of the peak, counting the operations that are needed."""
        return self.needed / (self.peak * self.milliseconds / 1e3)

    def as_json(self) -> dict[str, Any]:
        """The profile as plain numbers, each stage with its share of peak and bandwidth."""
        found = dataclasses.asdict(self) | {
            "milliseconds": self.milliseconds,
            "share": self.share,
            "stages": [
                stage._asdict()
                | {"share": self._of_peak(stage), "bandwidth": self._of_bandwidth(stage)}
                for stage in self.stages
            ],
        }
        return _rounded(found)

    def table(self) -> str:
        """The profile as lines of text."""
        lines = [
            f"{self.model}, {self.hardware}, {self.batch_size} masks a batch: "
            f"{self.milliseconds:.4g} ms, {self.share:.1%} of peak",
            f"{'':<20}{'ms':>9}{'of all':>9}{'TFLOP':>9}{'of peak':>9}{'GB':>9}"
            f"{'of band':>9}{'kernels':>9}{'silent':>9}",
        ]
        for stage in self.stages:
            moved, band = stage.bytes, self._of_bandwidth(stage)
            lines.append(
                f"{stage.name:<20}{stage.milliseconds:>9.2f}"
                f"{stage.milliseconds / self.milliseconds:>9.1%}"
                f"{stage.operations / 1e12:>9.4g}{self._of_peak(stage):>9.1%}"
                f"{'-' if moved is None else f'{moved / 1e9:.2f}':>9}"
                f"{'-' if band is None else f'{band:.1%}':>9}{stage.kernels:>9.2f}"
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
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def predict(step: Step, compiled: Compiled) -> Profile:
    """What the compiler for a TPU expects of a step.

    Args:
      step: that was compiled.
      compiled: the result, with the effort of a real run.
    """
    program, chip = hlo.parse(compiled.program.as_text()), step.chip
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


def predicted_stages(program: hlo.Program, chip: Chip, peak: float) -> tuple[Stage, ...]:
    """What the compiler for a TPU expects of a program that it has optimised.

    Each fusion carries an estimate in cycles, but for gathers; what chips send each other and
    what runs beside the rest, such as copies into the core's memory, has none, and neither has
    waiting for it. The program's loop over batches runs once here: what it does once for all
    batches counts in full.

    Args:
      program: of `hlo.parse`, compiled with the effort of a real run.
      chip: that it was compiled for.
      peak: operations per second of the chip, in the precision of the products.

    Returns:
      The `STAGES`, also those that take no time.
    """
    sums = {name: [0.0] * 5 for name in STAGES}
    for run in hlo.walk(program):
        seconds, kernels, work, moved = _cost(program, run, chip, peak)
        known = hlo.cycles(run.instruction) or stated_cost(run.instruction)
        silent = 0 if known else written_bytes(run)
        stage = sums[stage_of(run.scopes)]
        for place, value in enumerate((1e3 * seconds, work, moved, 1e3 * kernels, silent)):
            stage[place] += run.times * value
    return tuple(Stage(name, *values) for name, values in sums.items())


def heaviest(program: hlo.Program, chip: Chip, peak: float, count: int) -> list[str]:
    """The instructions that take longest, one line each, for whoever wants to change that."""
    runs = [(run, *_cost(program, run, chip, peak)) for run in hlo.walk(program)]
    runs.sort(key=lambda one: one[0].times * one[1], reverse=True)
    lines = []
    for run, seconds, _, work, moved in runs[:count]:
        arrays = run.instruction.arrays
        shapes = " ".join(f"{one.kind}{list(one.dims)}".replace(" ", "") for one in arrays)
        lines.append(
            f"{1e3 * seconds * run.times:>8.2f} ms x{run.times:<5g}{work / 1e9:>8.1f} GFLOP"
            f"{moved / 1e6:>8.1f} MB  {stage_of(run.scopes):<18}{run.name} {shapes}"
        )
    return lines


def _cost(
    program: hlo.Program, run: hlo.Run, chip: Chip, peak: float
) -> tuple[float, float, float, float]:
    """Seconds of one run, those of them counted for kernels, operations and bytes."""
    assert chip.clock is not None
    work, moved = operations(program, run), main_memory_bytes(program, run)
    if is_kernel(run.instruction):
        counted = max(work / peak, moved / chip.bandwidth) / KERNEL_SHARE
        return counted, counted, work, moved
    return hlo.cycles(run.instruction) / chip.clock, 0.0, work, moved


def stage_of(scopes: Iterable[str]) -> str:
    """The stage to which an instruction with these parts of its name belongs.

    What stands outside of the scopes of `eagle_jax.scoring.set_function` serves the search.
    """
    for name in ("pixels", "head"):
        if name in scopes:
            return name
    for name in ("vision", "decoder"):
        if name in scopes:
            return f"{name} attention" if "attention" in scopes else f"{name} rest"
    return "search"
