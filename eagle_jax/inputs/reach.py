"""Which patches a region reaches, through the resize of the image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from eagle_jax.inputs.patches import ImagePlan


def blocks_reached(plan: ImagePlan, regions: int) -> Bool[Array, "i n"]:
    """Which blocks of patches change when a region is hidden.

    Args:
      plan: from `plan_image`.
      regions: number of columns, at least the number of regions.

    Returns:
      True where a pixel of the region has a weight in the resize of the block. Blocks of all
      views, in the order of their patches.
    """

    def reached(region):
        pixels = (plan.labels == region).astype(jnp.float32)
        return jnp.concatenate([(y @ pixels @ x.T).reshape(-1) > 0 for y, x in sources])

    height, width = plan.labels.shape
    sources = [
        (
            _sources(view.vertical, view.blocks[0], view.block * plan.patch_size, height),
            _sources(view.horizontal, view.blocks[1], view.block * plan.patch_size, width),
        )
        for view in plan.views
    ]
    return jax.lax.map(reached, jnp.arange(regions)).T


def _sources(weights: Array | None, blocks: int, side: int, size: int) -> Array:
    """1 where a source row or column has a weight in a block, (blocks, size)."""
    if weights is None:
        inside = jnp.arange(size) // side == jnp.arange(blocks)[:, None]
    else:
        inside = jnp.any(weights != 0, axis=0).reshape(blocks, side, size).any(axis=1)
    return inside.astype(jnp.float32)
