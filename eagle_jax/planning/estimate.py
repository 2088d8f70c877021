"""What an explanation costs on accelerators that one does not have yet."""

import dataclasses
import json
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from eagle_jax.errors import InputError
from eagle_jax.files import DEMO
from eagle_jax.inputs.image_settings import ImageSettings
from eagle_jax.inputs.patches import ImagePlan, plan_image
from eagle_jax.inputs.processors import read_settings
from eagle_jax.inputs.prompt import require_context
from eagle_jax.models.checkpoints.weights import read_config
from eagle_jax.models.layers.building_blocks import in_int8
from eagle_jax.planning.compilation import (
    QUICK,
    compile_step,
    compiler_missing,
    in_bfloat16,
    step_shapes,
    tpu_mesh,
)
from eagle_jax.planning.flops import forward_flops
from eagle_jax.planning.program_memory import program_bytes, weight_bytes
from eagle_jax.scoring.model import abstract_network, read_image_settings
from eagle_jax.scoring.scorer import filling_batch_size

# Tokens of a prompt besides the image's: a chat template and a question of one sentence.
PROMPT_TOKENS = 40
_MOST_PIXELS = 10_000
_MOST_REGIONS = 4096
_MOST_TARGETS = 2048
# Beyond this many, the parts wait for each other longer than they compute.
_MOST_PARTS = 8
_GIB = 2**30


class Chip(NamedTuple):
    """An accelerator.

    Attributes:
      memory: bytes that programs can use, per chip.
      bfloat16: peak operations per second.
      int8: peak operations per second; None where int8 products are not known to be faster.
      largest: most chips of one slice or host.
      tpu: whether programs for it can be compiled without it.
    """

    memory: float
    bfloat16: float
    int8: float | None
    largest: int
    tpu: bool


