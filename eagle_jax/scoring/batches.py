"""The compiled program behind `MaskedImageScorer`: any number of sets, batch by batch.

A batch is scored in one of three ways: each set by itself, sets of several questions together,
or sets of one question in chains that reuse what they share, see `eagle_jax.scoring.reuse`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float32, Int

from eagle_jax.inputs.patches import images_at_once
from eagle_jax.kernels import unsplit
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.question import Question, pick
from eagle_jax.scoring.reuse import Chain, first_chain, follow, in_chains, reuses
from eagle_jax.scoring.set_function import after_vision, exact_patches, probabilities, score


class _Way(NamedTuple):
    """One of the three ways to score a batch.

    Attributes:
      score: from network, question, the rows of one batch on one device and what the batch
        before left, to probabilities and what the next batch needs.
      begin: from network, question and number of rows to what the first batch needs; None if
        batches are independent.
    """

    score: Callable[[Network, Question, Any, Any], tuple[Array, Any]]
    begin: Callable[[Network, Question, int], Any] | None = None


@functools.partial(jax.jit, static_argnames=("batch_size", "mesh", "reuse"))
def score_sets(
    network: Network,
    question: Question,
    sets: Bool[Array, "m n"],
    count: Int[Array, ""],
    which: Int[Array, " m"] | None = None,
    *,
    batch_size: int,
    mesh: Mesh | None = None,
    reuse: bool = True,
) -> Float32[Array, "m t"]:
    """Scores the first ``count`` sets, ``batch_size`` at a time; other results are undefined.

    Args:
      network: the model's modules.
      question: a `Question.padded`, or a stack of several.
      sets: one row per masked image, True for a visible region.
      count: number of sets to score; the running time is proportional to it.
      which: for a stack, the number of the question of each set.
      batch_size: masked images per batch, over all devices; a multiple of the size of the
        mesh's "data" axis.
      mesh: mesh of the weights; devices along "data" score different masked images and do not
        communicate until all batches are done.
      reuse: reuse what masked images share, if the network allows it; the scores are the same.
        Ignored for a stack.

    Returns:
      Probabilities, those of padding targets included.
    """
    capacity, shards = len(sets), 1 if mesh is None else mesh.shape["data"]
    spare = -capacity % batch_size
    places = None
    if which is not None:
        way, rows = _STACK, (jnp.pad(sets, ((0, spare), (0, 0))), jnp.pad(which, (0, spare)))
    elif reuse and reuses(network, question.plan):
        places, *rows = _chains(question, sets, count, batch_size, mesh)
        way = _CHAIN
    else:
        way, rows = _ALONE, (jnp.pad(sets, ((0, spare), (0, 0))),)
    rows = jax.tree.map(
        lambda leaf: leaf.reshape(-1, shards, batch_size // shards, *leaf.shape[1:]),
        tuple(rows),
    )
    batches = -(-count // batch_size)
    scores = _over_devices(functools.partial(_score_batches, way), mesh)(
        network, question, rows, batches
    )
    scores = scores.reshape(-1, scores.shape[-1])
    return scores[:capacity] if places is None else scores[places]


def _over_devices(
    score_batches: Callable[..., Array], mesh: Mesh | None
) -> Callable[..., Array]:
    """The function with the second axis of its rows spread over the "data" axis of a mesh."""
    # The weights are whole on every device where the "model" axis has size 1. Kernels are used
    # only where the program knows that: the axis then counts as spread over as well.
    axes = {"data"} if mesh is None or mesh.shape["model"] > 1 else {"data", "model"}
    if mesh is not None:
        everywhere, spread = PartitionSpec(), PartitionSpec(None, "data")
        score_batches = jax.shard_map(
            score_batches,
            mesh=mesh,
            axis_names=axes,
            in_specs=(everywhere, everywhere, spread, everywhere),
            out_specs=spread,
            check_vma=False,
        )

    def over_devices(*arguments):
        with unsplit(mesh is None or axes == set(mesh.axis_names)):
            return score_batches(*arguments)

    return over_devices


def _score_batches(way: _Way, network: Network, question: Question, rows, batches) -> Array:
    """Scores the first batches of this device, (batches, 1, own, ...) in each array of rows."""
    shape = rows[0].shape[:3]

    def score_batch(i, carried):
        scores, left = carried
        batch, left = way.score(network, question, [leaf[i, 0] for leaf in rows], left)
        return jax.lax.dynamic_update_index_in_dim(scores, batch[None], i, axis=0), left

    left = None if way.begin is None else way.begin(network, question, shape[2])
    scores = jnp.zeros((*shape, question.token_ids.shape[-1]), jnp.float32)
    return jax.lax.fori_loop(0, batches, score_batch, (scores, left))[0]


def _score_alone(network: Network, question: Question, rows, left: None) -> tuple[Array, None]:
    (sets,) = rows
    return score(network, question, sets), left


def _score_stack(network: Network, questions: Question, rows, left: None) -> tuple[Array, None]:
    """Sets of a stack of questions: one pass of the vision tower, then each its own text."""
    sets, which = rows

    def patches_of(row):
        visible, number = row
        return exact_patches(pick(questions, number), visible[None])[0]

    def read(number, visual):
        question = pick(questions, number)
        return after_vision(network, question, visual[None], probabilities)[0]

    at_once = min(len(sets), images_at_once(questions.plan)) if questions.plan.views else 1
    patches = jax.lax.map(patches_of, (sets, which), batch_size=at_once)
    with full_precision(network):
        with jax.named_scope("vision"):
            visual = network.visual_tokens(patches, questions.layout)
        return jax.vmap(read)(which, visual), left


def _score_chain(
    network: Network, question: Question, rows, chain: Chain
) -> tuple[Array, Chain]:
    """Sets that share much with those of the batch before."""
    sets, changed = rows
    patches = exact_patches(question, sets)
    with full_precision(network):
        hidden, chain = follow(network, question, patches, changed, chain)
        with jax.named_scope("head"):
            return probabilities(network, question, hidden), chain


def _chains(
    question: Question, sets: Array, count: Array, batch_size: int, mesh: Mesh | None
) -> tuple[Array, Array, Array]:
    """Where each set went, the sets in the order of their chains, and the tiles that change."""
    # Devices that split the weights wait for each other in every layer: all of them compute the
    # tiles that any of them needs.
    split = mesh is not None and mesh.shape["model"] > 1
    runs = 1 if mesh is None or split else mesh.shape["data"]
    places, batches, changed = in_chains(question.plan, sets, count, batch_size, runs)
    if split:
        changed = jnp.broadcast_to(changed.any(axis=1, keepdims=True), changed.shape)
    n, tiles = batches.shape[-1], changed.shape[-1]
    return places, batches.reshape(-1, n), changed.reshape(-1, tiles)


_ALONE = _Way(_score_alone)
_STACK = _Way(_score_stack)
_CHAIN = _Way(_score_chain, first_chain)
