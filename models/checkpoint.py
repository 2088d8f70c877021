"""Safetensors folders in, filled Flax NNX modules out, and back.

A model family describes its checkpoint with one plain dictionary, built by
Python loops, that has one entry for every tensor the checkpoint may hold:

    keys["visual.blocks.9.attn.qkv.weight"] = Target("vision.runs.2.qkv.kernel", 1, TRANSPOSED)
    keys["lm_head.weight"] = None        # tied: neither needed nor wrong

Everything else (prefixes, shards, stacking, checks, dtypes) happens here.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eagle_jax.errors import InputError

Module = TypeVar("Module", bound=nnx.Module)

_FLOATS = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
# What transformers 5 calls a tensor in memory -> what the files on the hub call it.
_PREFIXES = (
    ("model.language_model.", "model."),
    ("model.visual.", "visual."),
)
_LISTED = 40


class Layout(NamedTuple):
    """How the axes of one tensor differ between a checkpoint and the module.

    Both functions act on one layer's tensor, without the stacking axis, and
    are inverse to each other.

    Attributes:
      to_module: checkpoint tensor -> module tensor.
      to_checkpoint: module tensor -> checkpoint tensor.
    """

    to_module: Callable[[np.ndarray], np.ndarray]
    to_checkpoint: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda x: x, lambda x: x)
TRANSPOSED = Layout(np.transpose, np.transpose)


def flattened(*shape: int) -> Layout:
    """Layout of a convolution that is applied as one matrix product.

    The checkpoint's kernel has the axes (out, *inputs); the module's has
    (prod(inputs), out), inputs in row-major order.

    Args:
      *shape: the kernel's shape in the checkpoint, e.g. (embed, 3, 2, 14, 14).

    Returns:
      The layout.
    """
    return Layout(lambda x: x.reshape(shape[0], -1).T, lambda x: x.T.reshape(shape))


class Target(NamedTuple):
    """Where one checkpoint tensor goes.

    Attributes:
      path: dotted path of the parameter in the module, "decoder.layers.query.kernel".
      index: position on the parameter's leading axis for stacked layers; None
        when the tensor is the whole parameter.
      layout: SAME, TRANSPOSED (linear kernels) or `flattened(...)`.
    """

    path: str
    index: int | None = None
    layout: Layout = SAME


Keys = Mapping[str, Target | None]


def read_config(folder: str | Path) -> dict[str, Any]:
    """Reads a Hugging Face folder's config.json.

    Args:
      folder: the checkpoint folder.

    Returns:
      The JSON object.

    Raises:
      InputError: no such folder, no config.json in it, or it is not a JSON object.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a Hugging Face checkpoint folder")
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} has no config.json; give a Hugging Face checkpoint folder")
    return _read_json(path)


def load_weights(
    folder: str | Path, skeleton: Module, keys: Keys, dtype: Any | None = None
) -> Module:
    """Fills a module with a folder's weights.

    Parameters are finished one after the other: host memory holds one
    (stacked) parameter at a time besides the memory-mapped files.

    Args:
      folder: folder with model.safetensors, or with shards and
        model.safetensors.index.json.
      skeleton: abstract module, `nnx.eval_shape(lambda: Model(config, rngs=...))`;
        its shapes are checked, its dtypes are not used.
      keys: canonical (hub style) checkpoint key -> `Target`, or None for a
        tensor that may be there and is not used. Every parameter of the
        skeleton must be covered, stacked ones slice by slice.
      dtype: dtype of all parameters; None keeps the checkpoint's (float64
        becomes float32).

    Returns:
      A module like `skeleton` with its parameters on the default device.

    Raises:
      InputError: missing or unreadable files, missing, unexpected, misshapen
        or non-float tensors; all of a kind are named in one message.
    """
    folder = Path(folder)
    graph, state = nnx.split(skeleton)
    variables = dict(nnx.to_flat_state(state))
    plan = _plan(variables, keys)
    with ExitStack() as stack:
        sources = _open_folder(folder, stack)
        _check_keys(folder, sources, keys)
        _check_tensors(folder, sources, variables, plan)
        for path, targets in plan.items():
            variable = variables[path]
            value = _assemble(sources, variable.shape, targets, dtype)
            variables[path] = variable.replace(jax.device_put(value))
    return nnx.merge(graph, nnx.from_flat_state(variables))


