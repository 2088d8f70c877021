"""The set function of one case as an object that handles padding, batches and devices."""

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Int32

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import Question, kind_of, put_question, stack_of
from eagle_jax.scoring.reuse import reuses
from eagle_jax.scoring.set_function import exact_patches, require_decided

# As in `eagle_jax.scoring.question`, programs are compiled per bucket.
_REGION_BUCKET = 16
# Tokens in a batch beyond which matrix products get no faster, while more of the last batch of
# each step is padding. Accelerators need more tokens for each read of the weights.
_TOKENS_IN_FLIGHT = {"cpu": 2048, "accelerator": 8192}
# With 64 regions, batches of 16 waste a tenth of the forwards and batches of 32 a quarter.
_LARGEST_BATCH = 16
# Held while a program is handed to the devices, not while they compute. Devices that wait for
# each other within programs must all begin these in the same order.
DEVICES = threading.RLock()


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
        return self.begin(visible)()

    def begin(
        self, visible: Bool[np.ndarray, "b n"]
    ) -> Callable[[], Float32[np.ndarray, "b t"]]:
        """Hands sets to the devices without waiting for them.

        Args:
          visible: one row per masked image, True for a visible region.

        Returns:
          A function that waits for the probabilities and returns them, or raises as `finite`.
        """
        capacity, count = 2 * padded_regions(self.regions), len(self.tokens)
        chunks = []
        for first in range(0, len(visible), capacity):
            sets = visible[first : first + capacity]
            with DEVICES:
                scores = score_sets(
                    self.network,
                    self.question.padded,
                    padded_sets(sets, capacity),
                    np.int32(len(sets)),
                    batch_size=self.batch_size,
                    mesh=mesh_of(self.network),
                )
            chunks.append((scores, len(sets)))

        def fetch() -> np.ndarray:
            known = [np.asarray(scores)[:rows, :count] for scores, rows in chunks]
            known = np.concatenate([np.zeros((0, count), np.float32), *known])
            return finite(self, visible, known)

        return fetch

    @property
    def batch_key(self) -> Hashable:
        """What scorers of one model must have in common to share batches.

        None for a scorer that reuses what its sets have in common, which saves more than full
        batches do.
        """
        if reuses(self.network, self.question.plan):
            return None
        return kind_of(self.question.padded), padded_regions(self.regions), self.batch_size

    def open_batches(self, places: int) -> "SharedBatches":
        """Batches that this scorer shares with others of the same `batch_key`.

        Args:
          places: largest number of scorers that share them at once.
        """
        return SharedBatches(self, places)


class SharedBatches:
    """Batches of sets of several questions, which come and go.

    The questions stand in a stack on the devices. A program is compiled for the stack, not for
    the questions that are in it.

    Attributes:
      batch_size: masked images per batch, over all devices.
    """

    def __init__(self, scorer: MaskedImageScorer, places: int):
        """Makes a stack for scorers with the batch key of a first one.

        Args:
          scorer: any of the scorers.
          places: largest number of scorers at once.
        """
        self.batch_size = scorer.batch_size
        self._network = scorer.network
        with DEVICES:
            self._stack = stack_of(scorer.question.padded, places)
        self._free = list(range(places))
        self._places: dict[MaskedImageScorer, int] = {}

    def begin(
        self, parts: Sequence[tuple[MaskedImageScorer, Bool[np.ndarray, "_ _"]]]
    ) -> Callable[[], list[Float32[np.ndarray, "_ _"] | InputError]]:
        """Hands one batch to the devices without waiting for it.

        Args:
          parts: scorers with the same batch key and the sets of each; at most as many sets as
            `batch_size`.

        Returns:
          A function that waits for the probabilities of each part and returns them, or the
          error of a part: an image with which the model overflows is no fault of the others.
        """
        places = [self._place(scorer) for scorer, _ in parts]
        lengths = [len(sets) for _, sets in parts]
        sets = np.concatenate([padded_sets(sets) for _, sets in parts])
        which = np.repeat(np.array(places, np.int32), lengths)
        spare = self.batch_size - len(sets)
        with DEVICES:
            scores = score_sets(
                self._network,
                self._stack,
                np.pad(sets, ((0, spare), (0, 0))),
                np.int32(len(sets)),
                np.pad(which, (0, spare)),
                batch_size=self.batch_size,
                mesh=mesh_of(self._network),
            )

        def fetch() -> list[np.ndarray | InputError]:
            divided = np.split(np.asarray(scores)[: len(sets)], np.cumsum(lengths)[:-1])
            results = []
            for part, (scorer, visible) in zip(divided, parts, strict=True):
                try:
                    results.append(finite(scorer, visible, part[:, : len(scorer.tokens)]))
                except InputError as error:
                    results.append(error)
            return results

        return fetch

    def leave(self, scorer: MaskedImageScorer) -> None:
        """Makes room for another scorer."""
        if scorer in self._places:
            self._free.append(self._places.pop(scorer))

    def _place(self, scorer: MaskedImageScorer) -> int:
        if scorer not in self._places:
            place = self._free.pop()
            with DEVICES:
                self._stack = put_question(self._stack, np.int32(place), scorer.question.padded)
            self._places[scorer] = place
        return self._places[scorer]


def finite(
    scorer: MaskedImageScorer,
    visible: Bool[np.ndarray, "b n"],
    scores: Float32[np.ndarray, "b t"],
) -> Float32[np.ndarray, "b t"]:
    """The scores of some sets, if all of them are finite.

    Raises:
      InputError: a score is NaN or infinite, as by an overflow inside the model; or the model
        takes a branch for that set that the program does not have.
    """
    infinite = ~np.isfinite(scores).all(axis=1)
    if not infinite.any():
        return scores
    first = jnp.asarray(visible[infinite][:1])
    require_decided(scorer.network, scorer.question, exact_patches(scorer.question, first))
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
