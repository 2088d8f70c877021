"""Attributions on disk: a folder of three files, checked by digests when it is read."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from eagle_jax.errors import InputError, one_line
from eagle_jax.files import require_writable

SCHEMA = 3
RECORD, ARRAYS, IMAGE, FIGURE = "attribution.json", "arrays.npz", "image.png", "figure.png"
# Answers to smaller and smaller pictures, beside the attribution of a diagnosis.
ANSWERS = "answers.json"
_LIBRARIES = ("eagle-jax", "jax", "flax", "transformers", "numpy")

# What the record and the array file hold; the image is a file of its own.
_SCALARS = {
    "prompt": str,
    "answer": str,
    "insight_weight": float,
    "necessity_weight": float,
    "model": str,
    "forwards": int,
    "seconds": float,
    "method": str,
    "options": dict,
    "backwards": int,
}
_TEXTS = ("answer_tokens", "tokens")
_NAMES = ("labels", "order", "insertion", "deletion", "answer_ids", "positions", "token_ids")
_OPTIONAL = ("heat", "importance", "uncertainty", "pairs", "interaction")
# Probabilities read back from log-probabilities may exceed 1 by a rounding error.
_ROUNDING = 1e-5

# What the JSON, zip, npy and PNG readers raise on broken files.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    EOFError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def require_free(folder: str | os.PathLike, beside: Iterable[str] = ()) -> None:
    """Raises unless an attribution may be saved there; worth asking before a long search.

    Args:
      folder: must be missing, empty, or hold an attribution and nothing else.
      beside: names of files that may be there as well.

    Raises:
      InputError: the folder holds something that saving would destroy.
    """
    folder = Path(folder)
    with one_line(f"cannot write {folder}", OSError, ValueError):
        require_writable(folder.resolve().parent)
        if not folder.exists():
            return
    if not folder.is_dir():
        raise InputError(f"cannot write {folder}: it is a file; choose a new folder")
    if os.path.ismount(folder):
        raise InputError(f"cannot replace {folder}: it is a mount point; choose a folder in it")
    with one_line(f"cannot read {folder}", OSError):
        held = {path.name for path in folder.iterdir()}
    if not held:
        return
    if RECORD not in held:
        raise InputError(f"cannot write {folder}: it holds other files; choose a new folder")
    strange = sorted(held - {RECORD, ARRAYS, IMAGE, FIGURE, *beside})
    if strange:
        raise InputError(
            f"cannot replace {folder}: {strange[0]!r} in it is no part of an attribution; "
            "move it away or choose a new folder"
        )


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads what `encode` made, checked against the digests recorded there.

    Args:
      folder: of a saved attribution, of this schema or an earlier one.

    Returns:
      The fields of the attribution, by name.

    Raises:
      InputError: a file is missing, damaged or edited, or from a newer eagle-jax.
    """
    with one_line(f"cannot read the attribution in {folder}", *_DAMAGE):
        folder = Path(folder)
        record = _read_record(folder)
        content = {}
        for name in {ARRAYS} | ({IMAGE} & record["sha256"].keys()):
            content[name] = (folder / name).read_bytes()
            if _digest(content[name]) != record["sha256"].get(name):
                raise ValueError(f"{name} is damaged or belongs to another attribution")
        fields = {name: _typed(record, name, kind) for name, kind in _SCALARS.items()}
        for name in _TEXTS:
            fields[name] = tuple(_typed(record, name, list))
            if not all(isinstance(text, str) for text in fields[name]):
                raise ValueError(f"{name!r} in {RECORD} must hold texts")
        fields |= _read_arrays(content[ARRAYS])
        fields["image"] = None
        if IMAGE in content:
            fields["image"] = _read_image(content[IMAGE], fields["labels"].shape)
        _check_fields(fields)
    return fields


def encode(fields: Mapping[str, Any], image: bool = True) -> dict[str, bytes]:
    """The files of an attribution, by name, for `eagle_jax.files.write_folder`.

    Args:
      fields: of the attribution, by name.
      image: whether to save the image as well, if it is there.

    Raises:
      InputError: the fields contradict each other.
    """
    with one_line("cannot save the attribution", ValueError):
        _check_fields(fields)
    held = [name for name in _OPTIONAL if fields[name] is not None]
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{name: fields[name] for name in (*_NAMES, *held)})
    files = {ARRAYS: arrays.getvalue()}
    if image and fields["image"] is not None:
        picture = io.BytesIO()
        Image.fromarray(fields["image"]).save(picture, format="png")
        files[IMAGE] = picture.getvalue()
    record: dict[str, Any] = {"schema": SCHEMA}
    record |= {name: kind(fields[name]) for name, kind in _SCALARS.items()}
    record |= {name: list(fields[name]) for name in _TEXTS}
    record["versions"] = library_versions()
    record["sha256"] = {name: _digest(content) for name, content in files.items()}
    record["sha256"][RECORD] = _seal(record)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    return {RECORD: (text + "\n").encode("utf-8", "surrogatepass"), **files}


