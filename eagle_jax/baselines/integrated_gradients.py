"""Integrated gradients: from the fill to the image along a straight line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float32

from eagle_jax.baselines.maps import Heat, frames_of, grids, painted
from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.models.families.network import Network
from eagle_jax.scoring import gradients
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.question import Question


def integrated_gradients(case: Case, *, steps: int = 50) -> Heat:
    """Contribution of each patch to the mean target log-probability, from fill to image.

    Args:
      case: the case to explain.
      steps: number of points at which the gradient is computed, each in the middle of one of
        as many equal parts of the line.

    Returns:
      The map. The values of the patches sum to the difference of the scores of image and fill,
      except for the error of the finite sum; a patch that lowers the score has a negative one.

    Raises:
      InputError: the weights are int8.

    References:
      Sundararajan et al., arXiv 1703.01365, equation 1.
    """
    gradients.require_gradients(case.model.network)
    values = patch_values(
        case.model.network,
        case.question.padded,
        steps=steps,
        batch_size=gradients.gradient_batch_size(case.scorer, steps),
        mesh=mesh_of(case.model.network),
    )
    heat = painted(case, grids(frames_of(case), np.asarray(values), 1))
    return Heat(heat, steps, steps)


@functools.partial(jax.jit, static_argnames=("steps", "batch_size", "mesh"))
def patch_values(
    network: Network,
    question: Question,
    *,
    steps: int,
    batch_size: int,
    mesh: Mesh | None = None,
) -> Float32[Array, " p"]:
    """The attribution of each patch.

    Args:
      network: the model's modules.
      question: a `Question.padded`.
      steps: number of points at which the gradient is computed.
      batch_size: number of points computed at once, see `gradient_batch_size`.
      mesh: mesh of the weights.
    """
    plan = question.plan
    blank = gradients.whole_patches(question, jnp.broadcast_to(plan.fill, plan.image.shape))
    change = gradients.whole_patches(question) - blank
    batches = -(-steps // batch_size)
    places = (jnp.arange(batches * batch_size) + 0.5) / steps

    def add(total, places):
        patches = gradients.spread(blank + places[:, None, None] * change, mesh)
        gradient = gradients.patch_gradient(network, question, patches)
        # The last batch may reach beyond the image.
        return total + jnp.where((places < 1)[:, None, None], gradient, 0).sum(axis=0), None

    places = places.reshape(batches, batch_size)
    total, _ = jax.lax.scan(add, jnp.zeros(change.shape[1:]), places)
    return (total / steps * change[0]).sum(axis=-1)
