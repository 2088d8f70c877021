"""The tensors of a checkpoint folder, and their places in its files."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open

from eagle_jax.errors import InputError, reason, shown_value
from eagle_jax.models.checkpoints.unusable import (
    absent_shards,
    is_pointer,
    no_folder,
    no_weights,
    pointer_error,
)

_STORED_AS = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
# What training frameworks wrap modules in, and leave in the names.
_WRAPPERS = re.compile(
    r"^(?:base_model\.model\.)+"
    r"|(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# The first prefix that fits is replaced. Names differ between files on the hub, files that
# transformers 5 writes, and its modules in memory.
_PREFIXES = (
    ("model.language_model.model.", "model."),
    ("model.language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("language_model.", "model."),
    ("model.lm_head.", "lm_head."),
    ("model.visual.", "visual."),
    ("model.vision_tower.vision_model.", "vision_tower."),
    ("vision_tower.vision_model.", "vision_tower."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
)
_SHARD = re.compile(r"(.+)-(\d{5,6})-of-(\d{5,6})\.safetensors")
_MOST_SHARDS = 9999
# Computed by modules of PyTorch when they are built; transformers does not read them either.
_BUFFERS = ("inv_freq", ".position_ids", ".cos_cached", ".sin_cached")
_LISTED = 120


class StoredTensor(NamedTuple):
    """A tensor of a safetensors file; its values are read by `read`.

    Attributes:
      path: the file.
      name: name of the tensor in the file.
      shape: shape of the tensor.
      dtype_name: the safetensors name of the dtype, "BF16" for example.
      begin: offset of the tensor's first byte in the file.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype_name: str
    begin: int

    @property
    def dtype(self) -> np.dtype | None:
        """The dtype to load, float32 for float64; None for anything but supported floats."""
        stored = _STORED_AS.get(self.dtype_name)
        return np.dtype(np.float32) if self.dtype_name == "F64" else stored

    def read(self) -> np.ndarray:
        """The stored values, in host memory.

        Raises:
          InputError: the file cannot be read.
        """
        stored = _STORED_AS[self.dtype_name]
        size = math.prod(self.shape) * stored.itemsize
        # Not through safe_open, which maps the files: pages once touched stay resident.
        try:
            values = np.fromfile(self.path, np.uint8, size, offset=self.begin)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if values.size != size:
            raise _unreadable(self.path, EOFError(f"{self.name} ends early"))
        return values.view(stored).reshape(self.shape)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Reads the headers of all weight files of a folder.

    Args:
      folder: folder with model.safetensors, or with shards and their index.

    Returns:
      Canonical (hub style) key -> tensor, without buffers that are computed.

    Raises:
      InputError: there are no weights, a file is absent or unreadable, the index does not fit
        the files, or the files hold a tensor twice.
    """
    files = _files(folder)
    tensors: dict[str, StoredTensor] = {}
    for path, names in files.items():
        header = _header(path)
        held = set(header)
        if names is not None and (absent := sorted(names - held)):
            raise InputError(
                f"{path} lacks {len(absent)} tensors that its index names: {listed(absent)}; "
                "fetch the checkpoint again"
            )
        for name in sorted(held if names is None else names):
            key = _canonical(name)
            if key.endswith(_BUFFERS):
                continue
            if key in tensors:
                names = ", ".join(sorted({tensors[key].path.name, path.name}))
                raise InputError(
                    f"the files in {folder} hold {shortened([key])} twice ({names}); keep one "
                    "checkpoint in the folder"
                )
            tensors[key] = header[name]
    return tensors


def same_values(a: StoredTensor, b: StoredTensor) -> bool:
    """Whether two tensors hold the same numbers, perhaps in different types.

    Raises:
      InputError: a file cannot be read.
    """
    if a.shape != b.shape or a.dtype is None or b.dtype is None:
        return False
    return np.array_equal(a.read(), b.read())


def changed_tensors(path: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Reads the header of a file whose tensors replace tensors of a checkpoint.

    Args:
      path: the file.
      tensors: tensors of the checkpoint, from `stored_tensors`.

    Returns:
      Canonical (hub style) key -> tensor.

    Raises:
      InputError: the file is absent or unreadable, or has tensors that the checkpoint lacks or
        has in another shape.
    """
    changed = {_canonical(name): tensor for name, tensor in _header(path).items()}
    strange = [
        key
        for key, tensor in changed.items()
        if key not in tensors or tensor.shape != tensors[key].shape
    ]
    if strange:
        raise InputError(
            f"{path} does not fit the checkpoint, which lacks these tensors or has them in "
            f"another shape: {listed(strange)}"
        )
    return changed


def _header(path: Path) -> dict[str, StoredTensor]:
    try:
        # safe_open checks that the tensors fill the file without a gap or an overlap.
        with safe_open(path, framework="numpy") as checked, path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
            return {
                name: StoredTensor(
                    path,
                    name,
                    tuple(header[name]["shape"]),
                    header[name]["dtype"],
                    8 + size + header[name]["data_offsets"][0],
                )
                for name in checked.keys()
            }
    # safetensors accepts entries that are lists in place of objects.
    except (SafetensorError, OSError, TypeError) as error:
        raise _unreadable(path, error) from error


