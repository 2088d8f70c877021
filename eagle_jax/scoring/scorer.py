"""The set function of one explanation as an object; batches and devices are kept inside."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import Question

# As in `eagle_jax.scoring.question`, programs are compiled per bucket.
_REGION_BUCKET = 16
# Beyond about this many tokens in flight a matmul gains nothing more, and the last batch of
# each step is emptier. An accelerator has to compute for longer on what it reads.
_TOKENS_IN_FLIGHT = {"cpu": 2048, "accelerator": 8192}
# With 64 regions, batches of 16 waste a tenth of the forwards and batches of 32 a quarter.
_MOST_SPREAD = 16


@runtime_checkable
class Scorer(Protocol):
    """What a search or a metric needs of a model: any callable of this shape will do.

    Attributes:
      regions: number of regions ``n``.
    """

    regions: int

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """Probability of each target token with only the visible regions shown."""
        ...


def padded_regions(regions: int) -> int:
    """Columns of the sets that compiled programs take for a number of regions."""
    return -(-regions // _REGION_BUCKET) * _REGION_BUCKET


class MaskedImageScorer:
    """The set function that everything in attribution is made of.

    ``scorer(visible)`` gives the probability of every target token with only the visible
    regions shown, the others black, on all devices of the model.

    Attributes:
      labels: int32 (H, W), the region of each source pixel.
      regions: number of regions ``n``.
      tokens: text of each target token.
      network: the model's modules.
      question: what is asked about the image.
      batch_size: masks per forward, over all devices.
    """

    def __init__(
        self,
        network: Network,
        question: Question,
        labels: Int32[np.ndarray, "H W"],
        tokens: Sequence[str],
        batch_size: int | None = None,
    ):
        self.labels = labels
        self.regions = int(labels.max()) + 1
        self.tokens = tuple(tokens)
        self.network = network
        self.question = question
        self.batch_size = fitting_batch_size(network, question, self.regions, batch_size)

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """Probability of each target token with only some regions visible.

        Args:
          visible: one row per masked image, True for a visible region.

        Returns:
          Float32 probabilities.

        Raises:
          InputError: the number of columns is not the number of regions, or the masks are
            not boolean.
        """
        visible = np.asarray(visible)
        if visible.ndim != 2 or visible.shape[1] != self.regions or visible.dtype != bool:
            raise InputError(
                f"visible is {visible.dtype} of shape {visible.shape}, expected bool of shape "
                f"(masks, {self.regions})"
            )
        width = padded_regions(self.regions)
        rows = [np.zeros((0, len(self.tokens)), np.float32)]
        for first in range(0, len(visible), 2 * width):
            part = visible[first : first + 2 * width]
            sets = np.zeros((2 * width, width), bool)
            sets[: len(part), : self.regions] = part
            scores = score_sets(
                self.network,
                self.question.padded,
                sets,
                np.int32(len(part)),
                batch_size=self.batch_size,
                mesh=mesh_of(self.network),
            )
            rows.append(np.asarray(scores)[: len(part), : len(self.tokens)])
        return np.concatenate(rows)


def data_devices(network: Network) -> int:
    """Number of devices along the mesh's "data" axis; 1 without a mesh."""
    mesh = mesh_of(network)
    return 1 if mesh is None else mesh.shape["data"]


def fitting_batch_size(
    network: Network, question: Question, regions: int, wanted: int | None = None
) -> int:
    """Masks per forward: what was asked for, or what fills the devices and fits their memory.

    Args:
      network: the model's modules.
      question: what is asked about the image.
      regions: number of regions.
      wanted: a number of the user's; None chooses.

    Returns:
      A multiple of the devices along the mesh's "data" axis.

    Raises:
      InputError: ``wanted`` is no such multiple.
    """
    mesh, devices = mesh_of(network), data_devices(network)
    if wanted is not None:
        require_batch_size(wanted, devices)
        return wanted
    grid = question.plan.grid
    tokens = max(grid[0] * grid[1], len(question.ids))
    batch_size = filling_batch_size(tokens, devices, jax.default_backend())
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is None:
        return batch_size
    width = padded_regions(regions)
    arguments = network, question.padded, np.zeros((2 * width, width), bool), np.int32(0)
    while batch_size > devices:
        program = score_sets.lower(*arguments, batch_size=batch_size, mesh=mesh).compile()
        memory = program.memory_analysis()
        if memory is None:
            return batch_size
        if memory.argument_size_in_bytes + memory.temp_size_in_bytes < 0.9 * limit:
            break
        batch_size = max(1, batch_size // devices // 2) * devices
    return batch_size


def require_batch_size(batch_size: int, devices: int) -> None:
    """Raises unless a batch spreads over devices.

    Args:
      batch_size: masked images of one forward.
      devices: along the mesh's "data" axis.

    Raises:
      InputError: it is no positive multiple of the number of devices.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    if batch_size % devices:
        raise InputError(
            f"batch_size is {batch_size}; it must be a multiple of {devices}, the devices "
            'along the mesh\'s "data" axis'
        )


def filling_batch_size(tokens: int, devices: int, platform: str) -> int:
    """Masks per forward that keep every device's matrix products busy, and few more.

    Args:
      tokens: length of the sequence or number of patches, whichever is larger.
      devices: devices the masks are spread over.
      platform: JAX's name for their kind, "cpu", "gpu" or "tpu".
    """
    if platform == "cpu":
        # A power of two, so that what searches ask for in sixteens leaves no batch half empty.
        own = max(1, _TOKENS_IN_FLIGHT["cpu"] // tokens)
        return devices * 2 ** (own.bit_length() - 1)
    own = min(_TOKENS_IN_FLIGHT["accelerator"] // tokens, _MOST_SPREAD // devices)
    return devices * max(1, own)
