"""Files and folders written completely or not at all, and the folder of the demo."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, one_line

DEMO = Path(__file__).parent / "demo"
"""Folder of the bundled demo: a checkpoint, an image and a list of its mistakes."""


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
        path = Path(path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}-new")
        try:
            yield new
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


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
        folder = Path(folder).resolve()
        folder.parent.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex[:8]
        new = folder.with_name(f".{folder.name}-{mark}-new")
        old = folder.with_name(f".{folder.name}-{mark}-old")
        try:
            new.mkdir()
            yield new
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
    try:
        tempfile.TemporaryDirectory(prefix=".", dir=folder).cleanup()
    except OSError as error:
        raise InputError(f"nothing can be written in {folder}: {error.strerror}") from error


def require_new_file(path: str | os.PathLike) -> None:
    """Refuses a path where no new file can be written; for use before long work.

    Raises:
      InputError: the file exists, or no file can be made in its folder.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} exists already; choose another path, or remove the file")
    require_writable(Path(path).resolve().parent)
