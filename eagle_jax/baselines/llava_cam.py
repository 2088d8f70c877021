"""LLaVA-CAM: the activation of a decoder layer, weighted by its gradient, with noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, Key

from eagle_jax.baselines.maps import Heat, as_published, frames_of, grids, painted, stretched
from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring import gradients
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.question import Question

_DEPTH = 0.9
# In the published scripts: number of decoder layers, and number of the layer that is used.
_PUBLISHED_LAYERS = {28: 26, 32: 13, 36: 32}


def llava_cam(
    case: Case,
    *,
    variant: str = "paper",
    depth: float | None = None,
    samples: int = 50,
    noise: float = 0.1,
    seed: int = 0,
) -> Heat:
    """Grad-CAM of the sum of the target logits, at the visual tokens of one decoder layer.

    The activation is the input of the layer's MLP. The weight of a channel is the mean over
    the visual tokens of the positive part of its gradient. The map is the mean over noisy
    copies of the image.

    Args:
      case: the case to explain.
      variant: "paper" for the true grid of visual tokens; "published" for the layers and grids
        of the EAGLE repository's scripts, see `eagle_jax.baselines.maps.as_published`.
      depth: depth of the layer as a fraction of the decoder, from 0, the first layer, to less
        than 1, the last; None for 0.9, or for the published layer.
      samples: number of noisy copies.
      noise: standard deviation of the noise, as a fraction of the largest pixel value.
      seed: seed of the noise.

    Returns:
      The map.

    Raises:
      InputError: the depth is outside the model, or the weights are int8.

    References:
      Zhang et al., "From Redundancy to Relevance", arXiv 2406.06579, for the map; Smilkov et
      al., SmoothGrad, arXiv 1706.03825, for the noise.
    """
    gradients.require_gradients(case.model.network)
    layer = tapped_layer(
        case.model.network.config.decoder.layers, depth, variant == "published"
    )
    tokens = np.asarray(
        smooth_cam(
            case.model.network,
            case.question.padded,
            np.float32(255 * noise),
            jax.random.key(seed),
            samples=samples,
            layer=layer,
            # Only the layers behind the chosen one keep anything for the gradient.
            batch_size=gradients.gradient_batch_size(case.scorer, samples, forwards=1),
            mesh=mesh_of(case.model.network),
        )
    )
    if variant == "published":
        heat = stretched(as_published(case, tokens), *case.image.shape[:2])
    else:
        heat = painted(case, grids(frames_of(case), tokens, case.question.plan.merge_size))
    return Heat(heat, samples, samples)


def tapped_layer(layers: int, depth: float | None = None, published: bool = False) -> int:
    """Number of the decoder layer whose activation is used, from 0.

    Args:
      layers: number of layers of the decoder.
      depth: depth of the layer as a fraction of the decoder, as in `llava_cam`.
      published: True for the variant "published".

    Raises:
      InputError: the depth is outside the model.
    """
    if depth is None and published:
        if layers not in _PUBLISHED_LAYERS:
            raise InputError(
                f"published layers exist for decoders with {sorted(_PUBLISHED_LAYERS)} "
                f"layers, this decoder has {layers}; set depth"
            )
        return _PUBLISHED_LAYERS[layers]
    depth = _DEPTH if depth is None else depth
    if not 0 <= depth < 1:
        raise InputError(
            f"depth is {depth}; it must be from 0, the first layer, to less than 1, the last, "
            "after which visual tokens no longer affect the output"
        )
    if layers < 2:
        raise InputError(
            "the decoder has a single layer, after which visual tokens no longer affect the "
            "output; choose another method"
        )
    return math.floor(depth * (layers - 1))


def cam(layer: gradients.Tapped) -> Float32[Array, "b v"]:
    """The map over the visual tokens of each image, from 0 to 1."""
    weight = jax.nn.relu(layer.gradient.astype(jnp.float32)).mean(axis=1, keepdims=True)
    heat = jax.nn.relu((layer.activation.astype(jnp.float32) * weight).mean(axis=-1))
    return _by_largest(heat)


@functools.partial(jax.jit, static_argnames=("samples", "layer", "batch_size", "mesh"))
def smooth_cam(
    network: Network,
    question: Question,
    noise: Float32[Array, ""],
    key: Key[Array, ""],
    *,
    samples: int,
    layer: int,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Float32[Array, " v"]:
    """The mean of `cam` over noisy copies of the image, from 0 to 1.

    Args:
      network: the model's modules.
      question: a `Question.padded`.
      noise: standard deviation of the noise, in pixel values.
      key: random key of the noise.
      samples: number of noisy copies.
      layer: number of the decoder layer, see `tapped_layer`.
      batch_size: number of copies computed at once, see `gradient_batch_size`.
      mesh: mesh of the weights.
    """

    def noisy_patches(number):
        image = question.plan.image
        change = noise * jax.random.normal(jax.random.fold_in(key, number), image.shape)
        pixels = jnp.clip(jnp.round(image + change), 0, 255).astype(jnp.uint8)
        return gradients.whole_patches(question, pixels)[0]

    def batch(numbers):
        patches = gradients.spread(jax.vmap(noisy_patches)(numbers), mesh)
        return cam(gradients.tapped(network, question, patches, layer))

    batches = -(-samples // batch_size)
    maps = jax.lax.map(batch, jnp.arange(batches * batch_size).reshape(batches, -1))
    return _by_largest(maps.reshape(-1, maps.shape[-1])[:samples].mean(axis=0))


def _by_largest(heat: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
    largest = heat.max(axis=-1, keepdims=True)
    return heat / jnp.where(largest > 0, largest, 1)
