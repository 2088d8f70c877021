"""A question about one image, as arrays: all that stays while regions are hidden."""

import dataclasses
import functools
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Int

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.inputs.prompt import require_context
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.layers.rope import image_start

# Programs are compiled per bucket, not per length: a sequence or a number of targets is padded
# to the next multiple.
_SEQUENCE_BUCKET = 8
_TARGET_BUCKET = 8


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["plan", "layout", "ids", "positions", "start", "rows", "token_ids", "weights"],
    meta_fields=["count", "published_rounding"],
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
      token_ids: int (t,), token id scored at each row.
      weights: float (t,), share of each target in the mean; 0 for padding.
      count: number of targets in front of the padding, which results then leave out; None
        keeps it, so that questions of one bucket share a program.
      published_rounding: whether pixels and probabilities are rounded as the published code
        does, see `lay_out`.
    """

    # Any: JAX also rebuilds questions that hold placeholders, shardings or axis numbers.
    plan: Any
    layout: Any
    ids: Any
    positions: Any
    start: Any
    rows: Any
    token_ids: Any
    weights: Any
    count: int | None = None
    published_rounding: bool = False

    @property
    def padded(self) -> "Question":
        """The question whose results hold the padding targets as well."""
        return dataclasses.replace(self, count=None)


def lay_out(
    network: Any,
    plan: ImagePlan,
    prompt_ids: Int[np.ndarray, " s"],
    answer_ids: Int[np.ndarray, " a"],
    positions: Int[np.ndarray, " t"],
    token_ids: Int[np.ndarray, " t"],
    *,
    published_rounding: bool = False,
) -> Question:
    """Lays out prompt and answer around an image, and says which outputs are wanted.

    Answer token ``i`` is predicted at position ``P + i - 1``, where ``P`` is the length of
    the expanded prompt; nothing behind the last such row is kept.

    Args:
      network: the model's modules; shapes instead of weights will do.
      plan: the image and its regions.
      prompt_ids: the expanded prompt.
      answer_ids: the whole answer, teacher-forced.
      positions: in the answer, at least one.
      token_ids: the id scored at each position.
      published_rounding: round as the published code does: pixels to bfloat16 whatever the
        model's own precision, logits and probabilities to that of the model. Near
        probabilities of 1 many candidates of a step then are equal.

    Returns:
      The question, its arrays on the host; see `on_devices`.

    Raises:
      InputError: the answer contains the image token, or the sequence is too long.

    References:
      EAGLE, arXiv 2509.22496, section 3.1.
    """
    image_token = network.config.image_token_id
    if image_token in answer_ids:
        raise InputError(f"the answer holds the image token (id {image_token})")
    rows = len(prompt_ids) + positions - 1
    real = np.concatenate([prompt_ids, answer_ids])[: rows.max() + 1]
    require_context(len(real), plan.tokens, network.config.decoder.context)
    ids = np.pad(real, (0, -len(real) % _SEQUENCE_BUCKET), mode="edge")
    spare = (0, -len(positions) % _TARGET_BUCKET)
    return Question(
        plan=plan,
        layout=network.layout(plan.grid),
        ids=ids.astype(np.int32),
        positions=network.positions(ids, plan.grid),
        start=np.int32(image_start(ids, image_token)),
        rows=np.pad(rows, spare).astype(np.int32),
        token_ids=np.pad(token_ids, spare).astype(np.int32),
        weights=np.pad(np.full(len(positions), 1 / len(positions), np.float32), spare),
        count=len(positions),
        published_rounding=published_rounding,
    )


def on_devices(network: Any, question: Question) -> Question:
    """The question with its arrays where the weights are: on the device, or all of a mesh."""
    mesh = mesh_of(network)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    return jax.device_put(question, everywhere)


def kind_of(question: Question) -> Hashable:
    """What two `padded` questions must share to be stacked: structure, shapes and dtypes."""
    leaves, structure = jax.tree.flatten(question)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def stack_questions(questions: Sequence[Question]) -> Question:
    """Several questions to one model as one, whose own arrays have a leading image axis.

    Args:
      questions: of one kind, see `kind_of`. What depends on the model and the grid alone, the
        layout and the normalisation, is taken from the first.

    Returns:
      The stack; `pick` takes questions out of it again.
    """
    own = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(_own, questions))
    return _with_shared(own, questions[0])


def pick(questions: Question, which: Int[jax.Array, "*b"]) -> Question:
    """The questions with the numbers ``which`` of a stack."""
    own = jax.tree.map(lambda leaf: leaf[which], _own(questions))
    return _with_shared(own, questions)


def _own(question: Question) -> Question:
    plan = dataclasses.replace(question.plan, table=None)
    return dataclasses.replace(question, plan=plan, layout=None)


def _with_shared(own: Question, shared: Question) -> Question:
    plan = dataclasses.replace(own.plan, table=shared.plan.table)
    return dataclasses.replace(own, plan=plan, layout=shared.layout)
