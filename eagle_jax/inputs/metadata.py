"""Image files without their metadata, and the orientation that damaged metadata still tells."""

import re
import struct
from collections.abc import Iterator

_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
# What is needed for the pixels of the first frame.
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_WEBP_METADATA = (b"EXIF", b"XMP ", b"ICCP")
_WEBP_FLAGS = 0x20 | 0x08 | 0x04
# The entry of an EXIF block among the items of an AVIF or HEIC file.
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)


def without_metadata(content: bytes) -> tuple[bytes, int]:
    """The pixels of an image file alone, and its orientation.

    Args:
      content: content of a file. JPEG, PNG, WebP and AVIF are cut; other formats hold metadata
        that is part of their structure, and stay as they are.

    Returns:
      Content of the file without EXIF, XMP, colour profiles, text and further frames; and the
      EXIF orientation, 1 to 8, as far as it can be read.
    """
    if content.startswith(b"\xff\xd8"):
        parts = _jpeg_parts(content)
    elif content.startswith(_PNG):
        parts = _png_parts(content)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        parts = _webp_parts(content)
    elif content[4:8] == b"ftyp":
        return _EXIF_ITEM.sub(rb"\1Skip", content), 1
    else:
        return content, 1
    kept, metadata = [], []
    for part, needed in parts:
        (kept if needed else metadata).append(part)
    return b"".join(kept), _orientation(metadata)


def exif_orientation(exif: bytes) -> int | None:
    """The orientation in an EXIF block, 1 to 8, whatever else in it is damaged.

    Args:
      exif: the block, from its byte order on or with bytes before it.
    """
    begin = re.search(rb"II\*\0|MM\0\*", exif)
    if begin is None:
        return None
    tiff = exif[begin.start() :]
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", tiff, entry)
            if tag == _ORIENTATION:
                size = {3: "H", 4: "I"}.get(kind, "H")
                (value,) = struct.unpack_from(order + size, tiff, entry + 8)
                return value if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None


def _orientation(metadata: list[bytes]) -> int:
    for part in metadata:
        if value := exif_orientation(part):
            return value
    for part in metadata:
        if found := re.search(rb'tiff:Orientation(="|>)([1-8])', part):
            return int(found[2])
    return 1


def _jpeg_parts(content: bytes) -> Iterator[tuple[bytes, bool]]:
    yield content[:2], True
    at = 2
    while at + 4 <= len(content):
        marker, (length,) = content[at + 1], struct.unpack_from(">H", content, at + 2)
        if content[at] != 0xFF or marker == 0xFF:
            # A byte that fills up, or damage that the decoder must name.
            if content[at : at + 2] != b"\xff\xff":
                break
            at += 1
            continue
        if marker == 0xDA:
            break
        part = content[at : at + 2 + length]
        # The decoder takes the colour model from JFIF and Adobe's block, if they are whole.
        needed = not (0xE0 <= marker <= 0xEF or marker == 0xFE)
        needed |= part[4:9] == b"JFIF\0" and length >= 14
        needed |= part[4:9] == b"Adobe" and length >= 14
        yield part, needed
        at += 2 + length
    yield content[at:], True


def _png_parts(content: bytes) -> Iterator[tuple[bytes, bool]]:
    yield _PNG, True
    at = len(_PNG)
    while at + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        yield content[at : at + 12 + length], name in _PNG_PIXELS
        at += 12 + length


def _webp_parts(content: bytes) -> Iterator[tuple[bytes, bool]]:
    parts, at = [], 12
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        part = content[at : at + 8 + length + length % 2]
        if name == b"VP8X" and len(part) > 8:
            part = part[:8] + bytes([part[8] & ~_WEBP_FLAGS]) + part[9:]
        parts.append((part, name not in _WEBP_METADATA))
        at += 8 + length + length % 2
    size = 4 + sum(len(part) for part, needed in parts if needed)
    yield b"RIFF" + struct.pack("<I", size) + b"WEBP", True
    yield from parts
