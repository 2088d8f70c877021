"""Files and folders written all or nothing, and where the package keeps its own."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from eagle_jax.errors import InputError, one_line

DEMO = Path(__file__).parent / "demo"
"""What comes with the package for its demo: a checkpoint, a picture, a list of mistakes."""


def write_file(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes a file all or nothing, in place of what was there; text as UTF-8.

    Args:
      path: of the file; its folder is made if missing, with its parents.
      content: text, or bytes.

    Raises:
      InputError: the file system refuses, or the text is no valid Unicode.
    """
    with one_line(f"cannot write {path}", OSError, UnicodeEncodeError):
        content = content.encode("utf-8") if isinstance(content, str) else content
        path = Path(path).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}-new")
        try:
            new.write_bytes(content)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


def write_folder(folder: str | os.PathLike, files: Mapping[str, bytes]) -> None:
    """Writes a folder of files all or nothing, in place of what it held before.

    Args:
      folder: made if missing, with its parents.
      files: content of each file by name.

    Raises:
      InputError: the file system refuses.
    """
    with new_folder(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)


@contextlib.contextmanager
def new_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """A folder to be filled, which takes its place at the end, and not after an error.

    Args:
      folder: made if missing, with its parents; what it held before is replaced.

    Yields:
      An empty folder beside it.

    Raises:
      InputError: the file system refuses.
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
    """Raises unless files can be made in a folder, or in the nearest one above that exists.

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


def require_new_file(path: str | os.PathLike) -> None:
    """Raises unless a new file can be written there; worth asking before long work.

    Raises:
      InputError: the file exists, or its folder cannot be written to.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} exists already; choose a new file, or remove it")
    require_writable(Path(path).resolve().parent)
