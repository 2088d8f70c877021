"""Sets of visible regions to probabilities of the target tokens: one fused program."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from eagle_jax.errors import InputError
from eagle_jax.models.sharding import mesh_of
from eagle_jax.preprocess import ImagePlan, masked_patches
from eagle_jax.prompt import require_context

# Programs are compiled per bucket, not per length: a sequence, a number of targets or of
# regions is padded to the next multiple.
_SEQUENCE_BUCKET = 8
_TARGET_BUCKET = 8
_REGION_BUCKET = 16
# Beyond about this many tokens in flight a matmul gains nothing more, and the last batch of
# each step is emptier. An accelerator has to compute for longer on what it reads.
_TOKENS_IN_FLIGHT = {"cpu": 2048, "accelerator": 8192}
# With 64 regions, batches of 16 waste a tenth of the forwards and batches of 32 a quarter.
_MOST_SPREAD = 16


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["plan", "layout", "ids", "positions", "start", "rows", "targets", "weights"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Question:
    """All that stays the same while regions are hidden; a pytree of arrays.

    Attributes:
      plan: `ImagePlan`, the image and its regions.
      layout: the vision tower's plan for the image's grid.
      ids: int (s,), the sequence up to the token before the last target, padded.
      positions: int (3, s), rotary positions of the sequence.
      start: int, position of the first image token.
      rows: int (t,), sequence position whose output predicts each target.
      targets: int (t,), token id scored at each row.
      weights: float (t,), share of each target in the mean; 0 for padding.
    """

    # Any: JAX also rebuilds questions that hold placeholders, shardings or axis numbers.
    plan: Any
    layout: Any
    ids: Any
    positions: Any
    start: Any
    rows: Any
    targets: Any
    weights: Any


def ask(
    network: Any,
    plan: ImagePlan,
    prompt_ids: Int[np.ndarray, " s"],
    answer_ids: Int[np.ndarray, " a"],
    target: Int[np.ndarray, " t"],
    token_ids: Int[np.ndarray, " t"],
) -> Question:
    """Lays out prompt and answer around an image, and says which outputs are wanted.

    Answer token ``i`` is predicted at position ``P + i - 1``, where ``P`` is the length of
    the expanded prompt; nothing behind the last such row is kept.

    Args:
      network: the model's modules.
      plan: the image and its regions.
      prompt_ids: the expanded prompt.
      answer_ids: the whole answer, teacher-forced.
      target: positions in the answer, at least one.
      token_ids: the id scored at each position.

    Returns:
      The question, with arrays on the default device or on all devices of the model's mesh.

    Raises:
      InputError: the answer contains the image token, or the sequence is too long.

    References:
      EAGLE, arXiv 2509.22496, section 3.1.
    """
    question = _lay_out(network, plan, prompt_ids, answer_ids, target, token_ids)
    mesh = mesh_of(network)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.device_put(question, everywhere)


def step_shapes(
    network: Any, plan: ImagePlan, prompt_tokens: int, targets: int, regions: int
) -> tuple[Any, ...]:
    """The shapes of what `best_region` takes behind the network, to compile it in advance.

    Args:
      network: the model's modules; shapes instead of weights will do.
      plan: an image of the wanted size, and regions of any kind.
      prompt_tokens: tokens of the prompt besides the image's, at least one.
      targets: tokens of the answer, all of them targets.
      regions: number of regions.

    Returns:
      Arguments of `jax.ShapeDtypeStruct`, those of a `MaskedImageScorer`'s steps.
    """
    image_token = network.config.image_token_id
    text = 0 if image_token else 1
    visual = plan.grid[0] * plan.grid[1] // plan.merge_size**2
    prompt_ids = np.full(prompt_tokens + visual, text)
    prompt_ids[1 : 1 + visual] = image_token
    answer = np.full(targets, text)
    question = _lay_out(network, plan, prompt_ids, answer, np.arange(targets), answer)
    sets = np.zeros((2, _room(regions)), bool)
    arguments = question, *sets, np.float32(1), np.float32(1)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)


def _room(regions: int) -> int:
    return -(-regions // _REGION_BUCKET) * _REGION_BUCKET


def _lay_out(network, plan, prompt_ids, answer_ids, target, token_ids) -> Question:
    image_token = network.config.image_token_id
    if image_token in answer_ids:
        raise InputError(f"the answer holds the image token (id {image_token})")
    rows = len(prompt_ids) + target - 1
    real = np.concatenate([prompt_ids, answer_ids])[: rows.max() + 1]
    image_tokens = int(np.sum(real == image_token))
    require_context(len(real), image_tokens, network.config.decoder.context)
    ids = np.pad(real, (0, -len(real) % _SEQUENCE_BUCKET), mode="edge")
    spare = (0, -len(target) % _TARGET_BUCKET)
    return Question(
        plan=plan,
        layout=network.layout(plan.grid),
        ids=ids.astype(np.int32),
        positions=network.positions(ids, plan.grid),
        start=np.int32(np.argmax(ids == image_token)),
        rows=np.pad(rows, spare).astype(np.int32),
        targets=np.pad(token_ids, spare).astype(np.int32),
        weights=np.pad(np.full(len(target), 1 / len(target), np.float32), spare),
    )


def probabilities(
    network: Any, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Probability of each target token with only some regions visible; a pure function.

    Args:
      network: the model's modules.
      question: from `ask`.
      visible: one row per masked image, True for a visible region.

    Returns:
      Float32 probabilities, padding targets included.
    """
    patches = masked_patches(question.plan, visible)
    with jax.default_matmul_precision(_precision(network)):
        visual = network.visual_tokens(patches, question.layout)
        embeddings = network.embed(question.ids, visual, question.start)
        hidden = network.hidden_states(embeddings, question.positions, question.rows)
        return jnp.exp(network.log_probabilities(hidden, question.targets))


