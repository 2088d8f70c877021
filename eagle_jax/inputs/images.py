"""Reads any image as uint8 RGB pixels, or says in one line why it cannot be read."""

import base64
import contextlib
import io
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, one_line, reason
from eagle_jax.files import local_path, shown_path
from eagle_jax.inputs.file_types import describe_file, is_heic
from eagle_jax.inputs.metadata import exif_orientation, without_metadata

_MAX_PIXELS = 100_000_000
# Metadata is cut from files up to this number of bytes, which are read into memory.
_MAX_BYTES = 500_000_000
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

ImageSource = str | os.PathLike | Image.Image | np.ndarray
"""A path of an image file, a data URI, a PIL image or an array of pixels."""


@checked
def read_image(source: ImageSource) -> UInt8[np.ndarray, "H W 3"]:
    """Reads an image as uint8 RGB pixels.

    EXIF rotation is applied, and transparent pixels are composited on white, as in the
    published image processors. 16-bit images are scaled to 8 bits. An animation gives its
    first frame. Damaged metadata does not matter; the rotation is applied if it is readable.

    Args:
      source: path of an image file (``~`` and ``file://`` are resolved), a data URI, a PIL
        image, or an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) in uint8 (0 to 255),
        uint16 (0 to 65535) or floating point (0 to 1).

    Returns:
      uint8 (H, W, 3) pixels.

    Raises:
      InputError: the file is missing, empty, damaged or not an image, the image has no pixels
        or more than 100 million, or the array has another shape, type or range; or the source
        is a URL, which is not downloaded.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, f"array of shape {source.shape}")
    if isinstance(source, Image.Image):
        name = f"PIL image of mode {source.mode}"
        with one_line(f"{name}: cannot read the image", Exception), _without_warnings():
            return _from_pil(source, None, name)
    if isinstance(source, str) and source[:5].lower() == "data:":
        return _with_image(io.BytesIO(_data_of(source)), "data URI", _from_pil)
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"cannot read an image from {type(source).__name__}; "
            "give a path, a PIL image or an array"
        )
    path = local_path(source)
    _require_file(path)
    return _with_image(path, shown_path(path), _from_pil)


def image_sizes(path: str | os.PathLike) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sizes of an image file, from its header: as `read_image` gives it, and as it is stored.

    The two differ where the EXIF orientation turns the image by 90 degrees.

    Args:
      path: path of an image file.

    Returns:
      Width and height in pixels, of the image as it is read and as it is stored.

    Raises:
      InputError: the file is missing, or its header is damaged or that of no image.
    """
    path = local_path(path)
    _require_file(path)
    return _with_image(path, shown_path(path), _sizes)


def _sizes(
    image: Image.Image, orientation: int | None, _: str
) -> tuple[tuple[int, int], tuple[int, int]]:
    width, height = image.size
    # HEIC photos come turned.
    if (image.info.get("original_orientation") or 1) >= 5:
        return (width, height), (height, width)
    if (_orientation(image) if orientation is None else orientation) < 5:
        return (width, height), (width, height)
    # Pillow turns TIFF images by itself, and reports their size turned.
    if image.format == "TIFF":
        return (width, height), (height, width)
    return (height, width), (width, height)


def _require_file(path: Path) -> None:
    name = shown_path(path)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{name}: no such image file") from None
    except OSError as error:
        raise InputError(f"{name}: cannot read the image: {error.strerror}") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name}: is a folder, not an image file")
    # Opening a pipe may wait forever, and decoders cannot go back in it.
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{name}: is a pipe or a device, not an image file; save the image first"
        )
    if status.st_size == 0:
        raise InputError(f"{name}: the image file is empty")


def _data_of(uri: str) -> bytes:
    """The bytes in a data URI."""
    kind, comma, data = uri[5:].partition(",")
    if not comma:
        raise InputError("the data URI has no comma before its data")
    try:
        content = unquote_to_bytes(data)
        if kind.lower().rstrip().endswith(";base64"):
            content = b"".join(content.translate(bytes.maketrans(b"-_", b"+/")).split())
            content = base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except ValueError as error:
        raise InputError(f"the data URI is damaged: {reason(error, 100)}") from None
    if not content:
        raise InputError("the data URI holds no data")
    return content


