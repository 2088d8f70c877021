"""The cost of an explanation on accelerators that one does not have yet."""

import math
from pathlib import Path
from typing import NamedTuple

import jax

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.planning.compilation import REAL, Compiled, compiler_missing
from eagle_jax.planning.flops import search_batches
from eagle_jax.planning.step import PROMPT_TOKENS, Step, size_step
from eagle_jax.search.methods import usual_forwards

# Seconds of one core of a server (AMD EPYC, 2024) for an item of a run: reading, dividing and
# asking; and the default search, for each masked image and region.
_PREPARATION, _SEARCHING = 0.2, 1e-5


class Memory(NamedTuple):
    """Memory of a chip, in bytes.

    Attributes:
      weights: the weights.
      program: the program, without the weights.
      estimate: the program by the analytic model alone.
      available: memory that a program can use.
      compile_seconds: time of the compilation; None for a program that was not compiled.
      basis: how `program` is known.
    """

    weights: float
    program: float
    estimate: float
    available: float
    compile_seconds: float | None
    basis: str

    @property
    def total(self) -> float:
        """Weights and program."""
        return self.weights + self.program

    @property
    def fits(self) -> bool:
        """Whether a chip's memory is enough."""
        return self.total <= self.available


class Time(NamedTuple):
    """Work and time of one explanation.

    Attributes:
      forwards: number of masked images of the exact search, n(n + 1) for n regions.
      flops: operations of one forward.
      padding: fraction of the work that only fills up batches.
      reused: fraction of the operations that reuse between masked images saves.
      utilisation: fraction of the chips' peak that they reach.
      basis: how `utilisation` is known.
      seconds: time of the exact search.
      default_forwards: approximate number of masked images of the default search.
      default_seconds: approximate time of the default search.
      host_seconds: approximate time that one core of the host takes for an item of a run.
    """

    forwards: int
    flops: float
    padding: float
    reused: float
    utilisation: float
    basis: str
    seconds: float
    default_forwards: int
    default_seconds: float
    host_seconds: float


class Plan(NamedTuple):
    """Memory, mesh and time of one explanation; `print` shows it as a table.

    Attributes:
      model: name of the checkpoint.
      topology: kind and number of chips, as given.
      precision: "bfloat16" or "int8".
      image: width and height in pixels.
      tokens: number of visual tokens, other prompt tokens and target tokens.
      regions: number of regions.
      mesh: number of devices along "data" and "model".
      batch_size: number of masked images of a batch, over all devices.
      memory: memory of each chip.
      time: work and time.
    """

    model: str
    topology: str
    precision: str
    image: tuple[int, int]
    tokens: tuple[int, int, int]
    regions: int
    mesh: tuple[int, int]
    batch_size: int
    memory: Memory
    time: Time

    def __str__(self) -> str:
        (width, height), (visual, prompt, targets) = self.image, self.tokens
        (data, model), memory = self.mesh, self.memory
        chips = "1 chip" if data * model == 1 else f"{data * model} chips"
        rows = [
            ("model", f"{self.model}, {self.precision} weights"),
            (
                "image",
                f"{width} x {height} pixels, {self.regions} regions; {visual} visual, "
                f"{prompt} prompt and {targets} target tokens",
            ),
            ("hardware", f"{self.topology}, {chips} with {memory.available / 1e9:.1f} GB each"),
            ("", ""),
            ("weights", f"{memory.weights / 1e9:6.2f} GB per chip"),
            ("program", f"{memory.program / 1e9:6.2f} GB per chip"),
            (
                "total",
                f"{memory.total / 1e9:6.2f} GB per chip: "
                f"{'fits' if memory.fits else 'DOES NOT FIT'}",
            ),
            ("", memory.basis),
            ("", ""),
            ("mesh", f'jax.make_mesh(({data}, {model}), ("data", "model"))'),
            ("batch size", f"{self.batch_size} masked images, over all chips"),
            ("", ""),
            *_time_rows(self.time),
        ]
        if model > 1:
            rows.append(("", "communication between chips is not included"))
        return "\n".join(f"{name:<12}{text}".rstrip() for name, text in rows)


