"""Which axis of each parameter is split over the devices of a mesh.

A mesh has the axis "data", over which masked images are spread, and the axis "model", over
which weights are split. With a "model" axis of size 1 every device holds all weights, and a
forward needs no communication between devices.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from eagle_jax.errors import InputError

AXES = ("data", "model")

Module = TypeVar("Module", bound=nnx.Module)

# Layers come in pairs: the outputs of the first layer are split as the inputs of the second
# layer are, so that only the sums of the second layer cross devices.
_SPLIT_OUTPUT = {"query", "key", "value", "qkv", "gate", "up", "inner", "head"}
_SPLIT_INPUT = {"output", "down", "outer"}
_HEADS = {"query", "key", "value", "qkv", "output"}


def checked_mesh(mesh: Mesh) -> Mesh:
    """A mesh of the same devices whose partitioning is left to the compiler.

    Args:
      mesh: mesh with the axes "data" and "model", in any order; both may have size 1.

    Raises:
      InputError: the mesh has other axes.
    """
    if sorted(mesh.axis_names) != sorted(AXES):
        raise InputError(
            f"the mesh has the axes {', '.join(map(str, mesh.axis_names)) or 'none'}; it must "
            'have "data" and "model", as in jax.make_mesh((8, 1), ("data", "model"))'
        )
    # The axes of `jax.make_mesh` may require an explicit sharding of every operation.
    return Mesh(mesh.devices, mesh.axis_names)


def place_skeleton(skeleton: Module, config: Any, mesh: Mesh) -> Module:
    """Gives every parameter of an abstract module its sharding.

    Args:
      skeleton: abstract module from `nnx.eval_shape`.
      config: configuration of the model, with ``decoder`` and ``vision``.
      mesh: mesh from `checked_mesh`.

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
    """The sharding of a parameter.

    Kernels are split over "model" by columns (query, key, value, gate, up) or by rows (output,
    down), the embedding and the head by vocabulary. A parameter that cannot be split evenly,
    or not without cutting through an attention head, is whole on every device.

    Args:
      path: names that lead to the parameter in the module.
      shape: shape of the parameter; stacked parameters have a leading layer axis.
      config: configuration of the model, with ``decoder`` and ``vision``.
      mesh: mesh from `checked_mesh`.
    """
    spec: list[str | None] = []
    axis = _split_axis(path)
    if axis is not None and is_split(path, shape, config, mesh.shape["model"]):
        spec = [None] * len(shape)
        spec[axis] = "model"
    return NamedSharding(mesh, PartitionSpec(*spec))


def is_split(
    path: Sequence[str | int], shape: Sequence[int], config: Any, devices: int
) -> bool:
    """Whether a "model" axis of so many devices splits a parameter.

    Args:
      path: names that lead to the parameter in the module.
      shape: shape of the parameter.
      config: configuration of the model, with ``decoder`` and ``vision``.
      devices: size of the "model" axis.
    """
    axis = _split_axis(path)
    if axis is None:
        return False
    return shape[axis] % devices == 0 and _heads(path, config) % devices == 0


def _split_axis(names: Sequence[str | int]) -> int | None:
    if "embedding" in names:
        return -2
    if _SPLIT_OUTPUT.intersection(names):
        return -1
    if _SPLIT_INPUT.intersection(names) and names[-1] not in ("bias", "scales"):
        return -2
    return None


def _heads(names: Sequence[str | int], config: Any) -> int:
    """Number of heads that the model axis must divide; 0, which it always divides, for none."""
    if not _HEADS.intersection(names):
        return 0
    if names[0] != "decoder":
        return config.vision.heads
    if "key" in names or "value" in names:
        return config.decoder.key_value_heads
    return config.decoder.heads


def mesh_of(network: Any) -> Mesh | None:
    """The mesh to which a model was loaded; None if it is on a single device."""
    sharding = getattr(jax.tree.leaves(network)[0], "sharding", None)
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, Mesh):
        return sharding.mesh
    return None
