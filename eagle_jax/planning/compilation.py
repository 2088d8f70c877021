"""The greedy step, compiled ahead of time for TPUs that this machine does not have."""

import contextlib
import importlib.util
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eagle_jax.inputs.patches import ImagePlan
from eagle_jax.models.checkpoints.sharding import place_skeleton
from eagle_jax.models.families.network import Network
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import Question, lay_out
from eagle_jax.scoring.scorer import padded_regions

# libtpu describes whole hosts; a program for fewer devices takes those of the smallest host.
_SMALLEST = "2x2"
# Effort of the compiler for a run.
REAL = 0.0
# Variables that libtpu reads while it is loaded.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
    # No chip is held that another process could want.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Compiled(NamedTuple):
    """A compiled program and its memory.

    Attributes:
      program: the compiled program.
      argument_bytes: bytes of the weights and the question, per device.
      temporary_bytes: bytes that it needs besides while it runs, per device.
      seconds: time of the compilation.
    """

    program: Any
    argument_bytes: int
    temporary_bytes: int
    seconds: float


def compiler_missing() -> str | None:
    """Why programs for TPUs cannot be compiled here; None when they can."""
    if importlib.util.find_spec("libtpu") is None:
        return 'libtpu is not installed (python -m pip install "eagle-jax[tpu]")'
    return None


def tpu_mesh(kind: str, shape: str, data: int, model: int) -> Mesh:
    """A mesh of devices of a TPU slice that need not exist.

    The process must not have used JAX on a TPU: libtpu is told that this machine has no TPU.

    Args:
      kind: "v5e" or "v6e".
      shape: shape of the slice in chips, "2x4" for example.
      data: size of the mesh axis over which masked images are spread.
      model: size of the mesh axis over which weights are split.
    """
    from jax.experimental import topologies

    if data * model < 4:
        shape = _SMALLEST
    with _environment():
        topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{kind}:{shape}")
    devices = np.array(topology.devices[: data * model]).reshape(data, model)
    return Mesh(devices, ("data", "model"))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    added = {name: value for name, value in _ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def step_question(
    network: Network, image_plan: ImagePlan, prompt_tokens: int, targets: int
) -> Question:
    """A question of the given shape, with arbitrary tokens.

    Args:
      network: the model's modules, or shapes in place of weights.
      image_plan: an image of the wanted size, with any regions.
      prompt_tokens: number of tokens of the prompt besides the image's, at least one.
      targets: number of tokens of the answer; all are scored.
    """
    image_token = network.config.image_token_id
    text = 0 if image_token else 1
    prompt_ids = np.full(prompt_tokens + image_plan.tokens, text)
    prompt_ids[1 : 1 + image_plan.tokens] = image_token
    answer = np.full(targets, text)
    return lay_out(network, image_plan, prompt_ids, answer, np.arange(targets), answer)


def step_shapes(question: Question, regions: int) -> tuple[Any, ...]:
    """Shapes of the arguments of `score_sets` behind the network, to compile it in advance.

    Args:
      question: from `step_question`.
      regions: number of regions.

    Returns:
      The arguments of a `MaskedImageScorer`'s calls, as `jax.ShapeDtypeStruct`.
    """
    width = padded_regions(regions)
    arguments = question.padded, np.zeros((2 * width, width), bool), np.int32(0)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)


def compile_step(
    skeleton: Any,
    arguments: tuple[Any, ...],
    batch_size: int,
    mesh: Mesh,
    effort: float = REAL,
) -> Compiled:
    """Compiles one greedy step without weights, every image read by itself.

    Args:
      skeleton: abstract modules, from `in_bfloat16`.
      arguments: from `step_shapes`.
      batch_size: number of masked images of a batch, over all devices.
      mesh: devices to compile for.
      effort: effort of the compiler to make the program fast, from -1 to 1; `REAL` for a run.
        With -1 the compiler takes a fifth of the time; the program needs somewhat more memory
        and takes several times as long.

    Returns:
      The program and its memory.

    Raises:
      jax.errors.JaxRuntimeError: the program does not fit the devices' memory, for example.
    """
    network = place_skeleton(skeleton, skeleton.config, mesh)
    everywhere = NamedSharding(mesh, PartitionSpec())
    arguments = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        arguments,
    )
    begin = time.perf_counter()
    lowered = score_sets.lower(
        network,
        *arguments,
        batch_size=batch_size,
        mesh=mesh if mesh.size > 1 else None,
        # The number of turns of the loops of reuse depends on the image.
        reuse=False,
    )
    options: Any = {"exec_time_optimization_effort": effort}  # declared without floats
    program = lowered.compile(options)
    seconds = time.perf_counter() - begin
    memory = program.memory_analysis()
    assert memory is not None  # compilers for TPUs report it
    return Compiled(program, memory.argument_size_in_bytes, memory.temp_size_in_bytes, seconds)


def in_bfloat16(skeleton: Any) -> Any:
    """The abstract modules with bfloat16 in place of every other float."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            leaf.shape,
            jnp.bfloat16 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype,
        ),
        skeleton,
    )