@checked
def plan(
    model: str | Path = "demo",
    *,
    image: str = "640x480",
    regions: int = 64,
    topology: str = "v6e:2x4",
    targets: int = 24,
    quantize: str | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    utilisation: float | None = None,
    effort: float = REAL,
) -> Plan:
    """Sizes a run before anything is downloaded or paid for.

    For TPUs the greedy step is compiled for the topology where libtpu is installed, which takes
    a minute or two; memory and time are then the compiler's. In all other cases memory is
    computed by an analytic model, and time from the compiler's prediction for a published
    checkpoint, or from an assumption. The plan says which.

    Args:
      model: hub id of a published checkpoint that ships as a configuration
        (`published_models`), a folder with config.json and preprocessor_config.json, or "demo".
      image: width and height in pixels, "640x480".
      regions: number of regions.
      topology: "v5e:2x2", "v6e:2x4" and so on, or "a100", "h100", "h200", with ":8" for eight.
      targets: number of answer tokens that are explained.
      quantize: None for bfloat16 weights, or "int8".
      min_pixels, max_pixels: bounds of the number of pixels that the image is resized to, for
        models of Qwen; None keeps the checkpoint's.
      utilisation: fraction of the chips' peak rate, above 0 and at most 1, to assume in place
        of a prediction.
      effort: effort of the compiler, as of `eagle_jax.planning.compilation.compile_step`; with
        less than a run gets, the program shows its memory but not its time.

    Returns:
      The plan.

    Raises:
      InputError: an argument cannot be used; the message lists what is accepted.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise InputError(f"utilisation is {utilisation}; it must be above 0 and at most 1")
    step = size_step(
        str(model),
        image=image,
        regions=regions,
        topology=topology,
        targets=targets,
        quantize=quantize,
        min_pixels=min_pixels,
        max_pixels=max_pixels,
    )
    memory, compiled = _memory(step, topology, effort)
    if utilisation is not None:
        fraction, basis = utilisation, "as given"
    else:
        # Imported when needed: only a plan looks into programs.
        from eagle_jax.planning.utilisation import predict_utilisation

        fraction, basis = predict_utilisation(step, compiled if effort >= REAL else None)
    return Plan(
        model=step.model,
        topology=topology,
        precision=step.precision,
        image=step.image_size,
        tokens=(step.image_plan.tokens, PROMPT_TOKENS, targets),
        regions=regions,
        mesh=step.mesh,
        batch_size=step.batch_size,
        memory=memory,
        time=_time(step, fraction, basis),
    )


def _memory(step: Step, topology: str, effort: float) -> tuple[Memory, Compiled | None]:
    """The memory of a step, and its program where it can be compiled."""
    kind, chip = step.topology[0], step.chip
    weights, estimate = float(step.weight_bytes), step.program_bytes
    program, compiled = estimate, None
    if not chip.tpu:
        basis = f"analytic memory: programs are compiled in advance for TPUs only, not {kind}"
    elif missing := compiler_missing():
        basis = f"analytic memory: {missing}"
    else:
        try:
            compiled = step.compile(effort)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            program = max(estimate, chip.memory + 1 - weights)
            basis = f"analytic memory, at least a chip's: the compiler for {kind} refuses it"
        else:
            program = compiled.argument_bytes + compiled.temporary_bytes - weights
            basis = (
                f"memory of the program, compiled for {topology} in {compiled.seconds:.0f} s"
            )
    seconds = None if compiled is None else compiled.seconds
    return Memory(weights, program, estimate, chip.memory, seconds, basis), compiled


def _time(step: Step, utilisation: float, basis: str) -> Time:
    regions = step.regions
    forwards, default_forwards = regions * (regions + 1), usual_forwards(regions)
    scored = search_batches(regions, step.batch_size) * step.batch_size
    needed = step.search_flops
    rate = math.prod(step.mesh) * utilisation * step.peak
    return Time(
        forwards=forwards,
        flops=step.flops,
        padding=1 - forwards / scored,
        reused=1 - needed / (scored * step.flops),
        utilisation=utilisation,
        basis=basis,
        seconds=needed / rate,
        default_forwards=default_forwards,
        default_seconds=default_forwards * step.flops / rate,
        host_seconds=_PREPARATION + _SEARCHING * regions * default_forwards,
    )


def _time_rows(time: Time) -> list[tuple[str, str]]:
    cores = math.ceil(time.host_seconds / time.default_seconds)
    reuse = f"saves {time.reused:.0%} of the exact search's operations"
    return [
        (
            "operations",
            f"{time.forwards} forwards of {time.flops / 1e12:.2f} TFLOP: "
            f"{time.forwards * time.flops / 1e15:.1f} PFLOP per explanation",
        ),
        *([("reuse", reuse)] if time.reused else []),
        (
            "time",
            f"{_duration(time.seconds)} per explanation at {time.utilisation:.0%} of peak "
            f"({time.padding:.0%} of the work only fills up batches)",
        ),
        ("", time.basis),
        (
            "search",
            f"exact; the default search takes about {time.default_forwards} forwards, "
            f"{_duration(time.default_seconds)}",
        ),
        (
            "host",
            f"about {time.host_seconds:.1f} s of a core for each item of a run; the chips "
            f"wait for the host with fewer than {cores} cores"
            if cores > 1
            else f"about {time.host_seconds:.1f} s of a core for each item of a run, less than "
            "the chips take",
        ),
    ]


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
