"""Which axis of each parameter is split over the devices of a mesh.

A mesh has the axes "data", over which masked images are spread, and "model", over which
weights are. With a "model" axis of 1 every device holds all weights, and a forward needs no
word from another device.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from eagle_jax.errors import InputError

AXES = ("data", "model")

Module = TypeVar("Module", bound=nnx.Module)

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


def place_skeleton(skeleton: Module, config: Any, mesh: Mesh) -> Module:
    """Says of every parameter of an abstract module where it shall live.

    Args:
      skeleton: of `nnx.eval_shape`.
      config: of the model, with its ``decoder`` and ``vision``.
      mesh: from `checked_mesh`.

    Returns:
      The skeleton with a sharding in each of its `jax.ShapeDtypeStruct`.
    """
    graph, state = nnx.split(skeleton)
    variables = dict(nnx.to_flat_state(state))
    for path, variable in variables.items():

        def place(inner, leaf, path=path):
            names = (*path, *(getattr(key, "name", key) for key in inner))
            sharding = parameter_sharding(names, leaf.shape, config, mesh)
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

        value = jax.tree_util.tree_map_with_path(place, variable.get_value())
        variables[path] = variable.replace(value)
    return nnx.merge(graph, nnx.from_flat_state(variables))


def parameter_sharding(
    path: Sequence[str | int], shape: Sequence[int], config: Any, mesh: Mesh | AbstractMesh
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
    spec: list[str | None] = []
    axis = _split_axis(path)
    if axis is not None and is_split(path, shape, config, mesh.shape["model"]):
        spec = [None] * len(shape)
        spec[axis] = "model"
    return NamedSharding(mesh, PartitionSpec(*spec))


def is_split(path: Sequence[str | int], shape: Sequence[int], config: Any, parts: int) -> bool:
    """Whether a parameter is split over ``parts`` devices; see `parameter_sharding`."""
    axis = _split_axis(path)
    return axis is not None and shape[axis] % parts == 0 and _heads(path, config) % parts == 0


def _split_axis(names: Sequence[str | int]) -> int | None:
    if "embedding" in names:
        return -2
    if _SPLIT_OUTPUT.intersection(names):
        return -1
    if _SPLIT_INPUT.intersection(names) and names[-1] not in ("bias", "scales"):
        return -2
    return None


def _heads(names: Sequence[str | int], config: Any) -> int:
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
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
        return sharding.mesh
    return None
