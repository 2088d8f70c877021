"""Safetensors folders in, filled Flax NNX modules out, and back.

A model family describes its checkpoint with a key map: one plain dictionary, built by Python
loops, with an entry for every tensor that the checkpoint may hold:

    keys["visual.blocks.9.attn.qkv.weight"] = Target("vision.full.qkv.kernel", 1, TRANSPOSED)
    keys["lm_head.weight"] = None        # tied: may be there, is not used

Prefixes, shards, stacking, checks and dtypes are handled here, for all families alike.
"""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors.numpy import save_file
from tqdm import tqdm

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.finite import is_finite, not_finite
from eagle_jax.models.checkpoints.tensor_files import (
    StoredTensor,
    changed_tensors,
    listed,
    read_json,
    shortened,
    stored_tensors,
)
from eagle_jax.models.checkpoints.unusable import no_config, no_folder
from eagle_jax.models.layers.int8 import round_kernel

Module = TypeVar("Module", bound=nnx.Module)

_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


class Axes(NamedTuple):
    """How the axes of one tensor differ between a checkpoint and the module.

    Both functions act on the tensor of a single layer, without the stacking axis, and are
    inverse to each other.

    Attributes:
      to_module: checkpoint tensor -> module tensor.
      to_checkpoint: module tensor -> checkpoint tensor.
    """

    to_module: Callable[[np.ndarray], np.ndarray]
    to_checkpoint: Callable[[np.ndarray], np.ndarray]


SAME = Axes(lambda x: x, lambda x: x)
TRANSPOSED = Axes(np.transpose, np.transpose)


class Target(NamedTuple):
    """Where one checkpoint tensor goes.

    Attributes:
      path: dotted path of the parameter in the module, "decoder.layers.query.kernel".
      index: index on the parameter's leading axis for stacked layers; None if the tensor is
        the whole parameter.
      axes: SAME, TRANSPOSED (for linear kernels) or another pair of functions.
    """

    path: str
    index: int | None = None
    axes: Axes = SAME


KeyMap = Mapping[str, Target | None]
"""Canonical (hub style) checkpoint key -> target; None for a tensor that may be there and is
not used."""


def read_config(folder: str | Path) -> dict[str, Any]:
    """Reads a Hugging Face folder's config.json.

    Args:
      folder: the checkpoint folder.

    Returns:
      The JSON object.

    Raises:
      InputError: there is no such folder, no config.json in it, or it is not a JSON object.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise no_folder(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise no_config(folder)
    return read_json(path)


def load_weights(
    folder: str | Path,
    skeleton: Module,
    keys: KeyMap,
    dtype: Any | None = None,
    progress: bool = False,
    changes: Path | None = None,
) -> Module:
    """Fills a module with a folder's weights.

    Parameters are completed one after the other: besides the parameters on the device, host
    memory holds one (stacked) parameter and one tensor of a file.

    Args:
      folder: folder with model.safetensors, or with shards and model.safetensors.index.json.
      skeleton: abstract module, `nnx.eval_shape(lambda: Model(config, rngs=...))`. Its shapes
        are checked. Of its dtypes only int8 counts: int8 kernels and their ``scales`` (see
        `in_int8`) are rounded layer by layer. A parameter goes to the sharding of its
        `jax.ShapeDtypeStruct`, or to the default device.
      keys: key map that covers every parameter of the skeleton, stacked parameters slice by
        slice.
      dtype: dtype of all parameters that are not int8; None keeps the checkpoint's dtypes
        (float64 becomes float32).
      progress: show a progress bar.
      changes: a safetensors file whose tensors replace tensors of the folder.

    Returns:
      A module like `skeleton` with its parameters on their devices.

    Raises:
      InputError: a file is missing or unreadable; tensors are missing, unexpected, misshapen
        or not floats; or weights are not finite.
    """
    folder = Path(folder)
    graph, state = nnx.split(skeleton)
    variables = dict(nnx.to_flat_state(state))
    # Scales of int8 kernels are in no checkpoint; they are computed with their kernels.
    stored = {path: leaf for path, leaf in variables.items() if path[-1] != "scales"}
    sources = _by_parameter(stored, keys)
    tensors = stored_tensors(folder)
    if changes is not None:
        tensors |= changed_tensors(changes, tensors)
    if keys.get(_HEAD, "") is None and _HEAD in tensors:
        # As in transformers, tied weights may be saved under either name.
        tensors.setdefault(_EMBEDDING, tensors[_HEAD])
    _check_keys(folder, tensors, keys)
    _check_tensors(folder, tensors, variables, sources)
    bar = tqdm(sources.items(), desc="reading", unit="parameter", disable=not progress)
    for path, targets in bar:
        shape = variables[path].shape
        if variables[path].get_value().dtype == np.int8:
            kernel, scales = _assemble_int8(tensors, shape, targets)
            values = {path: kernel, (*path[:-1], "scales"): scales}
        else:
            values = {path: _assemble(tensors, shape, targets, dtype)}
        for name, value in values.items():
            variable = variables[name]
            placed = jax.device_put(value, variable.get_value().sharding)
            variables[name] = variable.replace(placed)
    return nnx.merge(graph, nnx.from_flat_state(variables))


def save_weights(folder: str | Path, module: nnx.Module, keys: KeyMap) -> None:
    """Writes a module as model.safetensors with the hub's key names; undoes `load_weights`.

    Args:
      folder: folder to write to, created if it does not exist. The caller writes config.json
        and the tokenizer.
      module: filled module.
      keys: key map as for `load_weights`; keys without a target are not written.
    """
    folder = Path(folder)
    variables = dict(nnx.to_flat_state(nnx.state(module)))
    tensors = {}
    for path, targets in _by_parameter(variables, keys).items():
        value = np.asarray(variables[path].get_value())
        for key, target in targets.items():
            part = value if target.index is None else value[target.index]
            tensors[key] = np.ascontiguousarray(target.axes.to_checkpoint(part))
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "model.safetensors.partial"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(0o644)  # safetensors lets the owner alone read what it writes
    partial.replace(folder / "model.safetensors")


def _by_parameter(
    variables: Mapping[tuple, Any], keys: KeyMap
) -> dict[tuple, dict[str, Target]]:
    """The tensors of each parameter. A wrong key map is the programmer's error."""
    paths = {".".join(map(str, path)): path for path in variables}
    sources: dict[tuple, dict[str, Target]] = {path: {} for path in variables}
    for key, target in keys.items():
        if target is not None:
            if target.path not in paths:
                raise ValueError(f"{key} goes to {target.path}, which the module does not have")
            sources[paths[target.path]][key] = target
    for name, path in paths.items():
        indices = [target.index for target in sources[path].values()]
        if indices != [None] and (
            len(indices) != variables[path].shape[0]
            or set(indices) != set(range(variables[path].shape[0]))
        ):
            raise ValueError(f"the key map fills {name} {variables[path].shape} from {indices}")
    return sources