CHIPS = {
    "v5e": Chip(15.75 * _GIB, 197e12, 394e12, 256, True),
    "v6e": Chip(31.25 * _GIB, 918e12, 1836e12, 256, True),
    "a100": Chip(0.95 * 80e9, 312e12, None, 16, False),
    "h100": Chip(0.95 * 80e9, 989e12, None, 8, False),
    "h200": Chip(0.95 * 141e9, 989e12, None, 8, False),
}
_TPU_SLICES = [[1, 1], [1, 2], [2, 2], [2, 4], [4, 4], [4, 8], [8, 8], [8, 16], [16, 16]]


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
      forwards: masked images of one explanation, n(n + 1).
      padding: share of the work that only fills up batches.
      flops: operations of one forward.
      share: of the peak that is assumed.
      seconds: one explanation takes.
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
    share: float
    seconds: float
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
            (
                "time",
                f"{_duration(self.seconds)} per explanation at {self.share:.0%} of peak "
                f"({self.padding:.0%} of the work only fills up batches)",
            ),
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
    share: float = 0.5,
    effort: float = QUICK,
) -> Plan:
    """Sizes a run before anything is downloaded or paid for.

    For TPUs the greedy step is compiled for the topology, where libtpu is installed, and its
    memory is the compiler's; everywhere else an analytic model stands in.

    Args:
      model: a published checkpoint that ships as a configuration, see `published_models`, a
        folder with config.json and preprocessor_config.json, or "demo".
      image: width and height in pixels, "640x480".
      regions: number of regions.
      topology: "v5e:2x2", "v6e:2x4" and so on, or "a100", "h100", "h200", with ":8" for eight.
      targets: tokens of the answer that are explained.
      quantize: None for bfloat16 weights, or "int8".
      share: of the chips' peak rate that the time assumes, above 0 and at most 1.
      effort: of the compiler, see `eagle_jax.planning.compilation.compile_step`.

    Returns:
      The plan.

    Raises:
      InputError: an argument that cannot be used; the message lists what is accepted.
    """
    kind, shape, chips = parse_topology(topology)
    width, height = _parse_image(image)
    for name, value, most in (
        ("regions", regions, _MOST_REGIONS),
        ("targets", targets, _MOST_TARGETS),
    ):
        if not 1 <= value <= most:
            raise InputError(f"{name} is {value}; it must be from 1 to {most}")
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; it must be above 0 and at most 1")
    if quantize not in (None, "int8"):
        raise InputError(f"quantize is {quantize!r}; it must be int8, or left out")

    name, skeleton, settings = _read_model(str(model))
    chip = CHIPS[kind]
    skeleton = in_bfloat16(skeleton)
    if quantize == "int8":
        skeleton = in_int8(skeleton)
    pixels = np.zeros((height, width, 3), np.uint8)
    layout = plan_image(pixels, np.zeros((height, width), np.int32), settings)
    visual = layout.tokens
    length = visual + PROMPT_TOKENS + targets
    require_context(length, visual, skeleton.config.decoder.context)

    rows = visual + PROMPT_TOKENS + np.arange(targets) - 1
    mesh, batch_size = _choose(skeleton, layout, rows, chips, chip)
    weights = weight_bytes(skeleton, mesh[1])
    memory = estimate = _program(skeleton, layout, rows, batch_size, mesh, chip)
    compiled_in = None
    if not chip.tpu:
        note = f"analytic memory: programs are compiled in advance for TPUs only, not {kind}"
    elif missing := compiler_missing():
        note = f"analytic memory: {missing}"
    else:
        arguments = step_shapes(skeleton, layout, PROMPT_TOKENS, targets, regions)
        devices = tpu_mesh(kind, shape, *mesh)
        try:
            compiled = compile_step(skeleton, arguments, batch_size, devices, effort)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            memory = max(memory, chip.memory + 1 - weights)
            note = f"analytic memory, at least a chip's: the compiler for {kind} refuses it"
        else:
            memory = compiled.argument_bytes + compiled.temporary_bytes - weights
            compiled_in = compiled.seconds
            note = f"memory of the program, compiled for {topology} in {compiled_in:.0f} s"
    flops = forward_flops(skeleton.config, layout.grid, rows)
    forwards = regions * (regions + 1)
    scored = sum(-(-2 * left // batch_size) * batch_size for left in range(1, regions + 1))
    peak = chip.int8 if quantize == "int8" and chip.int8 else chip.bfloat16
    return Plan(
        model=name,
        topology=topology,
        precision=quantize or "bfloat16",
        image=(width, height),
        tokens=(visual, PROMPT_TOKENS, targets),
        regions=regions,
        mesh=mesh,
        batch_size=batch_size,
        weights=float(weights),
        program=float(memory),
        estimate=estimate,
        memory=chip.memory,
        forwards=forwards,
        padding=1 - forwards / scored,
        flops=flops,
        share=share,
        seconds=scored * flops / (chips * share * peak),
        compile_seconds=compiled_in,
        note=note,
    )


def published_models() -> dict[str, dict[str, Any]]:
    """The checkpoints whose configurations ship with the package, by hub id."""
    folder = resources.files("eagle_jax.planning") / "configs"
    files = [json.loads(path.read_text("utf-8")) for path in folder.iterdir()]
    return {found["name"]: found for found in sorted(files, key=lambda found: found["name"])}


def parse_topology(topology: str) -> tuple[str, str, int]:
    """Kind of chip, shape and number of chips.

    Raises:
      InputError: it is none that is known.
    """
    kind, _, shape = topology.lower().partition(":")
    chip = CHIPS.get(kind)
    if chip is not None and chip.tpu and re.fullmatch(r"\d{1,2}x\d{1,2}", shape):
        sides = sorted(map(int, shape.split("x")))
        if sides in _TPU_SLICES:
            return kind, shape, math.prod(sides)
    elif chip is not None and not chip.tpu and re.fullmatch(r"[1-9]\d?", shape or "1"):
        if int(shape or 1) <= chip.largest:
            return kind, shape or "1", int(shape or 1)
    slices = ", ".join("x".join(map(str, sides)) for sides in _TPU_SLICES)
    raise InputError(
        f"topology is {topology!r}; it must be v5e:SHAPE or v6e:SHAPE with SHAPE one of "
        f"{slices}, or a100, h100 or h200, with :N for N of them on one host"
    )


def _choose(
    skeleton: Any, layout: ImagePlan, rows: np.ndarray, chips: int, chip: Chip
) -> tuple[tuple[int, int], int]:
    """The mesh with the fewest parts of the weights that fits, and its batch size."""
    tokens = max(math.prod(layout.grid), int(rows.max()) + 1)
    parts = 1
    while True:
        data = chips // parts
        own = filling_batch_size(tokens, data, "tpu" if chip.tpu else "gpu") // data
        while True:
            need = _program(skeleton, layout, rows, own * data, (data, parts), chip)
            if weight_bytes(skeleton, parts) + need <= chip.memory:
                return (data, parts), own * data
            if own == 1:
                break
            own //= 2
        if chips % (2 * parts) or parts == _MOST_PARTS:
            return (data, parts), data
        parts *= 2


def _program(
    skeleton: Any,
    layout: ImagePlan,
    rows: np.ndarray,
    batch_size: int,
    mesh: tuple[int, int],
    chip: Chip,
) -> float:
    own = batch_size // mesh[0]
    return program_bytes(skeleton.config, layout, rows, own, mesh[1], not chip.tpu)


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


def _parse_image(image: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", image.lower())
    sides = (int(found[1]), int(found[2])) if found else (0, 0)
    if not all(1 <= side <= _MOST_PIXELS for side in sides):
        raise InputError(
            f"image is {image!r}; it must be WIDTHxHEIGHT in pixels, such as 640x480, with "
            f"sides from 1 to {_MOST_PIXELS}"
        )
    return sides


def _read_model(model: str) -> tuple[str, Any, ImageSettings]:
    published = published_models()
    if model in published:
        found = published[model]
        skeleton, _ = abstract_network(found["config"], model)
        return model, skeleton, read_settings(found["preprocessor_config"])
    folder = DEMO / "checkpoint" if model == "demo" else Path(model)
    if not folder.is_dir():
        raise InputError(
            f"model is {model!r}; it must be demo, a folder with config.json and "
            f"preprocessor_config.json, or one of {', '.join(published)}"
        )
    skeleton, _ = abstract_network(read_config(folder), str(folder / "config.json"))
    return model, skeleton, read_image_settings(folder, skeleton.config.vision)
