"""Attributions on disk: a folder of a few files, checked by digests when it is read."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from eagle_jax.errors import InputError, one_line, shown_value
from eagle_jax.files import encoded, json_lines, local_path, require_writable
from eagle_jax.results.consistency import check_fields

SCHEMA = 4
RECORD, ARRAYS, IMAGE, FIGURE = "attribution.json", "arrays.npz", "image.png", "figure.png"
# The fill, where it is an image.
FILL = "fill.png"
# Answers with more and more regions hidden, beside the attribution of a diagnosis.
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
    "cut": str,
}
# What may be absent, which JSON writes as null.
_GIVEN = {"system": str, "thinking": str, "gap": float, "unseen": float}
_TEXTS = ("answer_tokens", "tokens")
_NAMES = ("labels", "order", "insertion", "deletion", "answer_ids", "positions", "token_ids")
_FURTHER = ("further_labels", "further_values", "further_errors")
_OPTIONAL = ("heat", "values", "errors", "pairs", "interaction", *_FURTHER)
# What earlier releases stored, which is not read any more.
_DROPPED = ("importance", "uncertainty")
DAMAGE = (
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
"""What the JSON, zip, npy and PNG readers raise on broken files."""


def require_free(folder: str | os.PathLike, beside: Iterable[str] = ()) -> None:
    """Raises unless an attribution may be saved to a folder; call it before a long search.

    Args:
      folder: must be missing, empty, or hold an attribution and nothing else.
      beside: names of other files that the folder may hold.

    Raises:
      InputError: the folder holds something that saving would destroy.
    """
    folder = local_path(folder)
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
    strange = sorted(held - {RECORD, ARRAYS, IMAGE, FILL, FIGURE, *beside})
    if strange:
        raise InputError(
            f"cannot replace {folder}: {strange[0]!r} in it does not belong to an attribution; "
            "move it away or choose a new folder"
        )


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads what `encode` made, checked against the digests recorded there.

    Args:
      folder: folder of a saved attribution, of this schema or an earlier one.

    Returns:
      The fields of the attribution, by name.

    Raises:
      InputError: a file is missing, damaged or edited, or from a newer eagle-jax.
    """
    with one_line(f"cannot read the attribution in {folder}", *DAMAGE):
        folder = local_path(folder)
        record = _read_record(folder)
        content = {}
        for name in {ARRAYS} | ({IMAGE, FILL} & record["sha256"].keys()):
            content[name] = (folder / name).read_bytes()
            if _digest(content[name]) != record["sha256"].get(name):
                raise ValueError(f"{name} is damaged or belongs to another attribution")
        fields = {name: _typed(record, name, kind) for name, kind in _SCALARS.items()}
        for name, kind in _GIVEN.items():
            fields[name] = _typed(record, name, kind, type(None))
        for name in _TEXTS:
            fields[name] = tuple(_typed(record, name, list))
            if not all(isinstance(text, str) for text in fields[name]):
                raise ValueError(f"{name!r} in {RECORD} must hold texts")
        fields |= _read_arrays(content[ARRAYS])
        shape = fields["labels"].shape
        fields["image"] = (
            _read_image(IMAGE, content[IMAGE], shape) if IMAGE in content else None
        )
        fields["fill"] = _typed(record, "fill", str)
        if fields["fill"] == FILL:
            fields["fill"] = _read_image(FILL, content[FILL], shape)
        check_fields(fields)
    return fields


def encode(fields: Mapping[str, Any], image: bool = True) -> dict[str, bytes]:
    """The files of an attribution, by name, for `eagle_jax.files.write_folder`.

    Args:
      fields: fields of the attribution, by name.
      image: whether to save the image as well, unless it is None.

    Raises:
      InputError: the fields contradict each other.
    """
    with one_line("cannot save the attribution", ValueError):
        check_fields(fields)
    held = [name for name in _OPTIONAL if fields[name] is not None]
    arrays = {name: fields[name] for name in (*_NAMES, *held)}
    files = {ARRAYS: encoded(np.savez_compressed, **arrays)}
    if image and fields["image"] is not None:
        files[IMAGE] = png(fields["image"])
    fill = fields["fill"]
    if not isinstance(fill, str):
        files[FILL], fill = png(fill), FILL
    record: dict[str, Any] = {"schema": SCHEMA, "fill": fill}
    record |= {name: kind(fields[name]) for name, kind in _SCALARS.items()}
    record |= {name: fields[name] for name in _GIVEN}
    record |= {name: list(fields[name]) for name in _TEXTS}
    record["versions"] = library_versions()
    record["sha256"] = {name: _digest(content) for name, content in files.items()}
    record["sha256"][RECORD] = _seal(record)
    return {RECORD: json_lines(record), **files}


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
        raise ValueError(
            f"{RECORD} has schema {shown_value(schema)}, this eagle-jax reads 1 to {SCHEMA}"
        )
    if record["sha256"].get(RECORD) != _seal(record):
        raise ValueError(f"{RECORD} was damaged or edited after it was saved")
    if schema == 1:
        # There was one method, and its search had a field of its own.
        search = _typed(record, "search", str)
        record |= {"method": "eagle", "options": {"search": search}}
    # What the first records lack.
    absent = {"backwards": 0, "fill": "black", "cut": ""} | dict.fromkeys(_GIVEN)
    return absent | record


def _read_arrays(content: bytes) -> dict[str, np.ndarray | None]:
    with open_arrays(content) as held:
        # Schemas 1 and 2 call the positions "target".
        arrays = {
            "positions" if name == "target" else name: held[name]
            for name in held.files
            if name not in _DROPPED
        }
    if not set(_NAMES) <= arrays.keys() <= {*_NAMES, *_OPTIONAL}:
        raise ValueError(f"{ARRAYS} must hold {', '.join(_NAMES)}")
    return {name: arrays.get(name) for name in _OPTIONAL} | arrays


def open_arrays(content: bytes) -> Any:
    """The arrays of an npz file by name, as from `numpy.load`.

    Args:
      content: content of the file.

    Raises:
      ValueError: it is no such file.
      Exception: one of `DAMAGE`, then or when an array is read.
    """
    # NumPy would take anything else for a pickle.
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ValueError("the file of arrays is truncated, or holds something else")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _read_image(name: str, content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    # Not Image.open: its guard against huge images would refuse images we wrote ourselves.
    # The size is checked against the labels before anything is decoded.
    with PngImagePlugin.PngImageFile(io.BytesIO(content)) as image:
        if image.mode != "RGB" or (image.height, image.width) != shape:
            raise ValueError(f"{name} must be an RGB image of the shape of labels, {shape}")
        return np.array(image)


def png(image: np.ndarray) -> bytes:
    """An image or a mask as the content of a PNG file."""
    return encoded(Image.fromarray(image).save, format="png")


def _typed(record: dict[str, Any], name: str, *types: type) -> Any:
    value = record.get(name)
    if type(value) not in types:
        names = " or ".join(kind.__name__ for kind in types)
        got = shown_value(value)
        raise ValueError(f"{name!r} in {RECORD} must be of type {names}, got {got}")
    return value


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(record: dict[str, Any]) -> str:
    digests = {name: text for name, text in record["sha256"].items() if name != RECORD}
    # Text escaped to ASCII has one spelling for every string, lone surrogates included.
    return _digest(json.dumps(record | {"sha256": digests}, sort_keys=True).encode("ascii"))


def library_versions() -> dict[str, str]:
    """Versions of this package and of the libraries that its results depend on."""
    versions = {}
    for name in _LIBRARIES:
        # A checkout that was never installed has no metadata.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
