"""Paths that users give, files written completely or not at all, and the demo's folder."""

import contextlib
import functools
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from eagle_jax.errors import InputError, one_line
from eagle_jax.interrupts import rescue

DEMO = Path(__file__).parent / "demo"
"""Folder of the bundled demo: a checkpoint, an image and a list of its mistakes."""

# `Path` eats one of the two slashes, so a single slash must be recognised as well. Other names
# with a single slash may be folders of this machine.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(/+)", re.IGNORECASE)
_WEB = ("http", "https", "ftp", "ftps", "sftp", "ssh")
_CLOUD = (
    *("gs", "gcs", "s3", "s3a", "s3n", "r2", "b2", "hf", "abfs", "abfss", "adl", "az", "azure"),
    *("wasb", "wasbs", "hdfs", "webhdfs", "viewfs", "dbfs", "oss", "cos", "cosn", "obs", "tos"),
    *("swift", "oci", "smb", "gdrive", "wandb", "mlflow", "memory"),
)
_LONGEST = 120


def local_path(path: str | os.PathLike, folder: str | os.PathLike = "") -> Path:
    """A path that a user gives as a path of this machine; ``~`` and ``file://`` are resolved.

    Args:
      path: path of a file or folder, which need not exist.
      folder: folder that a relative path starts from.

    Raises:
      InputError: the path is a URL, lies in cloud storage or is a data URI; it is empty or of
        another type; or the system refuses to look it up, because it is too long or lies in a
        folder that may not be read, for example.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise InputError(f"a path must be text, not {type(path).__name__}")
    if not text:
        raise InputError("the path is empty; give the name of a file or folder")
    if text[:5].lower() == "data:" and "," in text:
        raise InputError(f"{shown_path(text)} is a data URI, not a path; save it to a file")
    if scheme := _SCHEME.match(text):
        text = _without_scheme(text, scheme[1].lower(), scheme[2])
    resolved = Path(folder) / os.path.expanduser(text)
    try:
        os.lstat(resolved)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(
            f"{shown_path(resolved)}: {error.strerror}; give another path"
        ) from None
    except UnicodeEncodeError:
        raise InputError(f"the path {ascii(text)[:_LONGEST]} is not valid Unicode") from None
    except ValueError:
        raise InputError(f"the path {ascii(text)[:_LONGEST]} holds a NUL character") from None
    return resolved


def _without_scheme(text: str, scheme: str, slashes: str) -> str:
    rest = text[len(scheme) + 1 :]
    if scheme == "file":
        place = rest[2:] if slashes == "//" else rest
        place = place.removeprefix("localhost") if slashes == "//" else place
        if not place.startswith(("/", "~")):
            raise InputError(
                f"{shown_path(text)} names another machine; a file of this machine is file:///..."
            )
        return os.fsdecode(unquote_to_bytes(place.encode("utf-8", "surrogateescape")))
    if scheme not in (*_WEB, *_CLOUD) and slashes == "/":
        return text
    name = shown_path(f"{scheme}://{rest.lstrip('/')}")
    if scheme == "hf" or "//huggingface.co" in name:
        raise InputError(
            f"{name} is a URL: give a model by its hub id, such as "
            "Qwen/Qwen2.5-VL-3B-Instruct, and download other files first"
        )
    if scheme in _WEB:
        raise InputError(f"{name} is a URL: download it first, and give the file")
    raise InputError(
        f"{name} is not on this machine: mount the bucket as a folder (gcsfuse, s3fs), or copy "
        "from and to a local folder"
    )


def shown_path(path: str | os.PathLike) -> str:
    """A path as messages show it: the end of a long path, on one line."""
    text = " ".join(str(path).split(None))
    return text if len(text) <= _LONGEST else f"{text[:20]}...{text[-(_LONGEST - 23) :]}"


def encoded(save: Callable[..., Any], /, **options: Any) -> bytes:
    """What a function writes to a file, such as `PIL.Image.Image.save`.

    Args:
      save: called with a file in memory and the options.
      options: keyword arguments of `save`.
    """
    content = io.BytesIO()
    save(content, **options)
    return content.getvalue()


def json_lines(record: Any) -> bytes:
    """JSON for people: indented, in UTF-8, with lone surrogates where the texts have them."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogatepass")


def write_file(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file completely or not at all, replacing an existing file.

    Args:
      path: path of the file; missing folders above it are made.
      content: bytes, or text, which is written as UTF-8.

    Raises:
      InputError: the file cannot be written, or the text is not valid Unicode.
    """
    with new_file(path) as new:
        new.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def new_file(path: str | os.PathLike) -> Iterator[Path]:
    """Gives the path of a file to write, which replaces `path` unless the block raises.

    Args:
      path: path of the final file; missing folders above it are made.

    Yields:
      A path beside the final file.

    Raises:
      InputError: the file cannot be written, or a text is not valid Unicode.
    """
    with one_line(f"cannot write {path}", OSError, UnicodeEncodeError):
        path = local_path(path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}-new")
        remove = functools.partial(new.unlink, missing_ok=True)
        try:
            with rescue(remove):
                yield new
                new.replace(path)
        finally:
            remove()


def write_folder(folder: str | os.PathLike, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files completely or not at all, replacing an existing folder.

    Args:
      folder: path of the folder; missing folders above it are made.
      files: content of each file, by file name.

    Raises:
      InputError: the folder cannot be written.
    """
    with new_folder(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Gives an empty folder to fill, which replaces `folder` unless the block raises.

    Args:
      folder: path of the final folder; missing folders above it are made.

    Yields:
      The empty folder, which lies beside the final folder.

    Raises:
      InputError: the folder cannot be written.
    """
    with one_line(f"cannot write {folder}", OSError):
        folder = local_path(folder).resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex[:8]
        new = folder.with_name(f".{folder.name}-{mark}-new")
        old = folder.with_name(f".{folder.name}-{mark}-old")
        clean = functools.partial(_one_of, folder, new, old)
        try:
            with rescue(clean):
                new.mkdir()
                yield new
                if folder.exists():
                    folder.rename(old)
                new.rename(folder)
        finally:
            clean()


def _one_of(folder: Path, new: Path, old: Path) -> None:
    """Leaves the finished folder or the one before it, and nothing beside it."""
    # Renamed first: half removed, it must not become the finished folder in another thread,
    # which may also begin it anew.
    gone = new.with_name(new.name.removesuffix("-new") + "-gone")
    for _ in range(3):
        with contextlib.suppress(OSError):
            new.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def require_writable(folder: Path) -> None:
    """Refuses a folder in which no files can be made.

    Args:
      folder: the folder; if it is missing, the nearest existing folder above it is tried.

    Raises:
      InputError: no file can be made there.
    """
    while not folder.exists():
        folder = folder.parent
    # Permission bits do not tell (root, read-only and special file systems): trying does.
    trial = folder / f".{uuid.uuid4().hex[:8]}-new"
    try:
        with rescue(trial.rmdir):
            trial.mkdir()
            trial.rmdir()
    except OSError as error:
        raise InputError(f"nothing can be written in {folder}: {error.strerror}") from error


def require_new_file(path: str | os.PathLike) -> None:
    """Refuses a path where no new file can be written; for use before long work.

    Raises:
      InputError: the file exists, or no file can be made in its folder.
    """
    path = local_path(path)
    if os.path.lexists(path):
        raise InputError(f"{path} exists already; choose another path, or remove the file")
    require_writable(path.resolve().parent)
