"""Image files as people have them: every format and mode, with damage; and Pillow's pixels."""

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import damage
import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, features

# Format -> modes that Pillow writes, and options of which one set is chosen.
_FORMATS: dict[str, tuple[tuple[str, ...], tuple[dict[str, Any], ...]]] = {
    "PNG": (("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"), ({}, {"optimize": True})),
    "JPEG": (("L", "RGB", "CMYK", "YCbCr"), ({"quality": 90}, {"progressive": True})),
    "WEBP": (("RGB", "RGBA", "L"), ({"lossless": True}, {"quality": 50})),
    "GIF": (("1", "L", "P", "RGB", "RGBA"), ({}, {"interlace": 1})),
    "TIFF": (
        ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
        ({}, {"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}),
    ),
    "BMP": (("1", "L", "P", "RGB", "RGBA"), ({},)),
    "ICO": (("RGBA", "RGB", "L", "P"), ({}, {"bitmap_format": "bmp"})),
    "TGA": (("1", "L", "LA", "P", "RGB", "RGBA"), ({}, {"compression": "tga_rle"})),
    "JPEG2000": (("L", "LA", "RGB", "RGBA", "I;16"), ({}, {"irreversible": False})),
    "PPM": (("1", "L", "RGB", "I;16", "I", "F"), ({},)),
    "PCX": (("1", "L", "P", "RGB"), ({},)),
    "SGI": (("L", "RGB", "RGBA"), ({},)),
    "DDS": (("L", "LA", "RGB", "RGBA"), ({},)),
    "AVIF": (("RGB", "RGBA", "L"), ({"quality": 60},)),
}
_SIZES = ((36, 24), (24, 36), (1, 1), (1, 40), (40, 1), (17, 13), (64, 64))
_SUFFIXES = ("", ".jpg", ".png", ".JPEG", ".gif", ".webp", ".tif", ".txt", " (1).jpg", ".")


class Case(NamedTuple):
    """An image file.

    Attributes:
        path: The file.
        whole: Its content before the damage.
        metadata: Whether the damage is to metadata alone.
        said: Format, mode and damage.
    """

    path: Path
    whole: bytes
    metadata: bool
    said: str


def make_case(seed: int, root: Path) -> Case:
    """The image file of a seed, in an existing folder."""
    rng = random.Random(f"image {seed}")
    form = rng.choice([*_FORMATS])
    if form == "AVIF" and not features.check("avif"):
        form = "PNG"
    modes, options = _FORMATS[form]
    mode = rng.choice(modes)
    whole, extras = _encoded(rng, form, mode, rng.choice(options))
    data, said, metadata = whole, "whole", False
    if rng.random() < 0.85:
        kind = rng.choice((*["metadata"] * 3, "header", "header", "bytes"))
        if kind == "metadata" and (found := _damaged_metadata(rng, form, whole)):
            data, said, metadata = *found, True
        elif kind == "header" and (found := _damaged_header(rng, form, whole)):
            data, said = found
        elif kind == "bytes":
            data, said = damage.damaged_bytes(rng, whole)
    path = root / f"{seed}{rng.choice(_SUFFIXES)}"
    path.write_bytes(data)
    return Case(path, whole, metadata, f"{form} {mode} {extras}: {said}")


def _encoded(rng: random.Random, form: str, mode: str, options: dict) -> tuple[bytes, str]:
    size = rng.choice(_SIZES)
    images = [_image(rng, mode, size)]
    extras = dict(options)
    if form in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") and rng.random() < 0.6:
        extras["exif"] = exif_block(rng.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
    if form in ("PNG", "JPEG", "WEBP", "TIFF") and rng.random() < 0.4:
        extras["icc_profile"] = rng.choice((b"nonsense", b"\0" * 128, b"", _profile()))
    if form in ("PNG", "GIF", "TIFF", "WEBP") and rng.random() < 0.2:
        second = size if form != "TIFF" else (9, 9)
        extras |= {"save_all": True, "append_images": [_image(rng, mode, second)]}
    if mode == "P" and form in ("PNG", "GIF") and rng.random() < 0.6:
        extras["transparency"] = rng.choice((0, 3, b"\0\x80\xff") if form == "PNG" else (0, 3))
    if mode in ("L", "RGB") and form == "PNG" and rng.random() < 0.3:
        extras["transparency"] = 0 if mode == "L" else (10, 20, 30)
    if form == "PNG" and rng.random() < 0.2:
        info = PngImagePlugin.PngInfo()
        info.add_text("a", rng.choice(("x", "word " * 1000)), zip=rng.random() < 0.5)
        extras["pnginfo"] = info
    stream = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images[0].save(stream, form, **extras)
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        struct.error,
    ):  # such a file cannot be written
        stream = io.BytesIO()
        Image.new("RGB", size, (90, 60, 30)).save(stream, form)
        return stream.getvalue(), "plain"
    return stream.getvalue(), f"{size} {sorted(extras)}"


def _image(rng: random.Random, mode: str, size: tuple[int, int]) -> Image.Image:
    numbers = np.random.default_rng(rng.randrange(10**9))
    width, height = size
    if mode in ("I;16", "I", "F"):
        kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
        high = rng.choice((255, 65535)) if mode != "F" else 1
        values = numbers.random((height, width)) * high
        return Image.fromarray(values.astype(kinds[mode]))
    base = numbers.integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(base, "RGBA")
    if mode in ("1", "L", "P", "CMYK", "YCbCr", "RGB"):
        return image.convert("RGB").convert(mode)
    if mode == "LAB":
        return Image.fromarray(base[..., :3], "LAB")
    if mode == "PA":
        return image.convert("RGB").convert("P").convert("PA")
    return image.convert(mode)


def exif_block(orientation: int) -> bytes:
    """EXIF with a camera and an orientation."""
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    exif[0x0112] = orientation
    return exif.tobytes()


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _damaged_metadata(rng: random.Random, form: str, data: bytes) -> tuple[bytes, str] | None:
    at = data.find(b"Exif\0\0")
    if form == "JPEG" and rng.random() < 0.5:
        marker = rng.choice((0xE1, 0xE2, 0xE3, 0xEC, 0xED, 0xEE, 0xEF, 0xFE))
        content = rng.choice(_BLOCKS) + rng.randbytes(rng.choice((0, 1, 20, 3000)))
        block = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
        return data[:2] + block + data[2:], f"block {marker:x} {content[:12]!r}"
    if form == "PNG" and rng.random() < 0.5:
        name = rng.choice((b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"gAMA"))
        content = rng.choice(_BLOCKS) + rng.randbytes(rng.choice((0, 1, 20, 3000)))
        if name == b"zTXt" and rng.random() < 0.3:
            content = b"a\0\0" + zlib.compress(bytes(3_000_000))
        checked = rng.random() < 0.8
        return data[:33] + chunk(name, content, checked) + data[33:], f"{name} {content[:12]!r}"
    if at < 0 or form not in ("JPEG", "WEBP", "PNG"):
        return None
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8))):
        changed[at + 6 + rng.randrange(30)] = rng.randrange(256)
    return bytes(changed), "EXIF bytes"


