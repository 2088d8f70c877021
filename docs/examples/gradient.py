"""Integrated gradients over regions, from the gradient of the set function.

    python docs/examples/gradient.py

`soft_patches` dims regions instead of hiding them, so that log p has a gradient with respect to
the brightness of each region. The mean gradient on the straight path from the blank to the full
image is the contribution of each region to log p. The contributions must add up to
log p(full image) - log p(blank image).
"""

import jax
import jax.numpy as jnp
import numpy as np

import eagle_jax

POINTS = 32

model = eagle_jax.load("demo")
case = eagle_jax.ask(
    model, eagle_jax.demo.IMAGE, "Describe the image.", target="boat", regions="grid:4x4"
)
regions = case.scorer.regions


def log_p(network, question, masks):
    """Sum of log p(boat) over soft masks; each term depends on one mask only."""
    patches = eagle_jax.soft_patches(question.plan, masks)
    return eagle_jax.log_score_patches(network, question, patches).sum()


along = (jnp.arange(POINTS) + 0.5) / POINTS
masks = jnp.tile(along[:, None], (1, regions))
gradient = jax.jit(jax.grad(log_p, argnums=2))(model.network, case.question, masks)
added = np.asarray(gradient.mean(axis=0))

ends = np.log(case.scorer(np.array([[False], [True]]).repeat(regions, axis=1)))
print("what each region of the grid adds to log p(boat):")
print(np.array2string(added.reshape(4, 4), precision=2, suppress_small=True))
print(f"sum over regions          {added.sum():.3f}")
print(f"log p(full) - log p(blank) {(ends[1] - ends[0]).item():.3f}")
