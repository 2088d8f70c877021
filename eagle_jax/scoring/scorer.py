"""The set function of one case as an object that handles padding, batches and devices."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Int32

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import Question
from eagle_jax.scoring.set_function import exact_patches, require_decided

# As in `eagle_jax.scoring.question`, programs are compiled per bucket.
_REGION_BUCKET = 16
# Tokens in a batch beyond which matrix products get no faster, while more of the last batch of
# each step is padding. Accelerators need more tokens for each read of the weights.
_TOKENS_IN_FLIGHT = {"cpu": 2048, "accelerator": 8192}
# With 64 regions, batches of 16 waste a tenth of the forwards and batches of 32 a quarter.
_LARGEST_BATCH = 16


@runtime_checkable
class Scorer(Protocol):
    """What a search or a metric needs: any callable with these two members.

    Attributes:
      regions: number of regions ``n``.
    """

    regions: int

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """Probability of each target token with only some regions visible."""
        ...


def padded_regions(regions: int) -> int:
    """Number of columns of the sets that compiled programs take for a number of regions."""
    return -(-regions // _REGION_BUCKET) * _REGION_BUCKET


def padded_sets(
    sets: Bool[np.ndarray, "b n"], rows: int | None = None
) -> Bool[np.ndarray, "_ _"]:
    """Sets with as many columns as `padded_regions` says, hidden regions in the new columns.

    Args:
      sets: one row per masked image, True for a visible region.
      rows: number of rows of the result, blank images at the end; None adds no row.
    """
    count, n = sets.shape
    return np.pad(sets, ((0, 0 if rows is None else rows - count), (0, padded_regions(n) - n)))


class MaskedImageScorer:
    """The set function: ``scorer(visible)`` gives the probability of every target token.

    Hidden regions show the case's fill. All devices of the model take part.

    Attributes:
      labels: region of each source pixel.
      regions: number of regions ``n``.
      tokens: text of each target token.
      network: the model's modules.
      question: the question about the image.
      batch_size: masked images per batch, over all devices.
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
          InputError: the number of columns is not the number of regions, ``visible`` is not
            boolean, or a probability is not finite.
        """
        visible = np.asarray(visible)
        if visible.ndim != 2 or visible.shape[1] != self.regions or visible.dtype != bool:
            raise InputError(
                f"visible is {visible.dtype} of shape {visible.shape}; it must be bool of "
                f"shape (masked images, {self.regions})"
            )
        capacity = 2 * padded_regions(self.regions)
        chunks = [np.zeros((0, len(self.tokens)), np.float32)]
        for first in range(0, len(visible), capacity):
            sets = visible[first : first + capacity]
            scores = score_sets(
                self.network,
                self.question.padded,
                padded_sets(sets, capacity),
                np.int32(len(sets)),
                batch_size=self.batch_size,
                mesh=mesh_of(self.network),
            )
            chunks.append(np.asarray(scores)[: len(sets), : len(self.tokens)])
        return finite(np.concatenate(chunks), visible, self.network, self.question)


def finite(
    scores: Float32[np.ndarray, "b t"],
    visible: Bool[np.ndarray, "b n"],
    network: Network,
    question: Question,
) -> Float32[np.ndarray, "b t"]:
    """The scores, if all of them are finite.

    Args:
      scores: probabilities that a program gave.
      visible: the sets that were scored.
      network: the model's modules.
      question: the question about the image.

    Raises:
      InputError: a score is NaN or infinite, as by an overflow inside the model; or the model
        takes a branch for that set that the program does not have.
    """
    infinite = ~np.isfinite(scores).all(axis=1)
    if not infinite.any():
        return scores
    first = jnp.asarray(visible[infinite][:1])
    require_decided(network, question, exact_patches(question, first))
    raise InputError(
        "the model's probabilities for this image are not finite (NaN), so nothing can be "
        "explained; load the model in float32 or bfloat16, or take another checkpoint"
    )


def data_devices(network: Network) -> int:
    """Number of devices along the mesh's "data" axis; 1 without a mesh."""
    mesh = mesh_of(network)
    return 1 if mesh is None else mesh.shape["data"]


def fitting_batch_size(
    network: Network, question: Question, regions: int, wanted: int | None = None
) -> int:
    """Masked images per forward: the wanted number, or one that fills the devices and fits.

    Args:
      network: the model's modules.
      question: the question about the image.
      regions: number of regions.
      wanted: number that the user asks for; None chooses.

    Returns:
      A multiple of the number of devices along the mesh's "data" axis.

    Raises:
      InputError: ``wanted`` is not such a multiple.
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
    """Raises unless a batch can be split evenly over devices.

    Args:
      batch_size: masked images per batch, over all devices.
      devices: number of devices along the mesh's "data" axis.

    Raises:
      InputError: the batch size is not a positive multiple of the number of devices.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    if batch_size % devices:
        raise InputError(
            f"batch_size is {batch_size}; it must be a multiple of {devices}, the number of "
            'devices along the mesh\'s "data" axis'
        )


def filling_batch_size(tokens: int, devices: int, platform: str) -> int:
    """The smallest number of masked images per batch that keeps every device busy.

    Args:
      tokens: length of the sequence or number of patches, whichever is larger.
      devices: number of devices that share a batch.
      platform: JAX's name of the platform, "cpu", "gpu" or "tpu".
    """
    if platform == "cpu":
        # A power of two, so that searches that ask for multiples of 16 fill their batches.
        per_device = max(1, _TOKENS_IN_FLIGHT["cpu"] // tokens)
        return devices * 2 ** (per_device.bit_length() - 1)
    per_device = min(_TOKENS_IN_FLIGHT["accelerator"] // tokens, _LARGEST_BATCH // devices)
    return devices * max(1, per_device)
