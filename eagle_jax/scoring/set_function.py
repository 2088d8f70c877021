"""Sets of visible regions to probabilities of the target tokens: pure functions.

`score`, `log_score` and `log_score_patches` are plain JAX: jit, vmap, grad and shard_map
compose with them. `score_sets` is the program behind `MaskedImageScorer`, one for any number of
sets. Scopes name the stages of a program: "pixels", "vision", "decoder" and "head", and
"attention" within two of them; what a profile shows outside of them serves the search.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32, Int

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import images_at_once, masked_patches
from eagle_jax.kernels import unsplit
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.question import Question, pick
from eagle_jax.scoring.reuse import Chain, first_chain, follow, in_chains, reuses


def score(
    network: Network, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Probability of each target token with only some regions visible.

    Exact: hidden regions are black in the source image, which is then resized in whole numbers
    as the published processors do. It has therefore no gradient with respect to the regions;
    `soft_patches` and `log_score_patches` have.

    Args:
      network: the model's modules, `Model.network`.
      question: what is asked about the image, `Case.question`.
      visible: one row per masked image, True for a visible region.

    Returns:
      The probabilities, one column per target.

    Raises:
      InputError: ``visible`` is not boolean.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    return _exact(network, question, visible, _probabilities)


def log_score(
    network: Network, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Log-probability of each target token with only some regions visible; see `score`."""
    return _exact(network, question, visible, _log_probabilities)


def log_score_patches(
    network: Network, question: Question, patches: Float[Array, "b p e"]
) -> Float32[Array, "b t"]:
    """Log-probability of each target token after the patches of an image; differentiable.

    Args:
      network: the model's modules, `Model.network`.
      question: what is asked about the image, `Case.question`.
      patches: normalised pixels in the model's order, as `soft_patches` gives them.

    Returns:
      The log-probabilities, one column per target.
    """
    return _cut(_read(network, question, patches, _log_probabilities), question)


def _exact(network, question: Question, visible, values) -> Array:
    if visible.dtype != bool:
        raise InputError(
            f"visible is of type {visible.dtype}; regions are visible or not, so it must be "
            "bool (for masks between 0 and 1, and their gradients, see soft_patches)"
        )
    with jax.named_scope("pixels"):
        patches = _rounded(masked_patches(question.plan, visible), question)
    return _cut(_read(network, question, patches, values), question)


def _cut(scores: Array, question: Question) -> Array:
    # Programs are compiled per bucket of targets; nobody outside sees the padding.
    return scores[:, : question.count]


def _read(network, question: Question, patches, values) -> Array:
    with full_precision(network):
        with jax.named_scope("vision"):
            visual = network.visual_tokens(patches, question.layout)
        return _after_vision(network, question, visual, values)


def _after_vision(network, question: Question, visual, values) -> Array:
    with jax.named_scope("decoder"):
        embeddings = network.embed(question.ids, visual, question.start)
        hidden = network.hidden_states(embeddings, question.positions, question.rows)
    with jax.named_scope("head"):
        return values(network, question, hidden)


def _log_probabilities(network, question: Question, hidden) -> Array:
    if question.published_rounding:
        return jnp.log(_probabilities(network, question, hidden))
    return network.log_probabilities(hidden, question.token_ids)


def _probabilities(network, question: Question, hidden) -> Array:
    if not question.published_rounding:
        return jnp.exp(network.log_probabilities(hidden, question.token_ids))
    logits = network.decoder.logits(hidden).astype(hidden.dtype)
    shares = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(hidden.dtype)
    chosen = jnp.take_along_axis(shares, question.token_ids[None, :, None], axis=-1)
    return chosen[..., 0].astype(jnp.float32)


def _rounded(patches: Array, question: Question) -> Array:
    if not question.published_rounding:
        return patches
    return patches.astype(jnp.bfloat16).astype(jnp.float32)