def _read_record(folder: Path) -> dict[str, Any]:
    if not (folder / RECORD).is_file():
        raise ValueError(f"there is no {RECORD}; expected a folder written by Attribution.save")
    text = (folder / RECORD).read_bytes().decode("utf-8", "surrogatepass")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{RECORD} is no valid JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("sha256"), dict):
        raise ValueError(f"{RECORD} is not the record of an attribution")
    schema = record.get("schema")
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(f"{RECORD} has schema {schema!r}, this eagle-jax reads 1 to {SCHEMA}")
    if record["sha256"].get(RECORD) != _seal(record):
        raise ValueError(f"{RECORD} was damaged or edited after it was saved")
    if schema == 1:
        # There was one method, and its search had a field of its own.
        search = _typed(record, "search", str)
        record |= {"method": "eagle", "options": {"search": search}}
    # Gradients were not counted at first.
    return {"backwards": 0} | record


def _read_arrays(content: bytes) -> dict[str, np.ndarray | None]:
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        # Schemas 1 and 2 call the positions "target".
        arrays = {"positions" if name == "target" else name: held[name] for name in held.files}
    if not set(_NAMES) <= arrays.keys() <= {*_NAMES, *_OPTIONAL}:
        raise ValueError(f"{ARRAYS} must hold {', '.join(_NAMES)}")
    return {name: arrays.get(name) for name in _OPTIONAL} | arrays


def _read_image(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    # Not Image.open: its guard against huge pictures would refuse images we wrote ourselves.
    # The size is checked against the labels before anything is decoded.
    with PngImagePlugin.PngImageFile(io.BytesIO(content)) as picture:
        if picture.mode != "RGB" or (picture.height, picture.width) != shape:
            raise ValueError(f"{IMAGE} must be an RGB picture of the shape of labels, {shape}")
        return np.array(picture)


def _typed(record: dict[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name!r} in {RECORD} must be of type {kind.__name__}, got {value!r}")
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(record: dict[str, Any]) -> str:
    digests = {name: text for name, text in record["sha256"].items() if name != RECORD}
    # Text escaped to ASCII has one spelling for every string, lone surrogates included.
    return _digest(json.dumps(record | {"sha256": digests}, sort_keys=True).encode("ascii"))


def library_versions() -> dict[str, str]:
    """Versions of this package and of the libraries its results depend on."""
    versions = {}
    for name in _LIBRARIES:
        # A checkout that was never installed has no metadata.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _check_fields(fields: Mapping[str, Any]) -> None:
    order, labels, positions = fields["order"], fields["labels"], fields["positions"]
    _require(order.dtype == np.int32 and order.ndim == 1, "order must be int32, 1-D", order)
    k, t, a = order.size, len(fields["tokens"]), len(fields["answer_tokens"])
    _require(t > 0, "there must be at least one target token")
    _require(labels.ndim == 2, "labels must be 2-D", labels)
    _require(labels.size > 0, "the image has no pixels")
    image = fields["image"]
    expected = {
        "labels": (np.int32, labels.shape if image is None else image.shape[:2]),
        "insertion": (np.float32, (k + 1, t)),
        "deletion": (np.float32, (k + 1, t)),
        "answer_ids": (np.int32, (a,)),
        "positions": (np.int32, (t,)),
        "token_ids": (np.int32, (t,)),
    }
    if image is not None:
        expected["image"] = (np.uint8, (*labels.shape, 3))
    n, m = len(np.unique(labels)), len(() if fields["pairs"] is None else fields["pairs"])
    optional = {
        "heat": (np.float32, labels.shape),
        "importance": (np.float32, (n,)),
        "uncertainty": (np.float32, (n,)),
        "pairs": (np.int32, (m, 2)),
        "interaction": (np.float32, (m,)),
    }
    expected |= {name: one for name, one in optional.items() if fields[name] is not None}
    for name, (dtype, shape) in expected.items():
        array = fields[name]
        wanted = f"{name} must be {np.dtype(dtype)} of shape {shape}"
        _require(array.dtype == dtype and array.shape == shape, wanted, array)
    # A forged label must not make an array of its size.
    _require(labels.min() == 0 and labels.max() == n - 1, "labels must be 0..n-1, all in use")
    _require(
        len(np.unique(order)) == k and bool(((order >= 0) & (order < n)).all()),
        f"order must name regions of 0..{n - 1}, none twice",
    )
    for name in ("heat", "importance", "uncertainty", "interaction"):
        array = fields[name]
        _require(array is None or np.isfinite(array).all(), f"{name} must be finite")
    if fields["pairs"] is not None:
        inside = ((fields["pairs"] >= 0) & (fields["pairs"] < n)).all()
        _require(inside, f"pairs must name regions of 0..{n - 1}")
    for name, value in fields["options"].items():
        plain = isinstance(name, str) and isinstance(value, str | int | float | None)
        _require(plain, "options must be texts, numbers and truth values by name")
    for name in ("insertion", "deletion"):
        curve = fields[name]
        # Written so that NaN fails.
        inside = ((curve >= 0) & (curve <= 1 + _ROUNDING)).all()
        _require(inside, f"{name} must hold probabilities in [0, 1]")
    _require(
        positions.min() >= 0 and positions.max() < a,
        f"positions must be places in the answer, 0..{a - 1}",
    )
    for name in ("insight_weight", "necessity_weight", "seconds"):
        _require(math.isfinite(fields[name]), f"{name} must be a finite number")


def _require(fine: bool | np.bool, wanted: str, array: np.ndarray | None = None) -> None:
    if not fine:
        got = "" if array is None else f", got {array.dtype} of shape {array.shape}"
        raise ValueError(f"{wanted}{got}")
