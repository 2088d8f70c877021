"""The set function: from sets of visible regions to probabilities of the target tokens.

`score`, `log_score` and `log_score_patches` are pure functions: jit, vmap, grad and shard_map
compose with them. Named scopes mark the stages of a compiled program: "pixels", "vision",
"decoder" and "head", and "attention" within vision and decoder.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Float32

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.inputs.host_pixels import masked_pixels
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.question import Question

# From network, question and hidden states to a value of each target.
Values = Callable[[Network, Question, Array], Array]


@checked
def score(
    network: Network, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Probability of each target token with only some regions visible.

    Exact: hidden regions show the fill in the source image, which is then resized in integer
    arithmetic as in the published image processors. Therefore it has no gradient with respect
    to the regions; use `soft_patches` and `log_score_patches` for gradients.

    Args:
      network: the model's modules, `Model.network`.
      question: the question about the image, `Case.question`.
      visible: one row per masked image, True for a visible region.

    Returns:
      The probabilities, one column per target.

    Raises:
      InputError: ``visible`` is not boolean; or a model that runs by the bridge would take
        another branch for a masked image, and the call is not traced. Where it is traced, as
        by `jax.jit`, the probabilities of that image are NaN.

    References:
      EAGLE, arXiv 2509.22496, section 3.2.
    """
    return _exact(network, question, visible, probabilities)


@checked
def log_score(
    network: Network, question: Question, visible: Bool[Array, "b n"]
) -> Float32[Array, "b t"]:
    """Log-probability of each target token with only some regions visible; see `score`."""
    return _exact(network, question, visible, _log_probabilities)


@checked
def log_score_patches(
    network: Network, question: Question, patches: Float[Array, "b p c"]
) -> Float32[Array, "b t"]:
    """Log-probability of each target token for given patches; differentiable.

    Args:
      network: the model's modules, `Model.network`.
      question: the question about the image, `Case.question`.
      patches: normalised pixels in the model's order, as from `soft_patches`.

    Returns:
      The log-probabilities, one column per target.
    """
    return _from_patches(network, question, patches, _log_probabilities)


def _exact(network: Network, question: Question, visible: Array, values: Values) -> Array:
    if visible.dtype != bool:
        raise InputError(
            f"visible is of type {visible.dtype}, it must be bool; for soft masks between 0 "
            "and 1, and for their gradients, use soft_patches"
        )
    return _from_patches(network, question, exact_patches(question, visible), values)


def _from_patches(
    network: Network, question: Question, patches: Array, values: Values
) -> Array:
    with full_precision(network):
        with jax.named_scope("vision"):
            visual = network.visual_tokens(patches, question.layout)
        scores = after_vision(network, question, visual, values)
    if hasattr(network, "require_decided") and not isinstance(scores, Tracer):
        unknown = np.isnan(scores).any(axis=1)
        if unknown.any():
            require_decided(network, question, patches[unknown][:1])
    # Programs are compiled per bucket of targets; callers never see the padding.
    return scores[:, : question.count]


def require_decided(
    network: Network, question: Question, patches: Float[Array, "1 p c"]
) -> None:
    """Refuses a masked image for which the branches of a bridged model's program do not hold.

    Raises:
      InputError: the message names the lines of code that decide otherwise.
    """
    require = getattr(network, "require_decided", None)
    if require is not None:
        require(patches[0], question.ids, question.positions)


def exact_patches(question: Question, visible: Bool[Array, "b n"]) -> Float32[Array, "b p c"]:
    """Patches of masked images, rounded as the question asks.

    Args:
      question: the question about the image.
      visible: one row per masked image, True for a visible region.
    """
    with jax.named_scope("pixels"):
        patches = masked_pixels(question.plan, visible)
        if question.published_rounding:
            patches = patches.astype(jnp.bfloat16).astype(jnp.float32)
        return patches


def after_vision(
    network: Network, question: Question, visual: Float[Array, "b v c"], values: Values
) -> Float32[Array, "b t"]:
    """Values of the target tokens, padding included, from visual tokens.

    Args:
      network: the model's modules.
      question: the question about the image.
      visual: visual tokens of each masked image.
      values: from network, question and hidden states to a value of each target, such as
        `probabilities`.
    """
    with jax.named_scope("decoder"):
        embeddings = network.embed(question.ids, visual, question.start)
        hidden = network.hidden_states(embeddings, question.positions, question.rows)
    with jax.named_scope("head"):
        return values(network, question, hidden)


def probabilities(
    network: Network, question: Question, hidden: Float[Array, "b t e"]
) -> Float32[Array, "b t"]:
    """Probability of each target token, padding included, from hidden states.

    Args:
      network: the model's modules.
      question: the question about the image.
      hidden: final hidden states at the question's rows.
    """
    if not question.published_rounding:
        return jnp.exp(network.log_probabilities(hidden, question.token_ids))
    logits = network.decoder.logits(hidden).astype(hidden.dtype)
    every = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(hidden.dtype)
    chosen = jnp.take_along_axis(every, question.token_ids[None, :, None], axis=-1)
    return chosen[..., 0].astype(jnp.float32)


def _log_probabilities(network: Network, question: Question, hidden: Array) -> Array:
    if question.published_rounding:
        return jnp.log(probabilities(network, question, hidden))
    return network.log_probabilities(hidden, question.token_ids)
