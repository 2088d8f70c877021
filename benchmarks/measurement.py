"""The parts of the fused step, run and timed on the device of this machine."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from instruction_costs import operations
from jaxtyping import Bool
from stage_profile import Stage

from eagle_jax.inputs.patches import masked_patches
from eagle_jax.models.families.network import Network
from eagle_jax.models.layers.precision import full_precision
from eagle_jax.planning.utilisation.hlo import parse, walk
from eagle_jax.scoring.question import Question
from eagle_jax.scoring.set_function import score

# Each part runs for at least so many seconds and so many times; the median counts.
_SECONDS, _RUNS = 0.5, 3
# Weights repeat so many random numbers; an odd length, so that no two rows are alike.
_NOISE = 2**20 + 7


def random_weights(skeleton: Any, seed: int = 0) -> Any:
    """Modules of random weights, made on the default device.

    Args:
      skeleton: abstract modules with floats in them, such as those of
        `eagle_jax.planning.compilation.in_bfloat16`.
      seed: seed of the numbers, which are small enough that no layer overflows.
    """
    noise = 0.02 * jax.random.normal(jax.random.key(seed), (_NOISE,), jnp.float32)

    def fill(leaf):
        size = math.prod(leaf.shape)
        repeated = jnp.tile(noise.astype(leaf.dtype), -(-size // _NOISE))
        return repeated[:size].reshape(leaf.shape)

    make = jax.jit(fill, static_argnums=0)
    leaves, structure = jax.tree.flatten(skeleton)
    filled = dict.fromkeys(range(len(leaves)))
    # The largest first: memory for making a leaf must not count as the model's peak.
    for place in sorted(filled, key=lambda place: -math.prod(leaves[place].shape)):
        filled[place] = jax.block_until_ready(make(leaves[place]))
    return jax.tree.unflatten(structure, filled.values())


def median_seconds(work: Callable[[], Any]) -> float:
    """Seconds that a call takes until its arrays are ready, without compilation."""
    return float(np.median(_seconds(work)))


def _seconds(work: Callable[[], Any]) -> list[float]:
    jax.block_until_ready(work())
    taken: list[float] = []
    while len(taken) < _RUNS or sum(taken) < _SECONDS:
        begin = time.perf_counter()
        jax.block_until_ready(work())
        taken.append(time.perf_counter() - begin)
    return taken


def matmul_rate(dtype: Any) -> float:
    """Operations per second of one large square product, the fastest of several runs.

    Args:
      dtype: type of both matrices.
    """
    size = 2048 if jax.default_backend() == "cpu" else 8192
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a, b: jnp.matmul(a, b))
    return 2 * size**3 / min(_seconds(lambda: product(x, x)))


def measured_stages(
    network: Network, question: Question, visible: Bool[np.ndarray, "b n"]
) -> tuple[Stage, ...]:
    """The parts of a batch, each compiled and run apart: pixels, vision, decoder, head.

    Between the parts everything goes through memory, and nothing is fused: their sum is not
    the time of `whole_step`.

    Args:
      network: the model's modules.
      question: the question about the image.
      visible: one row per masked image of the batch.
    """

    def pixels(network, visible):
        return masked_patches(question.plan, visible)

    def vision(network, patches):
        return network.visual_tokens(patches, question.layout)

    def decoder(network, visual):
        embeddings = network.embed(question.ids, visual, question.start)
        return network.hidden_states(embeddings, question.positions, question.rows)

    def head(network, hidden):
        return jnp.exp(network.log_probabilities(hidden, question.token_ids))

    stages, value = [], jnp.asarray(visible)
    for part in (pixels, vision, decoder, head):
        stage, value = _timed(part.__name__, part, network, value)
        stages.append(stage)
    return tuple(stages)


def whole_step(network: Network, question: Question, visible: Bool[np.ndarray, "b n"]) -> Stage:
    """A batch in one program; the arguments are those of `measured_stages`."""

    def whole(network, visible):
        return score(network, question, visible)

    return _timed("whole", whole, network, jnp.asarray(visible))[0]


def _timed(
    name: str, part: Callable, network: Network, argument: jax.Array
) -> tuple[Stage, Any]:
    with full_precision(network):
        lowered = jax.jit(part).lower(network, argument)
    program = parse(lowered.as_text("hlo"))
    work = sum(run.times * operations(program, run) for run in walk(program))
    compiled = lowered.compile()
    seconds = median_seconds(lambda: compiled(network, argument))
    return Stage(name, 1e3 * seconds, work), compiled(network, argument)