_BLOCKS = (
    *(b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0\0\x08\0\xff", b"ICC_PROFILE\0"),
    *(b"ICC_PROFILE\0\1\1", b"MPF\0II*\0", b"Photoshop 3.0\x008BIM", b"FPXR\0"),
    *(b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta", b"a\0", b"a\0\0", b"a\0\1\0\0\0"),
)


def chunk(name: bytes, content: bytes, checked: bool = True) -> bytes:
    """A chunk of a PNG file."""
    check = zlib.crc32(name + content) if checked else 0
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _damaged_header(rng: random.Random, form: str, data: bytes) -> tuple[bytes, str] | None:
    size = rng.choice(((0, 0), (0, 5), (1, 10**9), (70000, 70000), (2**31 - 1,) * 2, (5, 5)))
    if form == "PNG" and rng.random() < 0.5:
        header = bytearray(data[16:29])
        struct.pack_into(">II", header, 0, *size)
        if rng.random() < 0.3:
            header[8 + rng.randrange(5)] = rng.randrange(20)
        return data[:8] + chunk(b"IHDR", bytes(header)) + data[33:], f"size {size}"
    if form == "BMP" and rng.random() < 0.5:
        width, height = (min(side, 2**31 - 1) for side in size)
        return data[:18] + struct.pack("<ii", width, -height) + data[26:], f"size {size}"
    if form == "GIF" and rng.random() < 0.5:
        return data[:6] + struct.pack("<HH", 65535, 65535) + data[10:], "size"
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 6))):
        changed[rng.randrange(min(len(data), 80))] = rng.choice((0, 1, 255, rng.randrange(256)))
    return bytes(changed), "header bytes"


