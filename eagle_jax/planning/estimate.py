"""What an explanation costs on accelerators that one does not have yet."""

import dataclasses
import math
from pathlib import Path

import jax

from eagle_jax.errors import InputError
from eagle_jax.planning.compilation import REAL, compiler_missing
from eagle_jax.planning.flops import search_batches
from eagle_jax.planning.predictions import Share, known_share
from eagle_jax.planning.stages import predict
from eagle_jax.planning.step import PROMPT_TOKENS, size_step
from eagle_jax.search.methods import usual_forwards


@dataclasses.dataclass(frozen=True)
class Plan:
    """Memory, mesh and time of one explanation by the exact search.

    Attributes:
      model: name of the checkpoint.
      topology: as it was given.
      precision: "bfloat16" or "int8".
      image: width and height in pixels.
      tokens: visual tokens, other prompt tokens, target tokens.
      regions: number of regions.
      mesh: devices along "data" and "model".
      batch_size: masks per forward, over all devices.
      weights: bytes per chip.
      program: bytes per chip besides the weights.
      estimate: the same by the analytic model alone.
      memory: bytes a program can use per chip.
      forwards: masked images of one explanation by the exact search, n(n + 1).
      padding: share of the work that only fills up batches.
      flops: operations of one forward.
      reused: share of the exact search's operations that need not be done again, see
        `eagle_jax.scoring.reuse`.
      share: of the chips' peak.
      basis: how the share is known.
      seconds: one explanation takes by the exact search.
      usual_forwards: masked images of one explanation by the default search, about.
      usual_seconds: it takes.
      compile_seconds: compilation took; None where memory is computed, not compiled.
      note: where the figures come from.
    """

    model: str
    topology: str
    precision: str
    image: tuple[int, int]
    tokens: tuple[int, int, int]
    regions: int
    mesh: tuple[int, int]
    batch_size: int
    weights: float
    program: float
    estimate: float
    memory: float
    forwards: int
    padding: float
    flops: float
    reused: float
    share: float
    basis: str
    seconds: float
    usual_forwards: int
    usual_seconds: float
    compile_seconds: float | None
    note: str

    @property
    def total(self) -> float:
        """Bytes per chip."""
        return self.weights + self.program

    @property
    def fits(self) -> bool:
        """Whether a chip's memory is enough."""
        return self.total <= self.memory

    def page(self) -> str:
        """The plan as a short page of text."""
        (width, height), (data, model) = self.image, self.mesh
        visual, prompt, targets = self.tokens
        chips = "1 chip" if data * model == 1 else f"{data * model} chips"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        rows = [
            ("model", f"{self.model}, {self.precision} weights"),
            (
                "image",
                f"{width} x {height} pixels, {self.regions} regions; {visual} visual, "
                f"{prompt} prompt and {targets} target tokens",
            ),
            ("hardware", f"{self.topology}, {chips} with {self.memory / 1e9:.1f} GB each"),
            ("", ""),
            ("weights", f"{self.weights / 1e9:6.2f} GB per chip"),
            ("program", f"{self.program / 1e9:6.2f} GB per chip"),
            ("total", f"{self.total / 1e9:6.2f} GB per chip: {verdict}"),
            ("", ""),
            ("mesh", f'jax.make_mesh(({data}, {model}), ("data", "model"))'),
            ("batch size", f"{self.batch_size} masks per forward, over all chips"),
            ("", ""),
            (
                "operations",
                f"{self.forwards} forwards of {self.flops / 1e12:.2f} TFLOP: "
                f"{self.forwards * self.flops / 1e15:.1f} PFLOP per explanation",
            ),
            *(
                [("reuse", f"leaves out {self.reused:.0%} of the exact search's")]
                if self.reused
                else []
            ),
            (
                "time",
                f"{_duration(self.seconds)} per explanation at {self.share:.0%} of peak "
                f"({self.padding:.0%} of the work only fills up batches)",
            ),
            (
                "search",
                f"exact; the default takes about {self.usual_forwards} forwards, "
                f"{_duration(self.usual_seconds)}",
            ),
            ("share", self.basis),
            *([("", "what the chips send each other is not in it")] if model > 1 else []),
            ("figures", self.note),
        ]
        return "\n".join(f"{name:<12}{text}".rstrip() for name, text in rows)


