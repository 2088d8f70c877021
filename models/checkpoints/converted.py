"""Weights as an Orbax checkpoint: written once, restored straight to any devices."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.quiet_orbax import quiet_orbax
from eagle_jax.models.checkpoints.tensor_files import listed, read_json, shortened

Module = TypeVar("Module", bound=nnx.Module)

WEIGHTS, MARKER = "weights", "converted.json"
_SCHEMA = 1
# A device that needs a slice of a parameter reads the chunks that contain it. Chunks are larger
# than 32 MB, since glibc returns such buffers to the system at once.
_CHUNK_BYTES = 2**26
_GROUP_BYTES = 2**28


def is_converted(folder: Path) -> bool:
    """Whether a folder holds Orbax weights, perhaps unfinished, rather than safetensors."""
    return (folder / MARKER).exists() or (folder / WEIGHTS).is_dir()


def write_weights(folder: Path, module: nnx.Module) -> None:
    """Writes a module's parameters as the Orbax checkpoint ``folder/weights``.

    Args:
      folder: existing folder without weights.
      module: filled module.

    Raises:
      InputError: the weights cannot be written, for example since the disk is full.
    """
    import orbax.checkpoint as ocp

    tree = _tree({path: leaf.get_value() for path, leaf in _variables(module).items()})
    chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES), tree)
    try:
        with quiet_orbax(), _checkpointer(tree) as checkpointer:
            checkpointer.save(
                (folder / WEIGHTS).resolve(),
                args=ocp.args.PyTreeSave(tree, save_args=chunks),
            )
    except Exception as error:  # of any type: Orbax passes on the errors of TensorStore
        raise InputError(
            f"cannot write weights in {folder.parent}: {_reason(error)}"
        ) from error


def verify_weights(folder: Path, module: nnx.Module, progress: bool = False) -> None:
    """Reads ``folder/weights`` back, a few parameters at a time, and compares every bit.

    Args:
      folder: folder that `write_weights` has written to.
      module: the module that was written.
      progress: show a progress bar.

    Raises:
      InputError: a parameter differs from the module's.
    """
    written = {path: leaf.get_value() for path, leaf in _variables(module).items()}
    bar = tqdm(total=len(written), desc="checking", unit="parameter", disable=not progress)
    with bar, _checkpointer(written) as checkpointer:
        for group in _groups(written):
            _compare(checkpointer, folder, group)
            bar.update(len(group))


def _compare(checkpointer, folder: Path, written: dict[tuple, jax.Array]) -> None:
    # Restored as NumPy arrays, since JAX arrays would be copies of these.
    targets = {
        path: np.broadcast_to(np.zeros((), value.dtype), value.shape)
        for path, value in written.items()
    }
    restored = _restore(checkpointer, folder, targets)
    for path, value in written.items():
        if not _same_bits(restored[path], value):
            raise InputError(
                f"{'.'.join(_names(path))} in {folder / WEIGHTS} differs from what was "
                "written; check the disk and convert again"
            )


def _groups(values: dict[tuple, Any]) -> Iterator[dict[tuple, Any]]:
    """Groups of a few parameters, to save memory without reading each parameter separately.

    The largest parameters come first, when least memory is in use.
    """
    group: dict[tuple, Any] = {}
    for path, value in sorted(values.items(), key=lambda item: -_bytes(item[1])):
        if group and sum(map(_bytes, group.values())) + _bytes(value) > _GROUP_BYTES:
            yield group
            group = {}
        group[path] = value
    if group:
        yield group


def _bytes(value: Any) -> int:
    return value.size * value.dtype.itemsize


def quantization(folder: Path) -> str | None:
    """Quantization of the weights of a converted folder: "int8", or None for floats.

    Raises:
      InputError: the conversion was not finished.
    """
    return "int8" if _record(folder).get("quantize") == "int8" else None


def finish(folder: Path, quantize: str | None = None) -> None:
    """Marks a converted folder as complete; nothing may be written into it afterwards.

    Args:
      folder: folder with all of its files.
      quantize: quantization of the weights, "int8" or None.
    """
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    record = {"schema": _SCHEMA, "quantize": quantize, "files": sizes}
    (folder / MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_weights(folder: str | Path, skeleton: Module, dtype: Any | None = None) -> Module:
    """Fills a module with the weights of a converted folder.

    Args:
      folder: folder from `eagle-jax convert`.
      skeleton: abstract module, as for `load_weights` of Hugging Face folders. Each device
        reads only the slices of a parameter that its sharding needs; parameters without a
        sharding go to the default device.
      dtype: dtype of all parameters that were not written in int8; None keeps the dtype in
        which they were written.

    Returns:
      A module like `skeleton` with its parameters on their devices.

    Raises:
      InputError: the conversion was not finished, its files are missing or damaged, or its
        config.json describes other weights.
    """
    folder = Path(folder)
    _check_files(folder)
    graph, state = nnx.split(skeleton)
    variables = dict(nnx.to_flat_state(state))
    default = jax.device_put(0).sharding
    with quiet_orbax(), _checkpointer(skeleton) as checkpointer, _damage_named(folder):
        metadata = checkpointer.metadata((folder / WEIGHTS).resolve()).item_metadata
        stored: dict[tuple, Any] = flatten_dict(metadata.tree)
        _check_parameters(folder, stored, variables)
        targets = {
            path: jax.ShapeDtypeStruct(
                leaf.shape,
                _restored_dtype(stored, _names(path), dtype),
                sharding=leaf.get_value().sharding or default,
            )
            for path, leaf in variables.items()
        }
        values = {}
        for group in _groups(targets):
            values |= _restore(checkpointer, folder, group)
    filled = {path: leaf.replace(values[path]) for path, leaf in variables.items()}
    return nnx.merge(graph, nnx.from_flat_state(filled))


def _restored_dtype(stored: dict[tuple, Any], names: tuple[str, ...], dtype: Any) -> np.dtype:
    rounded = names[-1] == "scales" or stored[names].dtype == np.int8
    return stored[names].dtype if dtype is None or rounded else jax.numpy.dtype(dtype)


def _checkpointer(tree: Any):
    import orbax.checkpoint as ocp

    # Limits the memory between file and device. Orbax refuses a parameter beyond the limit.
    limit = 1 + max(map(_bytes, jax.tree.leaves(tree))) // 10**9
    # Uncompressed: mantissas look random, so compressing them takes long and saves little.
    return ocp.Checkpointer(
        ocp.PyTreeCheckpointHandler(
            use_compression=False, save_concurrent_gb=limit, restore_concurrent_gb=limit
        )
    )


def _restore(checkpointer, folder: Path, targets: dict[tuple, Any]) -> dict[tuple, Any]:
    import orbax.checkpoint as ocp

    tree = _tree(targets)
    restored = checkpointer.restore(
        (folder / WEIGHTS).resolve(),
        args=ocp.args.PyTreeRestore(
            tree,
            restore_args=ocp.checkpoint_utils.construct_restore_args(tree),
            partial_restore=True,
        ),
    )
    values: dict[tuple, Any] = flatten_dict(restored)
    return {path: values[_names(path)] for path in targets}


def _variables(module: nnx.Module) -> dict[tuple, Any]:
    return dict(nnx.to_flat_state(nnx.state(module)))


def _names(path: tuple) -> tuple[str, ...]:
    return tuple(map(str, path))


def _tree(values: dict[tuple, Any]) -> dict[str, Any]:
    return unflatten_dict({_names(path): value for path, value in values.items()})


def _same_bits(a: Any, b: Any) -> bool:
    a, b = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (a, b))
    strips = range(0, len(a), _CHUNK_BYTES)  # NumPy keeps a byte for each comparison
    return all(np.array_equal(a[i : i + _CHUNK_BYTES], b[i : i + _CHUNK_BYTES]) for i in strips)


def _record(folder: Path) -> dict[str, Any]:
    if not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} has no {MARKER}, so its conversion was not finished; convert it again"
        )
    record = read_json(folder / MARKER)
    if record.get("schema") != _SCHEMA:
        raise InputError(
            f"{folder / MARKER} has schema {record.get('schema')!r}, but this eagle-jax reads "
            f"schema {_SCHEMA}; convert the checkpoint again"
        )
    return record


def _check_files(folder: Path) -> None:
    sizes = _record(folder).get("files")
    if not isinstance(sizes, dict):
        raise InputError(f"{folder / MARKER} lists no files; convert the checkpoint again")
    # Small files may be edited, but the weights must be as they were written.
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
    except Exception as error:  # Orbax wraps the errors of TensorStore in bare exceptions
        raise InputError(
            f"{folder / WEIGHTS} cannot be read: {_reason(error)}; convert it again"
        ) from error


def _reason(error: BaseException) -> str:
    # The error of the file system is at the end of a chain of causes.
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    for number in (errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO):
        if os.strerror(number) in text:
            return os.strerror(number)
    return text[:100]
