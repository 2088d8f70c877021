"""Paths of image files as lists write them: ~, file://, backslashes, and what is no path."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from eagle_jax.errors import InputError

# Longer than any path that a file system accepts, and shorter than an encoded image.
_LONGEST = 4096
# Of "https://", an object of type Path keeps only one slash.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):(//)|(file|https?|ftp|gs|s3):/", re.IGNORECASE)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")


def local_path(text: str) -> Path:
    """The path on this machine that a text names; `~` is the home folder.

    Args:
      text: a path, or a URL that begins with "file://".

    Raises:
      InputError: the text is another URL, or an image in text form.
    """
    if text[:5].lower() == "data:":
        raise InputError(f"{_short(text)} is a data URI: write the image to a file")
    if match := _URL.match(text):
        scheme, slashes = match[1] or match[3], match[2]
        if scheme.lower() != "file":
            raise InputError(f"{_short(text)} is a URL: download it first, and give its path")
        # "file:/path" names the same file as "file:///path".
        host, slash, rest = text[match.end() :].partition("/")
        if slashes and host not in ("", "localhost"):
            raise InputError(f"{_short(text)} is a file of another machine: copy it first")
        text = unquote(slash + rest if slashes else "/" + text[match.end() :])
    return Path(os.path.expanduser(text))


def image_path(text: str, root: Path) -> Path:
    """The image file that a list names, which must exist.

    A path with backslashes is read with slashes if no file has the name as written.

    Args:
      text: the name of the file as the list writes it.
      root: folder that relative paths start from.

    Raises:
      InputError: the text is not the name of a file.
    """
    named = local_path(text)
    if len(text) > _LONGEST:
        raise InputError(
            f"{_short(text)}: no such image file; if the text is an image in base64, write the "
            "image to a file"
        )
    path = root / named
    # Not Path.is_file: it raises for names that no file can have.
    if os.path.isfile(path):
        return path
    if "\\" in text and not _WINDOWS.match(text):
        slashed = root / local_path(text.replace("\\", "/"))
        if os.path.isfile(slashed):
            return slashed
    if _WINDOWS.match(text):
        raise InputError(f"{_short(text)} is a path of Windows: give a path of this machine")
    raise InputError(f"{str(path)[-200:]}: no such image file")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."