def pillow_pixels(content: bytes) -> np.ndarray:
    """The upright RGB pixels of a file, transparent ones on white, as Pillow has them.

    Raises:
        Exception: Whatever Pillow raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            image = ImageOps.exif_transpose(image)
            if "A" in image.getbands() or image.info.get("transparency") is not None:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, (255, 255, 255, 255))
                image = Image.alpha_composite(white, image)
            if image.mode.startswith("I;16"):
                return _grey((np.asarray(image).astype(np.int64) + 128) // 257)
            if image.mode == "I":
                values = np.asarray(image)
                wide = values.max() > 255
                return _grey((values.astype(np.int64) + 128) // 257 if wide else values)
            if image.mode == "F":
                return _grey(np.round(np.asarray(image) * 255))
            return np.asarray(image.convert("RGB"))


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None].astype(np.uint8), 3, axis=2)


def turns(pixels: np.ndarray) -> list[np.ndarray]:
    """An image in all eight orientations."""
    four = [np.rot90(pixels, number) for number in range(4)]
    return four + [np.fliplr(each) for each in four]


_ARRAYS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "uint8": lambda rng, shape: rng.integers(0, 256, shape, dtype=np.uint8),
    "uint16": lambda rng, shape: rng.integers(0, 65536, shape, dtype=np.uint16),
    "int8": lambda rng, shape: rng.integers(-9, 9, shape, dtype=np.int8),
    "int64": lambda rng, shape: rng.integers(0, 256, shape),
    "bool": lambda rng, shape: rng.random(shape) < 0.5,
    "float16": lambda rng, shape: rng.random(shape).astype(np.float16),
    "float32": lambda rng, shape: rng.random(shape, dtype=np.float32),
    "float64 to 255": lambda rng, shape: rng.random(shape) * 255,
    "below zero": lambda rng, shape: rng.random(shape) - 0.1,
    "NaN": lambda rng, shape: np.full(shape, np.nan),
    "infinity": lambda rng, shape: np.full(shape, np.inf),
    "complex": lambda rng, shape: np.ones(shape, complex),
    "objects": lambda rng, shape: np.full(shape, None, object),
    "texts": lambda rng, shape: np.full(shape, "x"),
    "dates": lambda rng, shape: np.zeros(shape, "datetime64[s]"),
    "records": lambda rng, shape: np.zeros(shape, [("r", "u1")]),
    "big-endian": lambda rng, shape: rng.integers(0, 65536, shape).astype(">u2"),
    "reversed": lambda rng, shape: np.flip(rng.integers(0, 256, shape, dtype=np.uint8)),
    "read-only": lambda rng, shape: np.broadcast_to(np.uint8(7), shape),
    "masked": lambda rng, shape: np.ma.zeros(shape, np.uint8),
}
_SHAPES = (
    *((), (0,), (5,), (4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4), (4, 5, 5)),
    *((3, 4, 5), (1, 4, 5, 3), (0, 5, 3), (4, 0), (4, 0, 3), (1, 1, 3), (0, 0, 0)),
)


def make_array(seed: int) -> tuple[np.ndarray, str]:
    """The array of a seed, which may or may not be an image."""
    rng = random.Random(f"array {seed}")
    kind, shape = rng.choice([*_ARRAYS]), rng.choice(_SHAPES)
    made = _ARRAYS[kind](np.random.default_rng(seed), shape)
    return np.asanyarray(made), f"{kind} {shape}"