def _score_several(
    network: Network, questions: Question, which: Int[Array, " b"], visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """`score` of masked images that belong to different questions of a stack."""

    @jax.named_scope("pixels")
    def pixels(row):
        which, visible = row
        return masked_patches(pick(questions, which).plan, visible[None])[0]

    def read(which, visual):
        own = pick(questions, which)
        return _after_vision(network, own, visual[None], _probabilities)[0]

    at_once = min(len(visible), images_at_once(questions.plan))
    patches = jax.lax.map(pixels, (which, visible), batch_size=at_once)
    with full_precision(network):
        with jax.named_scope("vision"):
            visual = network.visual_tokens(_rounded(patches, questions), questions.layout)
        return jax.vmap(read)(which, visual)


def _score_next(
    network: Network,
    question: Question,
    visible: Bool[Array, "b n"],
    changed: Bool[Array, "b i"],
    chain: Chain,
) -> tuple[Float32[Array, "b t"], Chain]:
    """`score` of masked images of which much is as it was in those before."""
    with jax.named_scope("pixels"):
        patches = _rounded(masked_patches(question.plan, visible), question)
    with full_precision(network):
        hidden, chain = follow(network, question, patches, changed, chain)
        with jax.named_scope("head"):
            return _probabilities(network, question, hidden), chain


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
    """Scores the first ``count`` sets, ``batch_size`` at a time; other rows are undefined.

    Args:
      network: the model's modules.
      question: a `Question.padded` one, or a stack of several.
      sets: one row per masked image, True for a visible region.
      count: how many of the rows matter; the program's time follows it.
      which: the question of each row, for a stack.
      batch_size: masks per forward, over all devices; a multiple of the "data" axis.
      mesh: the mesh the weights are on; each device along "data" scores its own masks, and
        none hears of the others before all are done.
      reuse: where the model allows it, take over what images share, see
        `eagle_jax.scoring.reuse`; the scores are the same. Never in a stack.

    Returns:
      Float32 probabilities, padding targets included.
    """
    (capacity, n), targets = sets.shape, question.token_ids.shape[-1]
    shards = 1 if mesh is None else mesh.shape["data"]
    batches = -(-capacity // batch_size)
    spare = batches * batch_size - capacity
    places = changed = None
    if reuse and which is None and reuses(network, question.plan):
        # Devices that share weights wait for each other in every layer: all take the turns that
        # any of them needs.
        together = mesh is not None and mesh.shape["model"] > 1
        runs = 1 if together else shards
        places, sets, changed = in_chains(question.plan, sets, count, batch_size, runs)
        if together:
            every = changed.any(axis=1, keepdims=True)
            changed = jnp.broadcast_to(every, changed.shape)
        changed = changed.reshape(batches, shards, batch_size // shards, -1)
    else:
        sets = jnp.pad(sets, ((0, spare), (0, 0)))
    sets = sets.reshape(batches, shards, batch_size // shards, n)
    if which is not None:
        which = jnp.pad(which, (0, spare)).reshape(sets.shape[:3])

    def score_batches(network, question, sets, which, changed, count):
        def score_batch(i, carried):
            scores, chain = carried
            if which is not None:
                batch = _score_several(network, question, which[i, 0], sets[i, 0])
            elif changed is not None:
                batch, chain = _score_next(network, question, sets[i, 0], changed[i, 0], chain)
            else:
                batch = score(network, question, sets[i, 0])
            scores = jax.lax.dynamic_update_index_in_dim(scores, batch[None], i, axis=0)
            return scores, chain

        chain = None if changed is None else first_chain(network, question, sets.shape[2])
        room = jnp.zeros((*sets.shape[:3], targets), jnp.float32)
        wanted = (count + batch_size - 1) // batch_size
        return jax.lax.fori_loop(0, wanted, score_batch, (room, chain))[0]

    # A "model" axis that splits no weight may be taken as read, as kernels want it.
    axes = {"data"} if mesh is None or mesh.shape["model"] > 1 else {"data", "model"}
    if mesh is not None:
        everywhere, own = PartitionSpec(), PartitionSpec(None, "data")
        score_batches = jax.shard_map(
            score_batches,
            mesh=mesh,
            axis_names=axes,
            in_specs=(everywhere, everywhere, own, own, own, everywhere),
            out_specs=own,
            check_vma=False,
        )
    with unsplit(mesh is None or axes == set(mesh.axis_names)):
        scores = score_batches(network, question, sets, which, changed, count)
    scores = scores.reshape(-1, targets)
    return scores[:capacity] if places is None else scores[places]
