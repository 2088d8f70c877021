"""Hidden states, gradients and attention, for methods that need the weights of a model.

Pure functions of a network and a question, as in `eagle_jax.scoring.set_function`. Nothing is
differentiated with respect to the weights.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float32, UInt8

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import masked_patches
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.inspection import layer_inputs, layer_with_attention, tap
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.scoring.question import Question
from eagle_jax.scoring.scorer import MaskedImageScorer, data_devices
from eagle_jax.scoring.set_function import log_score_patches

# A gradient takes about as much memory as this number of forwards.
GRADIENT_SHARE = 4


class Tapped(NamedTuple):
    """Activation of a decoder layer at the visual tokens, with its gradient.

    Attributes:
      activation: input of the layer's MLP.
      gradient: gradient of the sum of the target logits with respect to the activation.
    """

    activation: Float[Array, "b v e"]
    gradient: Float[Array, "b v e"]


def require_gradients(network: Network) -> None:
    """Raises unless the weights of a network are floating-point numbers.

    Raises:
      InputError: the weights are int8, through which no gradient passes.
    """
    if any(leaf.dtype == jnp.int8 for leaf in jax.tree.leaves(network)):
        raise InputError(
            "the weights are int8, through which no gradient passes: load the model without "
            "quantize, or choose a method that needs probabilities only"
        )


def gradient_batch_size(
    scorer: MaskedImageScorer, images: int, forwards: int = GRADIENT_SHARE
) -> int:
    """Number of images whose gradient is computed at once, over all devices.

    A gradient down to the pixels holds the activations of every layer, a forward those of one.

    Args:
      scorer: scorer of the case, whose batches fill the devices.
      images: number of images in total.
      forwards: number of forwards that take as much memory as one gradient.

    Returns:
      A multiple of the number of devices along the mesh's "data" axis, for `spread`.
    """
    devices = data_devices(scorer.network)
    fitting = max(1, scorer.batch_size // devices // forwards)
    return devices * min(fitting, -(-images // devices))


def spread(images: Float[Array, "b *rest"], mesh: Mesh | None) -> Float[Array, "b *rest"]:
    """Splits a batch over the "data" axis of a mesh, inside a compiled program.

    Without it every device of the mesh would compute the whole batch.

    Args:
      images: a batch of images, of `gradient_batch_size`.
      mesh: mesh of the weights; None leaves the batch as it is.
    """
    if mesh is None:
        return images
    return jax.lax.with_sharding_constraint(images, NamedSharding(mesh, PartitionSpec("data")))


def whole_patches(
    question: Question, image: UInt8[Array, "3 y x"] | None = None
) -> Float32[Array, "1 p c"]:
    """Patches of an image without hidden regions.

    Args:
      question: the question about the image.
      image: uint8 pixels to use instead of the question's image, padded like it.
    """
    plan = question.plan
    plan = dataclasses.replace(
        plan,
        image=plan.image if image is None else image,
        labels=jnp.zeros_like(plan.labels),
        views=tuple(dataclasses.replace(view, partial=None) for view in plan.views),
    )
    return masked_patches(plan, jnp.ones((1, 1), bool))


def patch_gradient(
    network: Network, question: Question, patches: Float[Array, "b p c"]
) -> Float32[Array, "b p c"]:
    """Gradient of the mean target log-probability with respect to patches.

    Args:
      network: the model's modules.
      question: the question, from `Question.padded`.
      patches: normalised patches of images.
    """

    def objective(patches):
        return (log_score_patches(network, question, patches) @ question.weights).sum()

    return jax.grad(objective)(patches)


def final_states(
    network: Network, question: Question, patches: Float[Array, "b p c"]
) -> Float[Array, "b s e"]:
    """Final normalised hidden states of the whole sequence, the input of the head."""
    with full_precision(network):
        return network.hidden_states(_embed(network, question, patches), question.positions)


def tapped(
    network: Network, question: Question, patches: Float[Array, "b p c"], layer: int
) -> Tapped:
    """Activation of one decoder layer, with the gradient of the target logits.

    Layers before the chosen layer run once and store nothing for the gradient.

    Args:
      network: the model's modules.
      question: the question, from `Question.padded`.
      patches: normalised patches of images.
      layer: index of the decoder layer, from 0; not the last layer, after which visual tokens
        no longer affect the output.
    """
    with full_precision(network):
        embeddings = _embed(network, question, patches)
        activation, finish = tap(network.decoder, embeddings, question.positions, layer)

        def objective(activation):
            hidden = finish(activation, question.rows)
            logits = network.decoder.logits(hidden)
            chosen = jnp.take_along_axis(logits, question.token_ids[None, :, None], axis=-1)
            return (chosen[..., 0] * (question.weights > 0)).sum()

        gradient = jax.grad(objective)(activation)
    return Tapped(_visual(question, activation), _visual(question, gradient))


@jax.jit
def rolled_out_attention(network: Network, question: Question) -> Float32[Array, " v"]:
    """Attention rollout from the rows of the targets to the visual tokens.

    Args:
      network: the model's modules.
      question: the question, from `Question.padded`.

    Returns:
      Mean over the targets of their rows of the rollout, at the visual tokens.

    References:
      Abnar and Zuidema, arXiv 2005.00928, equation 1: the product over layers of attention,
      averaged over heads and averaged with the identity.
    """
    decoder = network.decoder
    with full_precision(network):
        rotation = decoder.rotation(question.positions)
        embeddings = _embed(network, question, whole_patches(question))
        inputs, last = layer_inputs(decoder, embeddings, question.positions)

        def back(rolled, layer_input):
            layer, x = layer_input
            _, weights = layer_with_attention(layer, x, rotation)
            return (rolled + rolled @ weights[0].mean(axis=0)) / 2, None

        rolled = jnp.zeros(last.shape[1]).at[question.rows].add(question.weights)
        rolled, _ = back(rolled, (decoder.last, last))
        rolled, _ = jax.lax.scan(back, rolled, (decoder.layers, inputs), reverse=True)
    return _visual(question, rolled[None, :, None])[0, :, 0]


@jax.jit
def attention_relevance(network: Network, question: Question) -> Float32[Array, " v"]:
    """Relevance of the visual tokens: attention weighted by its gradient.

    Each target takes one backward pass, which holds the attention of one layer at a time: the
    product over layers is taken from the last layer to the first, in step with the gradient.

    Args:
      network: the model's modules.
      question: the question, from `Question.padded`.

    Returns:
      Mean over the targets of their rows of the relevance, at the visual tokens; each row uses
      the gradient of the target's own logit.

    References:
      Chefer et al., arXiv 2103.15679, equations 5 and 6.
    """
    decoder = network.decoder
    with full_precision(network):
        rotation = decoder.rotation(question.positions)
        embeddings = _embed(network, question, whole_patches(question))
        inputs, last = layer_inputs(decoder, embeddings, question.positions)
        final, weights = layer_with_attention(decoder.last, last, rotation)
        zero = jnp.zeros_like(weights)

        def back(carried, layer_input):
            gradient, relevance = carried
            layer, x = layer_input
            _, pull, weights = jax.vjp(
                lambda x, change: layer_with_attention(layer, x, rotation, change),
                x,
                zero,
                has_aux=True,
            )
            gradient, of_weights = pull(gradient)
            flow = jax.nn.relu(of_weights[0] * weights[0]).mean(axis=0)
            return (gradient, relevance + relevance @ flow), None

        def add_target(i, total):
            row = question.rows[i]

            def logit(final):
                return decoder.logits(decoder.norm(final[0, row]))[question.token_ids[i]]

            carried = jax.grad(logit)(final), jax.nn.one_hot(row, final.shape[1])
            carried, _ = back(carried, (decoder.last, last))
            carried, _ = jax.lax.scan(back, carried, (decoder.layers, inputs), reverse=True)
            return total + question.weights[i] * carried[1]

        count = (question.weights > 0).sum()
        total = jax.lax.fori_loop(0, count, add_target, jnp.zeros(final.shape[1]))
    return _visual(question, total[None, :, None])[0, :, 0]


def _embed(network: Network, question: Question, patches: Array) -> Array:
    visual = network.visual_tokens(patches, question.layout)
    return network.embed(question.ids, visual, question.start)


def _visual(question: Question, x: Float[Array, "b s e"]) -> Float[Array, "b v e"]:
    return jax.lax.dynamic_slice_in_dim(x, question.start, question.plan.tokens, axis=1)