def _assemble(
    tensors: Mapping[str, StoredTensor],
    shape: tuple[int, ...],
    targets: dict[str, Target],
    dtype: Any,
) -> np.ndarray:
    if dtype is None:
        dtype = jnp.result_type(*(tensors[key].dtype for key in targets))
    buffer = _aligned(shape, jnp.dtype(dtype))
    finite = {}
    # One tensor is checked while the next is read.
    with ThreadPoolExecutor(1) as pool:
        for key, target in targets.items():
            part = buffer if target.index is None else buffer[target.index, ...]
            with np.errstate(over="ignore"):
                _copy(part, target.axes.to_module(tensors[key].read()))
            finite[key] = pool.submit(is_finite, part)
    for key, result in finite.items():
        if not result.result():
            raise not_finite(tensors[key], dtype)
    return buffer


def _assemble_int8(
    tensors: Mapping[str, StoredTensor], shape: tuple[int, ...], targets: dict[str, Target]
) -> tuple[np.ndarray, np.ndarray]:
    kernel = _aligned(shape, jnp.dtype(jnp.int8))
    scales = _aligned((*shape[:-2], shape[-1]), jnp.dtype(jnp.bfloat16))
    for key, target in targets.items():
        where = ... if target.index is None else (target.index, ...)
        weights = target.axes.to_module(tensors[key].read())
        if not np.isfinite(weights).all():
            raise not_finite(tensors[key], weights.dtype)
        kernel[where], scales[where] = round_kernel(weights)
    return kernel, scales


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    # On a CPU, JAX uses memory that begins at a multiple of 64 bytes without copying it.
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)


def _copy(destination: np.ndarray, source: np.ndarray) -> None:
    if source.ndim != 2 or source.flags.c_contiguous:
        destination[...] = source
        return
    # In strips: row by row, a transposition would miss the cache at every number.
    for first in range(0, source.shape[1], 32):
        destination[:, first : first + 32] = source[:, first : first + 32]


def _check_keys(folder: Path, tensors: Mapping[str, StoredTensor], keys: KeyMap) -> None:
    missing = [key for key, target in keys.items() if target and key not in tensors]
    unexpected = [
        key
        for key, tensor in tensors.items()
        if key not in keys and not _is_zero_bias(key, tensor, keys)
    ]
    faults = []
    if missing:
        faults.append(f"{len(missing)} missing: {listed(missing)}")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected: {listed(unexpected)}")
    if any("lora_" in key for key in unexpected):
        raise InputError(
            f"the tensors in {folder} hold a LoRA adapter that is not merged; merge it first "
            "(in peft: merge_and_unload, then save_pretrained)"
        )
    if faults:
        hint = "fetch the checkpoint again"
        if missing == ["lm_head.weight"]:
            hint = (
                "set tie_word_embeddings to true in config.json if the head is the embedding, "
                "else fetch the checkpoint again"
            )
        raise InputError(
            f"the tensors in {folder} do not fit its config.json; {'; '.join(faults)}; {hint}"
        )


def _is_zero_bias(key: str, tensor: StoredTensor, keys: KeyMap) -> bool:
    """Whether a tensor is one of the zero biases that converters such as GPTQ's add."""
    layer = key.removesuffix("bias")
    if layer == key or f"{layer}weight" not in keys or tensor.dtype is None:
        return False
    return not tensor.read().any()


def _check_tensors(
    folder: Path,
    tensors: Mapping[str, StoredTensor],
    variables: Mapping[tuple, Any],
    sources: Mapping[tuple, dict[str, Target]],
) -> None:
    misshapen, unusable = [], []
    for path, targets in sources.items():
        for key, target in targets.items():
            shape = variables[path].shape[0 if target.index is None else 1 :]
            # A zero-stride array: the checkpoint's shape follows from it without memory.
            expected = target.axes.to_checkpoint(np.broadcast_to(np.float32(0), shape)).shape
            tensor = tensors[key]
            if tensor.shape != expected:
                misshapen.append(f"{key} is {tensor.shape}, not {expected}")
            if tensor.dtype is None:
                unusable.append(f"{key} ({tensor.dtype_name})")
    if misshapen:
        raise InputError(
            f"{len(misshapen)} tensors in {folder} have another shape than its config.json "
            f"says: {shortened(misshapen)}"
        )
    if unusable:
        raise InputError(
            f"{len(unusable)} tensors in {folder} are not float64, float32, float16 "
            f"or bfloat16: {shortened(unusable)}; take the checkpoint in bfloat16"
        )
