"""The set function inside a JAX program of your own, spread over all devices.

    python docs/examples/sharded_pipeline.py

`score` is plain JAX. This program draws random sets of regions, scores them and averages the
scores; only the result leaves the devices. The sets are spread along the "data" axis of the
device mesh. To try it on one machine, set these environment variables:
XLA_FLAGS=--xla_force_host_platform_device_count=4 JAX_PLATFORMS=cpu.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import eagle_jax

ROUNDS, BATCH = 8, 16  # BATCH sets per round, over all devices

mesh = Mesh(np.array(jax.devices()).reshape(-1, 1), ("data", "model"))
model = eagle_jax.load("demo", mesh=mesh)
case = eagle_jax.ask(
    model,
    eagle_jax.demo.IMAGE,
    "Describe the image.",
    answer="The image shows a red fish, a purple boat, a yellow dog and a pink mushroom.",
    target="boat",
    regions="grid:4x4",
)


@functools.partial(jax.jit, static_argnames="regions")
def importance(network, question, key, *, regions):
    """Mean p(boat) over sets with a region visible, minus the mean over sets with it hidden."""

    def one_round(key):
        visible = jax.random.bernoulli(key, 0.5, (BATCH, regions))
        spread = NamedSharding(mesh, PartitionSpec("data"))
        visible = jax.lax.with_sharding_constraint(visible, spread)
        return visible, eagle_jax.score(network, question, visible).mean(axis=1)

    visible, p = jax.lax.map(one_round, jax.random.split(key, ROUNDS))
    visible, p = visible.reshape(-1, regions), p.reshape(-1)
    shown = jnp.average(jnp.tile(p[:, None], regions), axis=0, weights=visible)
    hidden = jnp.average(jnp.tile(p[:, None], regions), axis=0, weights=~visible)
    return shown - hidden


importances = importance(
    model.network, case.question, jax.random.key(0), regions=case.scorer.regions
)
print(f"{ROUNDS * BATCH} random sets on {jax.device_count()} device(s), importance for boat:")
print(np.array2string(np.asarray(importances).reshape(4, 4), precision=2, suppress_small=True))