def _with_image(
    file: Path | io.BytesIO, name: str, use: Callable[[Image.Image, int | None, str], Any]
) -> Any:
    """What a function makes of the image in a file, without its metadata if they are damaged.

    The function gets the image, its orientation where Pillow does not know it, and the name.
    """
    # Pillow warns about sizes (checked later) and about harmless flaws in metadata.
    with _without_warnings():
        try:
            with _opened(file) as stream, Image.open(stream) as image:
                return use(image, None, name)
        except InputError:
            raise
        # Pillow's decoders raise nearly any error on damaged bytes: SyntaxError and others.
        except Exception as error:
            problem = error
        content = _content(file)
        if is_heic(content) and (photo := _heic(content, name)) is not None:
            return use(photo, None, name)
        bare, orientation = without_metadata(content)
        if bare != content and not isinstance(problem, Image.DecompressionBombError):
            try:
                with Image.open(io.BytesIO(bare)) as image:
                    return use(image, orientation, name)
            except InputError:
                raise
            except Exception as error:
                problem = error
    raise InputError(f"{name}: {_describe(problem, content)}") from None


def _describe(problem: Exception, content: bytes) -> str:
    if isinstance(problem, Image.DecompressionBombError):
        return _too_large("the image has far")
    why = reason(problem, 80)
    # How the decoders of WebP and JPEG 2000 name any damage.
    unclear = "could not create decoder" in why or "broken data stream" in why
    if isinstance(problem, Image.UnidentifiedImageError) or unclear:
        return describe_file(content)
    if "truncated" in why.lower() or isinstance(problem, EOFError):
        return "cannot read the image: the file is truncated; fetch it again"
    return f"cannot read the image: {why}"


def _heic(content: bytes, name: str) -> Image.Image | None:
    """The photo in a HEIC file; None where pillow-heif is not installed."""
    # Not registered as an opener, which would change Pillow for the whole process.
    try:
        import pillow_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    with one_line(f"{name}: cannot read the HEIC photo", Exception):
        photo = pillow_heif.open_heif(io.BytesIO(content))
        width, height = photo.size
        _check_size(height, width, name)
        return photo.to_pillow()


def _content(file: Path | io.BytesIO) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()
    with contextlib.suppress(OSError), file.open("rb") as stream:
        return stream.read(_MAX_BYTES)
    return b""


def _opened(file: Path | io.BytesIO) -> AbstractContextManager[BinaryIO]:
    # By its path Pillow would map a plain TIFF file into memory, and then not turn it.
    return contextlib.nullcontext(file) if isinstance(file, io.BytesIO) else file.open("rb")


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:
        exif = image.info.get("exif")
        orientation = exif_orientation(exif) if isinstance(exif, bytes) else None
    return orientation if orientation in _TURNS else 1


def _from_pil(image: Image.Image, orientation: int | None, name: str) -> np.ndarray:
    width, height = image.size
    _check_size(height, width, name)
    # Loaded first: some files hold their orientation behind the pixels.
    image.load()
    turn = _TURNS.get(_orientation(image) if orientation is None else orientation)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I;16"):
        # Pillow's conversion would clip at 255.
        return _from_array(np.asarray(image).astype(np.uint16), name)
    if image.mode in ("I", "F"):
        return _from_array(_narrow(np.asarray(image), name), name)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _narrow(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind == "f":
        return values
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise InputError(
            f"{name}: 32-bit values from {low} to {high}; convert the image to 8 or 16 bits"
        )
    # Mode I holds 16-bit files as well as 8-bit images that were converted to it.
    return values.astype(np.uint16 if high > 255 else np.uint8)


def _from_array(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise InputError(f"{name}: it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    _check_size(array.shape[0], array.shape[1], name)
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (array.min() >= 0 and array.max() <= 1):
            raise InputError(
                f"{name}: floating-point values must be from 0 to 1; divide them or convert "
                "the array to uint8"
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise InputError(
            f"{name}: type {array.dtype}; convert the array to uint8, or to floats from 0 to 1"
        )
    if array.shape[2] == 4:
        return _from_pil(Image.fromarray(np.ascontiguousarray(array), "RGBA"), 1, name)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)))


def _check_size(height: int, width: int, name: str) -> None:
    if height < 1 or width < 1:
        raise InputError(f"{name}: the image has no pixels ({width} x {height})")
    if height * width > _MAX_PIXELS:
        raise InputError(f"{name}: {_too_large(f'{width} x {height} pixels are')}")


def _too_large(size: str) -> str:
    return f"{size} more than {_MAX_PIXELS // 10**6} megapixels; use a smaller image"