def _files(folder: Path) -> dict[Path, set[str] | None]:
    """Weight files, and the tensors to take from each file; None for all of them."""
    if not folder.is_dir():
        raise no_folder(folder)
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.exists():
        _require_stale(whole, index)
        return {whole: None}
    if index.exists():
        return _indexed(folder, index)
    # An adapter may lie beside the model that it was merged into.
    files = sorted(
        path
        for path in folder.glob("*.safetensors")
        if not path.name.startswith("adapter_") and path.is_file()
    )
    if not files:
        raise no_weights(folder)
    _require_one_set(folder, [path.name for path in files])
    return dict.fromkeys(files)


def _require_one_set(folder: Path, names: list[str]) -> None:
    """Refuses shards without an index that are of two sets, or not all of one."""
    counts: dict[str, str] = {}
    for shard in filter(None, map(_SHARD.fullmatch, names)):
        name, _, count = shard.groups()
        if counts.setdefault(name, count) != count:
            raise InputError(
                f"{folder} holds two sets of weights and no index, of {counts[name]} and of "
                f"{count} files; move one of the two elsewhere"
            )
    for name, count in counts.items():
        numbers = range(1, min(int(count), _MOST_SHARDS) + 1)
        wanted = [f"{name}-{i:0{len(count)}}-of-{count}.safetensors" for i in numbers]
        if absent := sorted(set(wanted) - set(names)):
            raise absent_shards(folder, f"shards of {folder} are", absent)


def _require_stale(whole: Path, index: Path) -> None:
    """Refuses an index with all of its shards beside a file that holds all weights."""
    if not index.is_file():
        return
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        names = {str(name) for name in places} - {whole.name}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return
    if names and all((whole.parent / Path(name).name).is_file() for name in names):
        raise InputError(
            f"{whole.parent} holds two sets of weights, {whole.name} and the {len(names)} "
            f"files of {index.name}; move one of the two elsewhere"
        )


def _indexed(folder: Path, index: Path) -> dict[Path, set[str] | None]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index} has no weight_map; fetch the checkpoint again")
    files: dict[Path, set[str]] = {}
    for key, name in places.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(
                f"{index} places {shown_value(key)} in {shown_value(name)}, which is not a "
                "file name; fetch the checkpoint again"
            )
        files.setdefault(folder / name, set()).add(key)
    present = {path.name for path in folder.iterdir() if path.is_file()}
    if absent := sorted(path.name for path in files if path.name not in present):
        raise absent_shards(folder, f"{index} names files that are", absent)
    return dict(files)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a file that must hold one JSON object.

    Raises:
      InputError: the file is unreadable or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if is_pointer(path):
            raise pointer_error(path) from error
        raise InputError(
            f"{path} cannot be read as JSON: {reason(error, 120)}; fetch it again"
        ) from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a JSON object; fetch it again")
    return value


def _canonical(key: str) -> str:
    key = _WRAPPERS.sub("", key)
    while key.startswith("model.model."):
        key = key.removeprefix("model.")
    for prefix, hub in _PREFIXES:
        if key.startswith(prefix):
            return hub + key.removeprefix(prefix)
    return key


def _unreadable(path: Path, error: Exception) -> InputError:
    if is_pointer(path):
        return pointer_error(path)
    return InputError(
        f"{path} is truncated or not a safetensors file ({reason(error, 80)}); "
        "fetch the checkpoint again"
    )


def listed(keys: list[str]) -> str:
    """Names all keys in short: keys that differ in the layer are joined to "a.{0..35}.b"."""
    groups: dict[str, list[int]] = {}
    for key in keys:
        layer = re.search(r"(?<=\.)\d+(?=\.)", key)
        pattern = key if layer is None else f"{key[: layer.start()]}*{key[layer.end() :]}"
        groups.setdefault(pattern, []).append(-1 if layer is None else int(layer.group()))
    entries = []
    for pattern, layers in groups.items():
        if layers == [-1]:
            entries.append(pattern)
        else:
            entries.append(pattern.replace("*", _ranges(sorted(layers)), 1))
    return shortened(entries)


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    texts = [str(first) if first == last else f"{first}..{last}" for first, last in runs]
    return texts[0] if numbers[1:] == [] else "{" + ",".join(texts) + "}"


def shortened(entries: list[str]) -> str:
    """Joins entries by commas; entries beyond a line's width are only counted."""
    entries = [name if len(name) <= _LISTED else f"{name[:97]}..." for name in entries]
    shown, length = 0, 0
    while shown < len(entries) and (shown == 0 or length + len(entries[shown]) <= _LISTED):
        length += len(entries[shown]) + 2
        shown += 1
    more = len(entries) - shown
    text = ", ".join(entries[:shown]) + (f" and {more} more" if more > 0 else "")
    # Names come from files: the message must stay one line that any terminal can print.
    return " ".join(text.split()).encode(errors="backslashreplace").decode()
