"""Attributions on disk: a folder of three files, checked by digests when it is read."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import math
import os
import shutil
import struct
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from eagle_jax.errors import InputError
from eagle_jax.results.attribution import Attribution

SCHEMA = 1
RECORD, ARRAYS, IMAGE, FIGURE = "attribution.json", "arrays.npz", "image.png", "figure.png"
_LIBRARIES = ("eagle-jax", "jax", "flax", "transformers", "numpy")

# What the record and the array file hold; the image is a file of its own.
_SCALARS = {
    "prompt": str,
    "answer": str,
    "insight_weight": float,
    "necessity_weight": float,
    "model": str,
    "search": str,
    "forwards": int,
    "seconds": float,
}
_TEXTS = ("answer_tokens", "tokens")
_NAMES = ("labels", "order", "insertion", "deletion", "answer_ids", "target", "token_ids")
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


def save(
    attribution: Attribution,
    folder: str | os.PathLike,
    figure: bool = False,
    image: bool = True,
) -> None:
    """See `Attribution.save`."""
    files = encode(attribution, image)
    if figure:
        picture = io.BytesIO()
        attribution.plot().savefig(picture, format="png", dpi=200)
        files[FIGURE] = picture.getvalue()
    require_free(folder)
    write_folder(folder, files)


def write_folder(folder: str | os.PathLike, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files all or nothing, in place of what it held before.

    Args:
      folder: made if missing, with its parents.
      files: content of each file by name.

    Raises:
      InputError: the file system refuses.
    """
    with _one_line(f"cannot write {folder}", OSError):
        folder = Path(folder).resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex[:8]
        new = folder.with_name(f".{folder.name}-{mark}-new")
        old = folder.with_name(f".{folder.name}-{mark}-old")
        try:
            new.mkdir()
            for name, content in files.items():
                (new / name).write_bytes(content)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def require_free(folder: str | os.PathLike, beside: Iterable[str] = ()) -> None:
    """Raise unless `save` may write to `folder`; worth asking before a long search.

    Args:
      folder: must be missing, empty, or hold an attribution and nothing else.
      beside: names of files that may be there as well.

    Raises:
      InputError: the folder holds something that saving would destroy.
    """
    folder = Path(folder)
    with _one_line(f"cannot write {folder}", OSError, ValueError):
        require_writable(folder.resolve().parent)
        if not folder.exists():
            return
    if not folder.is_dir():
        raise InputError(f"cannot write {folder}: it is a file; choose a new folder")
    if os.path.ismount(folder):
        raise InputError(f"cannot replace {folder}: it is a mount point; choose a folder in it")
    with _one_line(f"cannot read {folder}", OSError):
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


def require_writable(folder: Path) -> None:
    """Raise unless files can be made in a folder, or in the nearest one above that exists.

    Raises:
      InputError: they cannot.
    """
    while not folder.exists():
        folder = folder.parent
    # Permission bits do not tell (root, read-only and special file systems): trying does.
    try:
        tempfile.TemporaryDirectory(prefix=".", dir=folder).cleanup()
    except OSError as error:
        raise InputError(f"nothing can be written in {folder}: {error.strerror}") from error


def load(folder: str | os.PathLike) -> Attribution:
    """See `Attribution.load`."""
    with _one_line(f"cannot read the attribution in {folder}", *_DAMAGE):
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
    return Attribution(**fields)


@contextlib.contextmanager
def _one_line(what: str, *errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except errors as error:
        if isinstance(error, OSError) and error.strerror:
            reason = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        else:
            reason = str(error)
        raise InputError(f"{what}: {' '.join(reason.split())}") from error


def encode(attribution: Attribution, image: bool = True) -> dict[str, bytes]:
    """The files of an attribution, by name, for `write_folder`.

    Args:
      attribution: what to save.
      image: whether to save the image as well, if the attribution has it.

    Raises:
      InputError: the fields contradict each other.
    """
    with _one_line("cannot save the attribution", ValueError):
        _check_fields(vars(attribution))
    arrays = io.BytesIO()
    np.savez_compressed(arrays, **{name: getattr(attribution, name) for name in _NAMES})
    files = {ARRAYS: arrays.getvalue()}
    if image and attribution.image is not None:
        picture = io.BytesIO()
        Image.fromarray(attribution.image).save(picture, format="png")
        files[IMAGE] = picture.getvalue()
    record: dict[str, Any] = {"schema": SCHEMA}
    record |= {name: kind(getattr(attribution, name)) for name, kind in _SCALARS.items()}
    record |= {name: list(getattr(attribution, name)) for name in _TEXTS}
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
    if schema != SCHEMA:
        raise ValueError(f"{RECORD} has schema {schema!r}, this eagle-jax reads {SCHEMA}")
    if record["sha256"].get(RECORD) != _seal(record):
        raise ValueError(f"{RECORD} was damaged or edited after it was saved")
    return record


def _read_arrays(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        if sorted(arrays.files) != sorted(_NAMES):
            raise ValueError(f"{ARRAYS} must hold {', '.join(_NAMES)}")
        return {name: arrays[name] for name in _NAMES}


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


def _check_fields(fields: dict[str, Any]) -> None:
    order, labels, target = fields["order"], fields["labels"], fields["target"]
    _require(order.dtype == np.int32 and order.ndim == 1, "order must be int32, 1-D", order)
    n, t, a = order.size, len(fields["tokens"]), len(fields["answer_tokens"])
    _require(n > 0 and t > 0, "there must be at least one region and one target token")
    _require(labels.ndim == 2, "labels must be 2-D", labels)
    image = fields["image"]
    expected = {
        "labels": (np.int32, labels.shape if image is None else image.shape[:2]),
        "insertion": (np.float32, (n + 1, t)),
        "deletion": (np.float32, (n + 1, t)),
        "answer_ids": (np.int32, (a,)),
        "target": (np.int32, (t,)),
        "token_ids": (np.int32, (t,)),
    }
    if image is not None:
        expected["image"] = (np.uint8, (*labels.shape, 3))
    for name, (dtype, shape) in expected.items():
        array = fields[name]
        wanted = f"{name} must be {np.dtype(dtype)} of shape {shape}"
        _require(array.dtype == dtype and array.shape == shape, wanted, array)
    _require(labels.size > 0, "the image has no pixels")
    _require(
        labels.min() >= 0 and labels.max() < n,
        f"labels must lie in 0..{n - 1}, one per region",
    )
    _require(
        np.bincount(labels.ravel(), minlength=n).all(),
        "some regions have no pixels in labels",
    )
    _require(
        np.array_equal(np.sort(order), np.arange(n)),
        f"order must name each region 0..{n - 1} once",
    )
    for name in ("insertion", "deletion"):
        curve = fields[name]
        # Written so that NaN fails.
        inside = ((curve >= 0) & (curve <= 1 + _ROUNDING)).all()
        _require(inside, f"{name} must hold probabilities in [0, 1]")
    _require(
        target.min() >= 0 and target.max() < a,
        f"target must hold positions in the answer, 0..{a - 1}",
    )
    for name in ("insight_weight", "necessity_weight", "seconds"):
        _require(math.isfinite(fields[name]), f"{name} must be a finite number")


def _require(fine: bool | np.bool, wanted: str, array: np.ndarray | None = None) -> None:
    if not fine:
        got = "" if array is None else f", got {array.dtype} of shape {array.shape}"
        raise ValueError(f"{wanted}{got}")