def save_weights(folder: str | Path, module: nnx.Module, keys: Keys) -> None:
    """Writes a module as model.safetensors with the hub's key names; undoes `load_weights`.

    Args:
      folder: where to write; made when absent. config.json and the tokenizer
        are the caller's.
      module: filled module.
      keys: the map `load_weights` takes; entries that are None are not written.
    """
    folder = Path(folder)
    variables = dict(nnx.to_flat_state(nnx.state(module)))
    tensors = {}
    for path, targets in _plan(variables, keys).items():
        value = np.asarray(variables[path].get_value())
        for key, target in targets.items():
            part = value if target.index is None else value[target.index]
            tensors[key] = np.ascontiguousarray(target.layout.to_checkpoint(part))
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(folder / "model.safetensors")


class _Source(NamedTuple):
    path: Path
    handle: Any
    key: str  # as the file spells it


def _plan(variables: Mapping[tuple, Any], keys: Keys) -> dict[tuple, dict[str, Target]]:
    """Groups the key map by parameter; a wrong map is the programmer's error."""
    paths = {".".join(map(str, path)): path for path in variables}
    plan: dict[tuple, dict[str, Target]] = {path: {} for path in variables}
    for key, target in keys.items():
        if target is not None:
            if target.path not in paths:
                raise ValueError(f"{key} goes to {target.path}, which the module does not have")
            plan[paths[target.path]][key] = target
    for name, path in paths.items():
        indices = [target.index for target in plan[path].values()]
        if indices != [None] and (
            None in indices or sorted(indices) != list(range(variables[path].shape[0]))
        ):
            raise ValueError(f"the key map fills {name} {variables[path].shape} from {indices}")
    return plan


def _assemble(
    sources: Mapping[str, _Source],
    shape: tuple[int, ...],
    targets: dict[str, Target],
    dtype: Any,
) -> np.ndarray:
    if dtype is None:
        present = [_dtype(sources[key]) for key in targets]
        dtype = jnp.result_type(*present)
        if dtype == np.float64:
            dtype = np.float32
    buffer = np.empty(shape, jnp.dtype(dtype))
    for key, target in targets.items():
        source = sources[key]
        try:
            tensor = source.handle.get_tensor(source.key)
        except (SafetensorError, OSError) as error:
            raise _unreadable(source.path, error) from error
        buffer[... if target.index is None else target.index] = target.layout.to_module(tensor)
    return buffer


def _check_keys(folder: Path, sources: Mapping[str, _Source], keys: Keys) -> None:
    missing = [key for key, target in keys.items() if target and key not in sources]
    unexpected = [
        key for key in sources if key not in keys and not key.endswith("rotary_emb.inv_freq")
    ]
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing: {_listed(missing)}")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected: {_listed(unexpected)}")
    if faults:
        raise InputError(
            f"the tensors in {folder} do not fit its config.json; " + "; ".join(faults)
        )


def _check_tensors(
    folder: Path,
    sources: Mapping[str, _Source],
    variables: Mapping[tuple, Any],
    plan: Mapping[tuple, dict[str, Target]],
) -> None:
    misshapen, unusable = [], []
    for path, targets in plan.items():
        for key, target in targets.items():
            shape = variables[path].shape[0 if target.index is None else 1 :]
            # A zero-stride array: the layout tells the checkpoint's shape without memory.
            expected = target.layout.to_checkpoint(np.broadcast_to(np.float32(0), shape)).shape
            source = sources[key]
            found = tuple(source.handle.get_slice(source.key).get_shape())
            if found != expected:
                misshapen.append(f"{key} is {found}, not {expected}")
            if _dtype(source) is None:
                unusable.append(f"{key} ({source.handle.get_slice(source.key).get_dtype()})")
    if misshapen:
        raise InputError(
            f"{len(misshapen)} tensors in {folder} have another shape than its config.json "
            f"says: {_shortened(misshapen)}"
        )
    if unusable:
        raise InputError(
            f"{len(unusable)} tensors in {folder} are not float64, float32, float16 or "
            f"bfloat16 (quantised checkpoints are not supported): {_shortened(unusable)}"
        )


