"""Sets of visible regions to probabilities of the target tokens: one fused program."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import ImagePlan, images_at_once, masked_patches
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.question import Question, lay_out, pick

# As in `eagle_jax.scoring.question`, programs are compiled per bucket.
_REGION_BUCKET = 16
# Beyond about this many tokens in flight a matmul gains nothing more, and the last batch of
# each step is emptier. An accelerator has to compute for longer on what it reads.
_TOKENS_IN_FLIGHT = {"cpu": 2048, "accelerator": 8192}
# With 64 regions, batches of 16 waste a tenth of the forwards and batches of 32 a quarter.
_MOST_SPREAD = 16


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
    question = lay_out(network, plan, prompt_ids, answer, np.arange(targets), answer)
    sets = np.zeros((2, _room(regions)), bool)
    arguments = question, *sets, np.float32(1), np.float32(1)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)


def _room(regions: int) -> int:
    return -(-regions // _REGION_BUCKET) * _REGION_BUCKET


def probabilities(
    network: Any, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Probability of each target token with only some regions visible; a pure function.

    Args:
      network: the model's modules.
      question: from `eagle_jax.scoring.question.ask`.
      visible: one row per masked image, True for a visible region.

    Returns:
      Float32 probabilities, padding targets included.
    """
    patches = masked_patches(question.plan, visible)
    with full_precision(network):
        visual = network.visual_tokens(_rounded(patches, question), question.layout)
        return _read(network, question, visual)


