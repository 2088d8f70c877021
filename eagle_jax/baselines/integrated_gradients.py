"""Integrated gradients: from the fill to the image along a straight line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from eagle_jax.baselines.maps import Heat, frames_of, grids, painted
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import (
    gradient_batch_size,
    patch_gradient,
    require_gradients,
    whole_patches,
)


def integrated_gradients(case: Case, *, steps: int = 50) -> Heat:
    """What each patch adds to the mean target log-probability between fill and image.

    Args:
      case: what is explained.
      steps: points at which the gradient is taken, in the middle of as many equal parts.

    Returns:
      The map, whose patches' values add up to the difference that the image makes, but for
      the error of the finite sum; negative where a patch speaks against the targets.

    Raises:
      InputError: the weights are int8.

    References:
      Sundararajan et al., arXiv 1703.01365, equation 1.
    """
    require_gradients(case.model.network)
    values = patch_values(
        case.model.network,
        case.question.padded,
        steps=steps,
        batch_size=min(steps, gradient_batch_size(case.scorer)),
    )
    heat = painted(case, grids(frames_of(case), np.asarray(values), 1))
    return Heat(heat, steps, steps)


@functools.partial(jax.jit, static_argnames=("steps", "batch_size"))
def patch_values(network, question, *, steps: int, batch_size: int):
    """The attribution of each patch, float32 (p,); one batch's gradient at a time."""
    plan = question.plan
    blank = whole_patches(question, jnp.broadcast_to(plan.fill, plan.image.shape))
    change = whole_patches(question) - blank
    batches = -(-steps // batch_size)
    places = (jnp.arange(batches * batch_size) + 0.5) / steps

    def add(total, places):
        gradient = patch_gradient(network, question, blank + places[:, None, None] * change)
        # The last batch may reach beyond the image.
        return total + jnp.where((places < 1)[:, None, None], gradient, 0).sum(axis=0), None

    places = places.reshape(batches, batch_size)
    total, _ = jax.lax.scan(add, jnp.zeros(change.shape[1:]), places)
    return (total / steps * change[0]).sum(axis=-1)