def _dtype(source: _Source) -> np.dtype | None:
    return _FLOATS.get(source.handle.get_slice(source.key).get_dtype())


def _open_folder(folder: Path, stack: ExitStack) -> dict[str, _Source]:
    """Canonical key -> open file, for every tensor of the folder."""
    files = _files(folder)
    sources: dict[str, _Source] = {}
    for path, names in files.items():
        try:
            handle = stack.enter_context(safe_open(path, framework="numpy"))
            held = set(handle.keys())
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
        if names is not None and (absent := sorted(names - held)):
            raise InputError(
                f"{folder / 'model.safetensors.index.json'} places {len(absent)} tensors in "
                f"{path.name} that are not there: {_listed(absent)}"
            )
        for name in sorted(held if names is None else names):
            key = _canonical(name)
            if key in sources:
                other = sources[key]
                raise InputError(
                    f"{path} and {other.path} both hold {key} ({name}, {other.key}); "
                    "keep one checkpoint in the folder"
                )
            sources[key] = _Source(path, handle, name)
    return sources


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Weight files and the tensors to take from each; None takes all."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give a Hugging Face checkpoint folder")
    if (folder / "model.safetensors").exists():
        return {folder / "model.safetensors": None}
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return _indexed(folder, index)
    if found := sorted(folder.glob("*.safetensors")):
        return dict.fromkeys(found)
    pickles = sorted(p.name for kind in ("*.bin", "*.pth", "*.pt") for p in folder.glob(kind))
    if pickles:
        raise InputError(
            f"{folder} has only pickled weights ({', '.join(pickles[:3])}), which are never "
            "opened; convert them to safetensors (in transformers: save_pretrained)"
        )
    raise InputError(f"{folder} has no weights: neither model.safetensors nor its index")


def _indexed(folder: Path, index: Path) -> dict[Path, set[str] | None]:
    places = _read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index} has no weight_map; fetch the checkpoint again")
    files: dict[Path, set[str]] = {}
    for key, name in places.items():
        if not isinstance(name, str) or not name.endswith(".safetensors") or "/" in name:
            raise InputError(f"{index} places {key} in {name!r}, which is no safetensors file")
        files.setdefault(folder / name, set()).add(key)
    if absent := sorted(path.name for path in files if not path.is_file()):
        raise InputError(
            f"{index} names files that are not in the folder: {_shortened(absent)}; "
            "fetch the checkpoint again"
        )
    return dict(files)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object")
    return value


def _canonical(key: str) -> str:
    for prefix, hub in _PREFIXES:
        if key.startswith(prefix):
            return hub + key.removeprefix(prefix)
    return key


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} is truncated or not a safetensors file ({_line(error)}); "
        "fetch the checkpoint again"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _listed(keys: list[str]) -> str:
    """All keys in short: layers of one kind become one entry, "a.{0..35}.b"."""
    groups: dict[str, list[int]] = {}
    for key in keys:
        layer = re.search(r"(?<=\.)\d+(?=\.)", key)
        kind = key if layer is None else f"{key[: layer.start()]}*{key[layer.end() :]}"
        groups.setdefault(kind, []).append(-1 if layer is None else int(layer.group()))
    entries = []
    for kind, layers in groups.items():
        if layers == [-1]:
            entries.append(kind)
        else:
            entries.append(kind.replace("*", _ranges(sorted(layers)), 1))
    return _shortened(entries)


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}..{last}" for first, last in runs]
    return texts[0] if numbers[1:] == [] else "{" + ",".join(texts) + "}"


def _shortened(entries: list[str]) -> str:
    more = len(entries) - _LISTED
    return ", ".join(entries[:_LISTED]) + (f" and {more} more" if more > 0 else "")