def lockstep_probabilities(
    network: Any, questions: Question, which: Int[Array, " b"], visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """`probabilities` of masked images that belong to different questions.

    Args:
      network: the model's modules.
      questions: from `eagle_jax.scoring.question.stack_questions`.
      which: number of the question of each row.
      visible: one row per masked image, True for a visible region of its own image.

    Returns:
      Float32 probabilities, padding targets included.
    """

    def pixels(row):
        which, visible = row
        return masked_patches(pick(questions, which).plan, visible[None])[0]

    def read(which, visual):
        return _read(network, pick(questions, which), visual[None])[0]

    at_once = min(len(visible), images_at_once(questions.plan))
    patches = jax.lax.map(pixels, (which, visible), batch_size=at_once)
    with full_precision(network):
        visual = network.visual_tokens(_rounded(patches, questions), questions.layout)
        return jax.vmap(read)(which, visual)


def _read(network, question: Question, visual) -> Array:
    embeddings = network.embed(question.ids, visual, question.start)
    hidden = network.hidden_states(embeddings, question.positions, question.rows)
    if not question.published_rounding:
        return jnp.exp(network.log_probabilities(hidden, question.targets))
    logits = network.decoder.logits(hidden).astype(hidden.dtype)
    shares = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(hidden.dtype)
    chosen = jnp.take_along_axis(shares, question.targets[None, :, None], axis=-1)
    return chosen[..., 0].astype(jnp.float32)


def _rounded(patches: Array, question: Question) -> Array:
    if not question.published_rounding:
        return patches
    return patches.astype(jnp.bfloat16).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def score_sets(
    network: Any,
    question: Question,
    sets: Bool[Array, "m n"],
    count: Int[Array, ""],
    which: Int[Array, " m"] | None = None,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Float32[Array, "m t"]:
    """Scores the first ``count`` sets, ``batch_size`` at a time; other rows are undefined.

    Args:
      network: the model's modules.
      question: from `eagle_jax.scoring.question.ask`, or a stack of several.
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter; the program's time follows it.
      which: the question of each row, for a stack.
      batch_size: masks per forward, over all devices; a multiple of the "data" axis.
      mesh: the mesh the weights are on; each device along "data" scores its own masks, and
        none hears of the others before all are done.

    Returns:
      Float32 probabilities, padding targets included.
    """
    (capacity, n), targets = sets.shape, question.targets.shape[-1]
    shards = 1 if mesh is None else mesh.shape["data"]
    batches = -(-capacity // batch_size)
    spare = batches * batch_size - capacity
    sets = jnp.pad(sets, ((0, spare), (0, 0)))
    sets = sets.reshape(batches, shards, batch_size // shards, n)
    if which is not None:
        which = jnp.pad(which, (0, spare)).reshape(sets.shape[:3])

    def score(network, question, sets, which, count):
        def score_batch(i, scores):
            if which is None:
                batch = probabilities(network, question, sets[i, 0])
            else:
                batch = lockstep_probabilities(network, question, which[i, 0], sets[i, 0])
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
            in_specs=(everywhere, everywhere, own, own, everywhere),
            out_specs=own,
            check_vma=False,
        )
    return score(network, question, sets, which, count).reshape(-1, targets)[:capacity]


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh"))
def best_region(
    network: Any,
    question: Question,
    chosen: Bool[Array, "*q n"],
    candidates: Bool[Array, "*q n"],
    insight_weight: Float[Array, ""],
    necessity_weight: Float[Array, ""],
    *,
    batch_size: int,
    mesh: Mesh | None = None,
) -> tuple[Int32[Array, "*q"], Float32[Array, "*q t"], Float32[Array, "*q t"]]:
    """One greedy step as one program: masks, pixels, model, objective and argmax.

    The sets to score are packed to the front, so the loop runs
    ``ceil(2 * remaining / batch_size)`` times; its trip count is data, and one compiled
    program serves every step of every search of a shape. Several questions go in lockstep:
    their sets share the batches, and stay apart otherwise.

    Args:
      network: the model's modules.
      question: from `eagle_jax.scoring.question.ask`; a stack of them when the sets have
        a leading axis.
      chosen: regions taken so far.
      candidates: regions that can be taken now; none where a search has ended.
      insight_weight: lambda 1.
      necessity_weight: lambda 2.
      batch_size: masks per forward, over all devices; a multiple of the "data" axis.
      mesh: the mesh the weights are on; None for a single device.

    Returns:
      The region that raises F most (the lowest number among equals), and the target
      probabilities with it inserted and with it removed; anything where there was no
      candidate.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    stacked, n = chosen.ndim == 2, chosen.shape[-1]
    chosen, candidates = chosen.reshape(-1, n), candidates.reshape(-1, n)
    k, t = len(chosen), question.targets.shape[-1]

    # For each question, first all insertions of a candidate, then all its deletions.
    wanted = jnp.broadcast_to(candidates[:, None], (k, 2, n)).reshape(-1)
    places = jnp.nonzero(wanted, size=2 * k * n, fill_value=2 * k * n)[0]
    which, place = jnp.divmod(places, 2 * n)
    deletion, region = jnp.divmod(place, n)
    sets = chosen[which] | (jnp.arange(n) == region[:, None])
    sets = sets ^ (deletion == 1)[:, None]

    scores = score_sets(
        network,
        question,
        sets,
        wanted.sum(),
        which if stacked else None,
        batch_size=batch_size,
        mesh=mesh,
    )
    scores = jnp.zeros((2 * k * n, t), jnp.float32).at[places].set(scores, mode="drop")
    inserted, removed = jnp.moveaxis(scores.reshape(k, 2, n, t), 1, 0)
    gain = insight_weight * inserted + necessity_weight * (1.0 - removed)
    mean = jnp.matmul(gain, question.weights.reshape(k, t, 1))[..., 0]
    best = jnp.argmax(jnp.where(candidates, mean, -jnp.inf), axis=1)
    inserted, removed = (one[jnp.arange(k), best] for one in (inserted, removed))
    if stacked:
        return best, inserted, removed
    return best[0], inserted[0], removed[0]


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
      network: the model's modules.
      question: what is asked about the image.
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
        self.network = network
        self.question = question
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
                self.network,
                self.question,
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
        sets = self.padded(chosen), self.padded(~chosen)
        weights = np.float32(insight_weight), np.float32(necessity_weight)
        return self.network, self.question, *sets, *weights

    def padded(self, regions: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " m"]:
        """A set of regions, as wide as the compiled programs take it."""
        return np.pad(regions, (0, self._room - self.regions))

    def _fitting_batch_size(self) -> int:
        """Enough tokens to fill the matmuls, halved until the program fits in memory."""
        grid = self.question.plan.grid
        tokens = max(grid[0] * grid[1], len(self.question.ids))
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
