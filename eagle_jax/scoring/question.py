"""A question about one image as arrays: all that stays the same while regions are hidden."""

import dataclasses
import functools
from collections.abc import Hashable
from typing import Any, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float32, Int, Int32

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import AnyArray, ImagePlan
from eagle_jax.inputs.prompt import require_context
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.rope import image_start

# Programs are compiled per bucket, not per length: a sequence or a number of targets is padded
# to the next multiple.
_SEQUENCE_BUCKET = 8
_TARGET_BUCKET = 8


# No run-time check of the fields: JAX builds the same class with placeholders, shardings or
# axis numbers in place of arrays.
@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["plan", "layout", "ids", "positions", "start", "rows", "token_ids", "weights"],
    meta_fields=["count", "published_rounding"],
)
@no_type_check
@dataclasses.dataclass(frozen=True)
class Question:
    """Everything that stays the same while regions are hidden; a pytree of arrays.

    Sequence and targets are padded, so that questions of one bucket share a program.

    Attributes:
      plan: the image and its regions.
      layout: what the vision tower precomputes for the image's grid, `Network.layout`.
      ids: token ids of the sequence up to the token before the last target.
      positions: rotary positions of the sequence.
      start: position of the first image token.
      rows: sequence position whose output predicts each target.
      token_ids: token id scored at each row.
      weights: weight of each target in the mean; 0 for padding.
      count: number of targets without padding, which results then leave out; None keeps the
        padding in the results, so that questions of one bucket share a program.
      published_rounding: whether pixels and probabilities are rounded as in the published
        code, see `lay_out`.
    """

    plan: ImagePlan
    layout: Any
    ids: Int32[AnyArray, " s"]
    positions: Int[AnyArray, "3 s"]
    start: Int32[AnyArray, ""]
    rows: Int32[AnyArray, " t"]
    token_ids: Int32[AnyArray, " t"]
    weights: Float32[AnyArray, " t"]
    count: int | None = None
    published_rounding: bool = False

    @property
    def padded(self) -> "Question":
        """The same question with the padding targets in its results."""
        return dataclasses.replace(self, count=None)


def lay_out(
    network: Network,
    plan: ImagePlan,
    prompt_ids: Int[np.ndarray, " s"],
    answer_ids: Int[np.ndarray, " a"],
    positions: Int[np.ndarray, " t"],
    token_ids: Int[np.ndarray, " t"],
    *,
    published_rounding: bool = False,
) -> Question:
    """Lays out prompt and answer around an image, and the outputs that are scored.

    Answer token ``i`` is predicted at position ``P + i - 1``, where ``P`` is the length of
    the expanded prompt; the sequence ends with the last such position.

    Args:
      network: the network, or its shapes.
      plan: the image and its regions.
      prompt_ids: token ids of the expanded prompt.
      answer_ids: token ids of the whole answer, teacher-forced.
      positions: positions in the answer that are scored, at least one.
      token_ids: token id scored at each position.
      published_rounding: round as the published code does: pixels to bfloat16 whatever the
        precision of the weights, logits and probabilities to the precision of the weights.
        Near probabilities of 1 many candidates of a step are then equal.

    Returns:
      The question, its arrays on the host; see `on_devices`.

    Raises:
      InputError: the answer contains the image token, or the sequence is too long.

    References:
      EAGLE, arXiv 2509.22496, section 3.1.
    """
    image_token = network.config.image_token_id
    if image_token in answer_ids:
        raise InputError(
            f"the answer contains the image token (id {image_token}); remove it from the answer"
        )
    rows = len(prompt_ids) + positions - 1
    sequence = np.concatenate([prompt_ids, answer_ids])[: rows.max() + 1]
    require_context(len(sequence), plan.tokens, network.config.decoder.context)
    ids = np.pad(sequence, (0, -len(sequence) % _SEQUENCE_BUCKET), mode="edge")
    spare = (0, -len(positions) % _TARGET_BUCKET)
    return Question(
        plan=plan,
        layout=network.layout(plan.grid),
        ids=ids.astype(np.int32),
        positions=network.positions(ids, plan.grid),
        start=np.array(image_start(ids, image_token), np.int32),
        rows=np.pad(rows, spare).astype(np.int32),
        token_ids=np.pad(token_ids, spare).astype(np.int32),
        weights=np.pad(np.full(len(positions), 1 / len(positions), np.float32), spare),
        count=len(positions),
        published_rounding=published_rounding,
    )


def on_devices(network: Network, question: Question) -> Question:
    """The question with its arrays where the weights are: on one device, or all of a mesh."""
    mesh = mesh_of(network)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.device_put(question, everywhere)


def kind_of(question: Question) -> Hashable:
    """What two `padded` questions must share to be stacked: structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(question)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


@functools.partial(jax.jit, static_argnames="places")
def stack_of(question: Question, places: int) -> Question:
    """A stack of questions for one model: most arrays get a leading axis.

    Args:
      question: a `padded` question, which first stands at every place. Layout and normalisation
        table depend on the model and the grid alone; the stack holds those of this question.
      places: number of questions in the stack.

    Returns:
      The stack, for `put_question` and `pick`.
    """
    stacked = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (places, *jnp.shape(leaf))), _with_shared(question)
    )
    return _with_shared(stacked, question.plan.table, question.layout)


@jax.jit
def put_question(
    questions: Question, place: Int[jax.Array, ""], question: Question
) -> Question:
    """The stack with another question of the same kind, see `kind_of`, at one place."""
    changed = jax.tree.map(
        lambda leaves, leaf: leaves.at[place].set(leaf),
        _with_shared(questions),
        _with_shared(question),
    )
    return _with_shared(changed, questions.plan.table, questions.layout)


def pick(questions: Question, which: Int[jax.Array, "*b"]) -> Question:
    """Takes the questions with the numbers ``which`` from a stack."""
    picked = jax.tree.map(lambda leaf: leaf[which], _with_shared(questions))
    return _with_shared(picked, questions.plan.table, questions.layout)


def _with_shared(question: Question, table: Any = None, layout: Any = None) -> Question:
    """The question with the arrays that all questions of a stack share, or without them."""
    plan = dataclasses.replace(question.plan, table=table)
    return dataclasses.replace(question, plan=plan, layout=layout)