def _precision(network: Any) -> str | None:
    # Float32 weights are a request for float32 results: no TF32, no bfloat16 passes.
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(network)}
    return "highest" if jnp.dtype(jnp.float32) in dtypes else None


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def score_sets(
    network: Any,
    question: Question,
    sets: Bool[Array, "m n"],
    count: Int[Array, ""],
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Float32[Array, "m t"]:
    """Scores the first ``count`` sets, ``batch_size`` at a time; other rows are undefined.

    Args:
      network: the model's modules.
      question: from `ask`.
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter; the program's time follows it.
      batch_size: masks per forward, over all devices; a multiple of the "data" axis.
      mesh: the mesh the weights are on; each device along "data" scores its own masks, and
        none hears of the others before all are done.

    Returns:
      Float32 probabilities, padding targets included.
    """
    (capacity, n), targets = sets.shape, question.targets.shape[0]
    shards = 1 if mesh is None else mesh.shape["data"]
    batches = -(-capacity // batch_size)
    sets = jnp.pad(sets, ((0, batches * batch_size - capacity), (0, 0)))
    sets = sets.reshape(batches, shards, batch_size // shards, n)

    def score(network, question, sets, count):
        def score_batch(i, scores):
            batch = probabilities(network, question, sets[i, 0])
            return jax.lax.dynamic_update_index_in_dim(scores, batch[None], i, axis=0)

        room = jnp.zeros((*sets.shape[:3], targets), jnp.float32)
        wanted = (count + batch_size - 1) // batch_size
        return jax.lax.fori_loop(0, wanted, score_batch, room)

    if mesh is not None:
        everywhere, own = PartitionSpec(), PartitionSpec(None, "data")
        score = jax.shard_map(
            score,
            mesh=mesh,
            axis_names={"data"},
            in_specs=(everywhere, everywhere, own, everywhere),
            out_specs=own,
            check_vma=False,
        )
    return score(network, question, sets, count).reshape(-1, targets)[:capacity]


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def best_region(
    network: Any,
    question: Question,
    chosen: Bool[Array, " n"],
    candidates: Bool[Array, " n"],
    insight_weight: Float[Array, ""],
    necessity_weight: Float[Array, ""],
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[Int32[Array, ""], Float32[Array, " t"], Float32[Array, " t"]]:
    """One greedy step as one program: masks, pixels, model, objective and argmax.

    The remaining candidates are packed to the front, so the loop runs
    ``ceil(2 * remaining / batch_size)`` times; its trip count is data, and one compiled
    program serves every step of every search of a shape.

    Args:
      network: the model's modules.
      question: from `ask`.
      chosen: regions taken so far.
      candidates: regions that can be taken now, at least one.
      insight_weight: lambda 1.
      necessity_weight: lambda 2.
      batch_size: masks per forward, over all devices; a multiple of the "data" axis.
      mesh: the mesh the weights are on; None for a single device.

    Returns:
      The region that raises F most (the lowest number among equals), and the target
      probabilities with it inserted and with it removed.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    n = candidates.shape[0]
    remaining = candidates.sum()
    packed = jnp.nonzero(candidates, size=n, fill_value=0)[0]

    # Row j inserts a candidate while j < remaining; the next rows remove one from the rest.
    j = jnp.arange(2 * n)
    deletion = j >= remaining
    region = packed[jnp.clip(jnp.where(deletion, j - remaining, j), 0, n - 1)]
    sets = (chosen | (jnp.arange(n) == region[:, None])) ^ deletion[:, None]

    scores = score_sets(
        network, question, sets, 2 * remaining, batch_size=batch_size, mesh=mesh
    )
    inserted = scores[:n]
    removed = jax.lax.dynamic_slice_in_dim(scores, remaining, n)
    gain = insight_weight * inserted + necessity_weight * (1.0 - removed)
    objective = jnp.where(jnp.arange(n) < remaining, gain @ question.weights, -jnp.inf)
    best = jnp.argmax(objective)
    return packed[best], inserted[best], removed[best]


def filling_batch_size(tokens: int, devices: int, platform: str) -> int:
    """Masks per forward that keep every device's matrix products busy, and few more.

    Args:
      tokens: length of the sequence or number of patches, whichever is larger.
      devices: devices the masks are spread over.
      platform: JAX's name for their kind, "cpu", "gpu" or "tpu".
    """
    if platform == "cpu":
        return devices * max(1, _TOKENS_IN_FLIGHT["cpu"] // tokens)
    own = min(_TOKENS_IN_FLIGHT["accelerator"] // tokens, _MOST_SPREAD // devices)
    return devices * max(1, own)


class MaskedImageScorer:
    """The set function that everything in attribution is made of.

    ``scorer(visible)`` gives the probability of every target token with only the visible
    regions shown, the others black. Any callable with a ``regions`` attribute and this
    signature can stand in for it in a search; this one also offers `step`, which scores all
    candidates of a greedy step and picks the best within one compiled program.

    Attributes:
      labels: int32 (H, W), the region of each source pixel.
      regions: number of regions ``n``.
      tokens: text of each target token.
      batch_size: masks per forward, over all devices.
    """

    def __init__(
        self,
        network: Any,
        question: Question,
        labels: Int32[np.ndarray, "H W"],
        tokens: Sequence[str],
        batch_size: int | None = None,
    ):
        self.labels = labels
        self.regions = int(labels.max()) + 1
        self.tokens = tuple(tokens)
        self._network = network
        self._question = question
        self._room = _room(self.regions)
        self._mesh = mesh_of(network)
        self._devices = 1 if self._mesh is None else self._mesh.shape["data"]
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        if batch_size is not None and batch_size % self._devices:
            raise InputError(
                f"batch_size is {batch_size}; it must be a multiple of {self._devices}, the "
                'devices along the mesh\'s "data" axis'
            )
        self.batch_size = batch_size or self._fitting_batch_size()

    def __call__(self, visible: Bool[np.ndarray, "b n"]) -> Float32[np.ndarray, "b t"]:
        """Probability of each target token with only some regions visible.

        Args:
          visible: one row per masked image, True for a visible region.

        Returns:
          Float32 probabilities.

        Raises:
          InputError: the number of columns is not the number of regions.
        """
        visible = np.asarray(visible, bool)
        if visible.ndim != 2 or visible.shape[1] != self.regions:
            raise InputError(
                f"visible has shape {visible.shape}, expected (masks, {self.regions})"
            )
        capacity = 2 * self._room
        rows = [np.zeros((0, len(self.tokens)), np.float32)]
        for first in range(0, len(visible), capacity):
            part = visible[first : first + capacity]
            sets = np.zeros((capacity, self._room), bool)
            sets[: len(part), : self.regions] = part
            scores = score_sets(
                self._network,
                self._question,
                sets,
                np.int32(len(part)),
                batch_size=self.batch_size,
                mesh=self._mesh,
            )
            rows.append(np.asarray(scores)[: len(part), : len(self.tokens)])
        return np.concatenate(rows)

    def step(
        self,
        chosen: Bool[np.ndarray, " n"],
        insight_weight: float,
        necessity_weight: float,
    ) -> tuple[int, Float32[np.ndarray, " t"], Float32[np.ndarray, " t"]]:
        """Finds the region whose addition to ``chosen`` raises F most.

        Returns:
          Its number, and the target probabilities with it inserted and with it removed.
        """
        region, inserted, removed = jax.device_get(
            best_region(
                *self._step_arguments(chosen, insight_weight, necessity_weight),
                batch_size=self.batch_size,
                mesh=self._mesh,
            )
        )
        targets = len(self.tokens)
        return int(region), inserted[:targets], removed[:targets]

    def _step_arguments(self, chosen, insight_weight, necessity_weight):
        taken = np.zeros(self._room, bool)
        taken[: self.regions] = chosen
        candidates = ~taken
        candidates[self.regions :] = False
        weights = np.float32(insight_weight), np.float32(necessity_weight)
        return self._network, self._question, taken, candidates, *weights

    def _fitting_batch_size(self) -> int:
        """Enough tokens to fill the matmuls, halved until the program fits in memory."""
        grid = self._question.plan.grid
        tokens = max(grid[0] * grid[1], len(self._question.ids))
        batch_size = filling_batch_size(tokens, self._devices, jax.default_backend())
        limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
        if limit is None:
            return batch_size
        arguments = self._step_arguments(np.zeros(self.regions, bool), 1.0, 1.0)
        while batch_size > self._devices:
            compiled = best_region.lower(
                *arguments, batch_size=batch_size, mesh=self._mesh
            ).compile()
            memory = compiled.memory_analysis()
            if memory is None:
                return batch_size
            if memory.argument_size_in_bytes + memory.temp_size_in_bytes < 0.9 * limit:
                break
            batch_size = max(1, batch_size // self._devices // 2) * self._devices
        return batch_size
