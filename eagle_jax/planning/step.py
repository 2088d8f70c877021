"""The fused step of a run, sized but not run: the model's shapes, the image, mesh and batch."""

import math
import re
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import ImagePlan, plan_image
from eagle_jax.inputs.pixel_budget import with_pixel_bounds
from eagle_jax.inputs.prompt import require_context
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.building_blocks import in_int8
from eagle_jax.planning import compilation
from eagle_jax.planning.chips import CHIPS, Chip, parse_topology
from eagle_jax.planning.flops import forward_flops, search_flops
from eagle_jax.planning.program_memory import program_bytes, weight_bytes
from eagle_jax.planning.published import read_model
from eagle_jax.scoring.question import Question
from eagle_jax.scoring.scorer import filling_batch_size

# Tokens of a prompt besides the image's: a chat template and a question of one sentence.
PROMPT_TOKENS = 40
_MOST_PIXELS = 10_000
_MOST_REGIONS = 4096
_MOST_TARGETS = 2048
# Devices that share one copy of the weights wait for each other: beyond this number longer than
# they compute.
_MOST_SPLIT = 8


class Step(NamedTuple):
    """One step of the exact search, as it would be run.

    Attributes:
      model: name of the checkpoint.
      network: the model's modules with shapes in place of weights.
      image_size: width and height of the image in pixels.
      image_plan: the image and its regions, prepared for the model.
      regions: number of regions.
      rows: sequence positions whose outputs are read.
      topology: kind of chip, shape of the slice, number of chips.
      mesh: number of devices along "data" and "model".
      batch_size: number of masked images of a batch, over all devices.
      precision: "bfloat16" or "int8".
    """

    model: str
    network: Network
    image_size: tuple[int, int]
    image_plan: ImagePlan
    regions: int
    rows: Int[np.ndarray, " t"]
    topology: tuple[str, str, int]
    mesh: tuple[int, int]
    batch_size: int
    precision: str

    @property
    def chip(self) -> Chip:
        """The kind of chip."""
        return CHIPS[self.topology[0]]

    @property
    def peak(self) -> float:
        """Operations per second of one chip, in the precision of the weights."""
        if self.precision == "int8" and self.chip.int8 is not None:
            return self.chip.int8
        return self.chip.bfloat16

    @property
    def flops(self) -> float:
        """Operations that one masked image needs."""
        return forward_flops(self.network.config, self.image_plan.grid, self.rows)

    @property
    def search_flops(self) -> float:
        """Operations of an exact search, what fills up batches included."""
        return search_flops(
            self.network,
            self.image_plan,
            self.rows,
            self.regions,
            self.batch_size,
            self.mesh,
        )

    @property
    def labels(self) -> Int32[np.ndarray, "H W"]:
        """The region of each pixel: about squares, of about one size."""
        return _cells(self.image_size, self.regions)

    @property
    def question(self) -> Question:
        """A question of the step's shape, its arrays on the host."""
        return compilation.step_question(
            self.network, self.image_plan, PROMPT_TOKENS, len(self.rows)
        )

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights, per chip."""
        return weight_bytes(self.network, self.mesh[1])

    @property
    def program_bytes(self) -> float:
        """Bytes of the program besides the weights, per chip, by the analytic model."""
        # The attention kernel for TPUs needs whole heads on each chip (`kernels.unsplit`).
        fused = not self.chip.tpu or self.mesh[1] == 1
        sets = self.batch_size // self.mesh[0]
        config = self.network.config
        return program_bytes(config, self.image_plan, self.rows, sets, self.mesh[1], fused)

    def compile(self, effort: float) -> compilation.Compiled:
        """Compiles the step for the TPUs of its topology, which need not exist.

        Args:
          effort: effort of the compiler, as of `eagle_jax.planning.compilation.compile_step`.

        Raises:
          jax.errors.JaxRuntimeError: the program does not fit the devices' memory, for example.
        """
        kind, shape, _ = self.topology
        shapes = compilation.step_shapes(self.question, self.regions)
        devices = compilation.tpu_mesh(kind, shape, *self.mesh)
        return compilation.compile_step(self.network, shapes, self.batch_size, devices, effort)


def size_step(
    model: str,
    *,
    image: str,
    regions: int,
    topology: str,
    targets: int,
    quantize: str | None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> Step:
    """Chooses mesh and batch size for a step; the arguments are those of `eagle_jax.plan`.

    Raises:
      InputError: an argument cannot be used; the message lists what is accepted.
    """
    kind, shape, chips = parse_topology(topology)
    width, height = _parse_image(image)
    for name, value, most in (
        ("regions", regions, _MOST_REGIONS),
        ("targets", targets, _MOST_TARGETS),
    ):
        if not 1 <= value <= most:
            raise InputError(f"{name} is {value}; it must be from 1 to {most}")
    if quantize not in (None, "int8"):
        raise InputError(f"quantize is {quantize!r}; it must be int8, or left out")

    name, network, settings = read_model(model)
    settings = with_pixel_bounds(settings, min_pixels, max_pixels)
    network = compilation.in_bfloat16(network)
    if quantize == "int8":
        network = in_int8(network)
    pixels = np.zeros((height, width, 3), np.uint8)
    image_plan = plan_image(pixels, _cells((width, height), regions), settings)
    length = image_plan.tokens + PROMPT_TOKENS + targets
    require_context(length, image_plan.tokens, network.config.decoder.context)
    rows = image_plan.tokens + PROMPT_TOKENS + np.arange(targets) - 1
    mesh, batch_size = _choose(network, image_plan, rows, chips, CHIPS[kind])
    return Step(
        model=name,
        network=network,
        image_size=(width, height),
        image_plan=image_plan,
        regions=regions,
        rows=rows,
        topology=(kind, shape, chips),
        mesh=mesh,
        batch_size=batch_size,
        precision=quantize or "bfloat16",
    )


def _cells(image_size: tuple[int, int], regions: int) -> np.ndarray:
    width, height = image_size
    columns = np.clip(round(math.sqrt(regions * width / height)), 1, regions)
    rows = -(-regions // columns)
    begins = np.arange(rows + 1) * regions // rows
    row = np.arange(height)[:, None] * rows // height
    inside = np.arange(width) * np.diff(begins)[row] // width
    return (begins[row] + inside).astype(np.int32)


def _choose(
    skeleton: Any, image_plan: ImagePlan, rows: np.ndarray, chips: int, chip: Chip
) -> tuple[tuple[int, int], int]:
    """The mesh that splits the weights least and fits, and its batch size."""
    tokens = max(math.prod(image_plan.grid), int(rows.max()) + 1)
    split_weights = 1
    while True:
        data = chips // split_weights
        weights = weight_bytes(skeleton, split_weights)
        sets = filling_batch_size(tokens, data, "tpu" if chip.tpu else "gpu") // data
        while sets:
            # As if scores were written on TPUs: weights that leave a chip no memory for them
            # leave none for batches of a good size.
            program = program_bytes(
                skeleton.config, image_plan, rows, sets, split_weights, not chip.tpu
            )
            if weights + program <= chip.memory:
                return (data, split_weights), sets * data
            sets //= 2
        if chips % (2 * split_weights) or split_weights == _MOST_SPLIT:
            return (data, split_weights), data
        split_weights *= 2


def _parse_image(image: str) -> tuple[int, int]:
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", image.lower())
    sides = (int(size[1]), int(size[2])) if size else (0, 0)
    if not all(1 <= side <= _MOST_PIXELS for side in sides):
        raise InputError(
            f"image is {image!r}; it must be WIDTHxHEIGHT in pixels, such as 640x480, with "
            f"sides from 1 to {_MOST_PIXELS}"
        )
    return sides