def plan(
    model: str | Path = "demo",
    *,
    image: str = "640x480",
    regions: int = 64,
    topology: str = "v6e:2x4",
    targets: int = 24,
    quantize: str | None = None,
    share: float | None = None,
    effort: float = REAL,
) -> Plan:
    """Sizes a run before anything is downloaded or paid for.

    For TPUs the greedy step is compiled for the topology, where libtpu is installed, which
    takes a minute or two; memory and time are the compiler's. Everywhere else an analytic model
    stands in for the memory, and for the time what the compiler predicted for the published
    checkpoints, or an assumption. The plan says which.

    Args:
      model: a published checkpoint that ships as a configuration, see `published_models`, a
        folder with config.json and preprocessor_config.json, or "demo".
      image: width and height in pixels, "640x480".
      regions: number of regions.
      topology: "v5e:2x2", "v6e:2x4" and so on, or "a100", "h100", "h200", with ":8" for eight.
      targets: tokens of the answer that are explained.
      quantize: None for bfloat16 weights, or "int8".
      share: of the chips' peak rate, above 0 and at most 1, in place of a prediction.
      effort: of the compiler, see `eagle_jax.planning.compilation.compile_step`; with less
        than a run gets, the program tells its memory but not its time.

    Returns:
      The plan.

    Raises:
      InputError: an argument that cannot be used; the message lists what is accepted.
    """
    if share is not None and not 0 < share <= 1:
        raise InputError(f"share is {share}; it must be above 0 and at most 1")
    step = size_step(
        str(model),
        image=image,
        regions=regions,
        topology=topology,
        targets=targets,
        quantize=quantize,
    )
    kind, chip, weights = step.topology[0], step.chip, step.weight_bytes
    memory = estimate = step.program_bytes
    expected, compiled_in = known_share(step), None
    if not chip.tpu:
        note = f"analytic memory: programs are compiled in advance for TPUs only, not {kind}"
    elif missing := compiler_missing():
        note = f"analytic memory: {missing}"
    else:
        try:
            compiled = step.compile(effort)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            memory = max(memory, chip.memory + 1 - weights)
            note = f"analytic memory, at least a chip's: the compiler for {kind} refuses it"
        else:
            profile = predict(step, compiled)
            memory, compiled_in = profile.program, compiled.seconds
            note = f"memory of the program, compiled for {topology} in {compiled_in:.0f} s"
            if effort >= REAL:
                expected = Share(profile.share, "the compiler's prediction for this program")
    if share is not None:
        expected = Share(share, "as given")
    forwards = regions * (regions + 1)
    batch = step.batch_size
    usual = usual_forwards(regions)
    rate = math.prod(step.mesh) * expected.value * step.peak
    scored = search_batches(regions, batch) * batch
    needed = step.search_flops
    return Plan(
        model=step.model,
        topology=topology,
        precision=step.precision,
        image=step.pixels,
        tokens=(step.image.tokens, PROMPT_TOKENS, targets),
        regions=regions,
        mesh=step.mesh,
        batch_size=batch,
        weights=float(weights),
        program=float(memory),
        estimate=estimate,
        memory=chip.memory,
        forwards=forwards,
        padding=1 - forwards / scored,
        flops=step.flops,
        reused=1 - needed / (scored * step.flops),
        share=expected.value,
        basis=expected.basis,
        seconds=needed / rate,
        usual_forwards=usual,
        usual_seconds=usual * step.flops / rate,
        compile_seconds=compiled_in,
        note=note,
    )


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
