"""Reads any image as uint8 RGB pixels, or says in one line why it cannot be read."""

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from eagle_jax.errors import InputError, reason

_MAX_PIXELS = 100_000_000

ImageSource = str | os.PathLike | Image.Image | np.ndarray
"""A path of an image file, a PIL image or an array of pixels."""


def read_image(source: ImageSource) -> UInt8[np.ndarray, "H W 3"]:
    """Reads an image as uint8 RGB pixels.

    EXIF rotation is applied, and transparent pixels are composited on white, as in the
    published image processors. 16-bit images are scaled to 8 bits. An animation gives its
    first frame.

    Args:
      source: path of an image file, a PIL image, or an array: (H, W), (H, W, 1), (H, W, 3) or
        (H, W, 4) in uint8 (0 to 255), uint16 (0 to 65535) or floating point (0 to 1).

    Returns:
      uint8 (H, W, 3) pixels.

    Raises:
      InputError: the file is missing, empty, damaged or not an image, the image has no pixels
        or more than 100 million, or the array has another shape, type or range.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, f"array of shape {source.shape}")
    if isinstance(source, Image.Image):
        return _from_pil(source, f"PIL image of mode {source.mode}")
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"cannot read an image from {type(source).__name__}; "
            "give a path, a PIL image or an array"
        )
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such image file")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not an image file")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the image file is empty")
        # Pillow warns about sizes (checked below) and about harmless flaws in metadata.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return _from_pil(image, str(path))
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(str(path), "the image has far")) from None
    except Image.UnidentifiedImageError:
        raise InputError(f"{path}: not an image file that Pillow can read") from None
    # Pillow's decoders raise nearly any error on damaged bytes: SyntaxError, struct.error, ...
    except Exception as error:
        raise InputError(f"{path}: cannot read the image: {reason(error)}") from None


def _from_pil(image: Image.Image, name: str) -> np.ndarray:
    width, height = image.size
    _check_size(height, width, name)
    try:
        image = ImageOps.exif_transpose(image)
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
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name}: cannot read the image: {reason(error)}") from None


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
        return _from_pil(Image.fromarray(np.ascontiguousarray(array), "RGBA"), name)
    return np.array(np.broadcast_to(array, (*array.shape[:2], 3)))


def _check_size(height: int, width: int, name: str) -> None:
    if height < 1 or width < 1:
        raise InputError(f"{name}: the image has no pixels ({width} x {height})")
    if height * width > _MAX_PIXELS:
        raise InputError(_too_large(name, f"{width} x {height} pixels are"))


def _too_large(name: str, size: str) -> str:
    return f"{name}: {size} more than {_MAX_PIXELS // 10**6} megapixels; use a smaller image"
