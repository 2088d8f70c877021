"""Weights as an Orbax checkpoint: written once, restored straight to any devices."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.models.tensor_files import listed, read_json, shortened

Module = TypeVar("Module", bound=nnx.Module)

WEIGHTS, MARKER = "weights", "converted.json"
_SCHEMA = 1
# A device that needs a part of a parameter reads the chunks it lies in.
_CHUNK_BYTES = 2**25
_GROUP_BYTES = 2**28
# What Orbax and TensorStore raise on files that are damaged or cannot be written.
_DAMAGE = (OSError, ValueError, LookupError, TypeError)


def is_converted(folder: Path) -> bool:
    """Whether a folder holds Orbax weights, finished or not, rather than safetensors."""
    return (folder / MARKER).exists() or (folder / WEIGHTS).is_dir()


def write_weights(folder: Path, module: nnx.Module) -> None:
    """Writes a module's parameters as the Orbax checkpoint ``folder/weights``.

    Args:
      folder: exists, and has no weights yet.
      module: filled module.

    Raises:
      OSError, ValueError: the file system refuses.
    """
    import orbax.checkpoint as ocp

    tree = _tree({path: leaf.get_value() for path, leaf in _variables(module).items()})
    chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES), tree)
    with _checkpointer() as checkpointer:
        checkpointer.save(
            (folder / WEIGHTS).resolve(), args=ocp.args.PyTreeSave(tree, save_args=chunks)
        )


def verify_weights(folder: Path, module: nnx.Module, progress: bool = False) -> None:
    """Reads ``folder/weights`` back, a few parameters at a time, and compares every bit.

    Args:
      folder: from `write_weights`.
      module: what was written.
      progress: show a progress bar.

    Raises:
      InputError: a parameter came back differently.
    """
    written = {path: leaf.get_value() for path, leaf in _variables(module).items()}
    bar = tqdm(total=len(written), desc="checking", unit="parameter", disable=not progress)
    with bar, _checkpointer() as checkpointer:
        for group in _groups(written):
            sharding = jax.device_put(0).sharding
            targets = {
                path: jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)
                for path, value in group.items()
            }
            found = _restore(checkpointer, folder, targets)
            for path, value in group.items():
                if _bits(found[path]) != _bits(value):
                    raise InputError(
                        f"{'.'.join(_names(path))} came back from {folder / WEIGHTS} "
                        "differently than it was written; check the disk"
                    )
            bar.update(len(group))


def _groups(values: dict[tuple, jax.Array]) -> Iterator[dict[tuple, jax.Array]]:
    """Few at a time, so that little memory is needed; not one by one: each read takes long."""
    group: dict[tuple, jax.Array] = {}
    for path, value in values.items():
        group[path] = value
        if sum(member.nbytes for member in group.values()) > _GROUP_BYTES:
            yield group
            group = {}
    if group:
        yield group


def finish(folder: Path) -> None:
    """Marks a converted folder as complete; nothing may be written into it after that."""
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = {"schema": _SCHEMA, "files": sizes}
    (folder / MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_weights(folder: str | Path, skeleton: Module, dtype: Any | None = None) -> Module:
    """Fills a module with the weights of a converted folder.

    Args:
      folder: from `eagle-jax convert`.
      skeleton: abstract module, as for `eagle_jax.models.checkpoint.load_weights`. Each
        device reads what its part of a parameter's sharding needs; parameters without a
        sharding go to the default device.
      dtype: dtype of all parameters; None keeps the one they were written in.

    Returns:
      A module like `skeleton` with its parameters on their devices.

    Raises:
      InputError: the conversion was not finished, files of it are missing or damaged, or its
        config.json describes other weights.
    """
    folder = Path(folder)
    _check_files(folder)
    graph, state = nnx.split(skeleton)
    variables = dict(nnx.to_flat_state(state))
    default = jax.device_put(0).sharding
    with _checkpointer() as checkpointer, _damage_named(folder):
        metadata = checkpointer.metadata((folder / WEIGHTS).resolve()).item_metadata
        stored = flatten_dict(metadata.tree)
        _check_parameters(folder, stored, variables)
        targets = {
            path: jax.ShapeDtypeStruct(
                leaf.shape,
                stored[_names(path)].dtype if dtype is None else jax.numpy.dtype(dtype),
                sharding=leaf.get_value().sharding or default,
            )
            for path, leaf in variables.items()
        }
        values = _restore(checkpointer, folder, targets)
    filled = {path: leaf.replace(values[path]) for path, leaf in variables.items()}
    return nnx.merge(graph, nnx.from_flat_state(filled))


def _checkpointer():
    import orbax.checkpoint as ocp

    # Uncompressed: random-looking mantissas shrink little and take long. At most 1 GB is
    # between file and device at a time.
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(
            use_compression=False, save_concurrent_gb=1, restore_concurrent_gb=1
        )
    )


def _restore(checkpointer, folder: Path, targets: dict[tuple, Any]) -> dict[tuple, jax.Array]:
    import orbax.checkpoint as ocp

    tree = _tree(targets)
    found = checkpointer.restore(
        (folder / WEIGHTS).resolve(),
        args=ocp.args.PyTreeRestore(
            tree,
            restore_args=ocp.checkpoint_utils.construct_restore_args(tree),
            partial_restore=True,
        ),
    )
    found = flatten_dict(found)
    return {path: found[_names(path)] for path in targets}


def _variables(module: nnx.Module) -> dict[tuple, Any]:
    return dict(nnx.to_flat_state(nnx.state(module)))


def _names(path: tuple) -> tuple[str, ...]:
    return tuple(map(str, path))


def _tree(values: dict[tuple, Any]) -> dict[str, Any]:
    return unflatten_dict({_names(path): value for path, value in values.items()})


def _bits(array: jax.Array) -> bytes | memoryview:
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _check_files(folder: Path) -> None:
    if not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} has no {MARKER}, so its conversion was not finished; convert it again"
        )
    record = read_json(folder / MARKER)
    if record.get("schema") != _SCHEMA:
        raise InputError(
            f"{folder / MARKER} has schema {record.get('schema')!r}, this eagle-jax reads "
            f"{_SCHEMA}; convert the checkpoint again"
        )
    sizes = record.get("files")
    if not isinstance(sizes, dict):
        raise InputError(f"{folder / MARKER} lists no files; convert the checkpoint again")
    # Small files may be edited; the weights must be as they were written.
    weights = {name: size for name, size in sizes.items() if name.startswith(f"{WEIGHTS}/")}
    absent = [name for name in weights if not (folder / name).is_file()]
    other = [
        name
        for name, size in weights.items()
        if name not in absent and (folder / name).stat().st_size != size
    ]
    for names, what in ((absent, "missing"), (other, "of another size than was written")):
        if names:
            raise InputError(
                f"files in {folder} are {what}: {shortened(names)}; convert it again"
            )


def _check_parameters(folder: Path, stored: dict[tuple, Any], wanted: dict[tuple, Any]) -> None:
    shapes = {_names(path): tuple(leaf.shape) for path, leaf in wanted.items()}
    faults = []
    if missing := [".".join(path) for path in shapes if path not in stored]:
        faults.append(f"{len(missing)} missing: {listed(missing)}")
    if unexpected := [".".join(path) for path in stored if path not in shapes]:
        faults.append(f"{len(unexpected)} unexpected: {listed(unexpected)}")
    misshapen = [
        f"{'.'.join(path)} is {tuple(stored[path].shape)}, not {shape}"
        for path, shape in shapes.items()
        if path in stored and tuple(stored[path].shape) != shape
    ]
    if misshapen:
        faults.append(f"{len(misshapen)} of another shape: {shortened(misshapen)}")
    if faults:
        raise InputError(
            f"the parameters in {folder} do not fit its config.json; " + "; ".join(faults)
        )


@contextlib.contextmanager
def _damage_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(
            f"{folder / WEIGHTS} is damaged ({line}); convert the checkpoint again"
        ) from error
