"""Which axis of each parameter is split over the devices of a mesh.

A mesh has the axes "data", over which masked images are spread, and "model", over which
weights are. With a "model" axis of 1 every device holds all weights, and a forward needs no
word from another device.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from eagle_jax.errors import InputError

AXES = ("data", "model")

# Pairs of layers share a split: the first's outputs are the second's inputs, and only the
# second's sums cross devices.
_SPLIT_OUTPUT = {"query", "key", "value", "qkv", "gate", "up", "inner", "head"}
_SPLIT_INPUT = {"output", "down", "outer"}
_HEADS = {"query", "key", "value", "qkv", "output"}


def checked_mesh(mesh: Mesh) -> Mesh:
    """The same devices as a mesh whose partitioning is left to the compiler.

    Args:
      mesh: with the axes "data" and "model", in any order; one of them may have size 1.

    Raises:
      InputError: it has other axes.
    """
    if sorted(mesh.axis_names) != sorted(AXES):
        raise InputError(
            f"the mesh has the axes {', '.join(map(str, mesh.axis_names)) or 'none'}; it must "
            'have "data" and "model", as in jax.make_mesh((8, 1), ("data", "model"))'
        )
    # `jax.make_mesh` may give axes that want every operation's sharding spelled out.
    return Mesh(mesh.devices, mesh.axis_names)


def parameter_sharding(
    path: Sequence[str | int], shape: Sequence[int], config: Any, mesh: Mesh
) -> NamedSharding:
    """Where one parameter lives.

    Kernels are split over "model" by columns (query, key, value, gate, up) or by rows (output,
    down), the embedding and the head by vocabulary. What does not divide evenly, or would cut
    through an attention head, is on every device.

    Args:
      path: names that lead to the parameter in the module.
      shape: of the parameter; stacked ones have a leading layer axis.
      config: of the model, with its ``decoder`` and ``vision``.
      mesh: from `checked_mesh`.

    Returns:
      The sharding.
    """
    names = [str(name) for name in path]
    size = mesh.shape["model"]
    axis = _split_axis(names)
    if axis is None or shape[axis] % size or _heads(names, config) % size:
        return NamedSharding(mesh, PartitionSpec())
    spec: list[str | None] = [None] * len(shape)
    spec[axis] = "model"
    return NamedSharding(mesh, PartitionSpec(*spec))


def _split_axis(names: list[str]) -> int | None:
    if "embedding" in names:
        return -2
    if _SPLIT_OUTPUT.intersection(names):
        return -1
    if _SPLIT_INPUT.intersection(names) and names[-1] != "bias":
        return -2
    return None


def _heads(names: list[str], config: Any) -> int:
    """What the model axis has to divide so that no head is cut; 0 divides by everything."""
    if not _HEADS.intersection(names):
        return 0
    if names[0] != "decoder":
        return config.vision.heads
    if "key" in names or "value" in names:
        return config.decoder.key_value_heads
    return config.decoder.heads


def mesh_of(network: Any) -> Mesh | None:
    """The mesh a model was loaded to; None when it is on a single device."""
    sharding = getattr(jax.tree.leaves(network)[0], "sharding", None)
    return sharding.mesh if isinstance(sharding, NamedSharding) else None
