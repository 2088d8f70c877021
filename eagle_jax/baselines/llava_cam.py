"""LLaVA-CAM: the activation of one decoder layer, weighed by its gradient, under noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

from eagle_jax.baselines.maps import Heat, as_published, frames_of, grids, painted, stretched
from eagle_jax.errors import InputError
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import Tapped, require_gradients, tapped, whole_patches

_DEPTH = 0.9
# Of the published scripts: number of decoder layers, and the one that is tapped.
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

    Each channel of what the layer's MLP reads weighs as much as the mean over the visual
    tokens of its gradient's positive part. The map is the mean over noisy copies of the image.

    Args:
      case: what is explained.
      variant: "paper" has the true grid of visual tokens; "published" the layers of the EAGLE
        repository's scripts and its grids, see `eagle_jax.baselines.maps.as_published`.
      depth: which layer, from 0, the first, up to 1, the last, which itself is out of reach;
        None for 0.9, or for the published layer.
      samples: noisy copies.
      noise: their standard deviation, as a share of the largest pixel value.
      seed: equal seeds give equal copies.

    Returns:
      The map.

    Raises:
      InputError: the depth is outside the model, or the weights are int8.

    References:
      Zhang et al., "From Redundancy to Relevance", arXiv 2406.06579, for the map; Smilkov et
      al., SmoothGrad, arXiv 1706.03825, for the noise.
    """
    require_gradients(case.model.network)
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
            batch_size=min(samples, case.scorer.batch_size),
        )
    )
    if variant == "published":
        heat = stretched(as_published(case, tokens), *case.image.shape[:2])
    else:
        heat = painted(case, grids(frames_of(case), tokens, case.question.plan.merge_size))
    return Heat(heat, samples, samples)


def tapped_layer(layers: int, depth: float | None = None, published: bool = False) -> int:
    """The number of the layer that is tapped, from 0.

    Args:
      layers: of the decoder.
      depth: see `llava_cam`.
      published: whether the variant is "published".

    Raises:
      InputError: the depth is outside the model.
    """
    if depth is None and published:
        if layers not in _PUBLISHED_LAYERS:
            raise InputError(
                f"the published layers are of decoders with {sorted(_PUBLISHED_LAYERS)} "
                f"layers, this one has {layers}: give a depth"
            )
        return _PUBLISHED_LAYERS[layers]
    depth = _DEPTH if depth is None else depth
    if not 0 <= depth < 1:
        raise InputError(
            f"depth is {depth}; it must be from 0, the first layer, to less than 1, the last, "
            "where visual tokens act on nothing any more"
        )
    if layers < 2:
        raise InputError("the decoder has one layer, and that is the last")
    return math.floor(depth * (layers - 1))


def cam(found: Tapped) -> Float32[Array, "b v"]:
    """The map over the visual tokens of each image, from 0 to 1."""
    weight = jax.nn.relu(found.gradient.astype(jnp.float32)).mean(axis=1, keepdims=True)
    heat = jax.nn.relu((found.activation.astype(jnp.float32) * weight).mean(axis=-1))
    return _by_largest(heat)


@functools.partial(jax.jit, static_argnames=("samples", "layer", "batch_size"))
def smooth_cam(network, question, noise, key, *, samples, layer, batch_size):
    """The mean of `cam` over noisy copies of the image, float32 (v,), from 0 to 1.

    Args:
      network: the model's modules.
      question: a `Question.padded` one.
      noise: standard deviation, in pixel values.
      key: of the noise.
      samples: noisy copies.
      layer: that is tapped.
      batch_size: copies of a forward.
    """

    def noisy_patches(number):
        image = question.plan.image
        change = noise * jax.random.normal(jax.random.fold_in(key, number), image.shape)
        pixels = jnp.clip(jnp.round(image + change), 0, 255).astype(jnp.uint8)
        return whole_patches(question, pixels)[0]

    def batch(numbers):
        return cam(tapped(network, question, jax.vmap(noisy_patches)(numbers), layer))

    batches = -(-samples // batch_size)
    maps = jax.lax.map(batch, jnp.arange(batches * batch_size).reshape(batches, -1))
    return _by_largest(maps.reshape(-1, maps.shape[-1])[:samples].mean(axis=0))


def _by_largest(heat: Float[Array, "*b v"]) -> Float[Array, "*b v"]:
    largest = heat.max(axis=-1, keepdims=True)
    return heat / jnp.where(largest > 0, largest, 1)
