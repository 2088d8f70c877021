"""Paths of image files as lists write them: absent files, backslashes, and encoded images."""

import os
import re
from pathlib import Path

from eagle_jax.errors import InputError
from eagle_jax.files import local_path, shown_path

# Longer than any path that a file system accepts, and shorter than an encoded image.
_LONGEST = 4096
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]")


def image_path(text: str, root: Path) -> Path:
    """The image file that a list names, which must exist.

    A path with backslashes is read with slashes if no file has the name as written.

    Args:
      text: the name of the file as the list writes it.
      root: folder that relative paths start from.

    Raises:
      InputError: the text is not the name of a file.
    """
    # Not Path.is_file: it raises for names that no file can have.
    if text[:1] != "~" and os.path.isfile(plain := root / text):
        return plain
    if len(text) > _LONGEST and text[:5].lower() != "data:":
        raise InputError(
            f"{shown_path(text)}: no such image file; if the text is an image in base64, write "
            "the image to a file"
        )
    path = local_path(text, root)
    if os.path.isfile(path):
        return path
    if _WINDOWS.match(text):
        raise InputError(
            f"{shown_path(text)} is a path of Windows: give a path of this machine"
        )
    if "\\" in text:
        slashed = local_path(text.replace("\\", "/"), root)
        if os.path.isfile(slashed):
            return slashed
    raise InputError(f"{str(path)[-160:]}: no such image file")
