"""What a file is that Pillow does not take for an image, and what to do about it."""

from PIL import features

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")
_SAVE = "save it as JPEG or PNG"
# First bytes of files.
_OTHERS = (
    (b"%PDF", f"is a PDF: {_SAVE}"),
    (b"\0\0\0\x0cJXL ", f"is a JPEG XL image, which Pillow does not read: {_SAVE}"),
    (b"\xff\x0a", f"is a JPEG XL image, which Pillow does not read: {_SAVE}"),
    (b"FUJIFILMCCD-RAW", f"is a raw photo of a camera: {_SAVE}"),
    (b"\x93NUMPY", "is a NumPy array: load it with numpy.load, and give the array"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the image: run git lfs pull"),
    (b"\x1f\x8b", "is compressed with gzip, not an image file: unpack it first"),
    (b"PK\x03\x04", "is a zip archive, not an image file: unpack it first"),
    (b"\x1aE\xdf\xa3", "is a video, not an image file: save a frame of it"),
)
# First letters of files, in any case and after blanks.
_TEXTS = (
    (b"<!doctype html", "is a web page, not an image file: download the image itself"),
    (b"<html", "is a web page, not an image file: download the image itself"),
    (b"data:image/", "holds a data URI, not an image file: give its text, or decode it"),
)
_IMAGES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\0\0\1\0", "ICO"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
)


def is_heic(content: bytes) -> bool:
    """Whether a file is a HEIC or HEIF photo, by its first bytes."""
    return content[4:8] == b"ftyp" and not _is_avif(content) and content[8:12] in _HEIC


def describe_file(content: bytes) -> str:
    """What a file is that Pillow does not take for an image, and what to do; one line.

    Args:
      content: the first bytes of the file, at least a thousand where the file has them.
    """
    if content[4:8] == b"ftyp":
        if is_heic(content):
            return f"is a HEIC photo: pip install pillow-heif, or {_SAVE}"
        if not _is_avif(content):
            return "is a video, not an image file: save a frame of it"
        if not features.check("avif"):
            return f"is an AVIF image: pip install -U pillow, or {_SAVE}"
        return _damaged("AVIF")
    for beginning, problem in _OTHERS:
        if content.startswith(beginning):
            return problem
    text = content[:1000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, problem in _TEXTS:
        if text.startswith(beginning):
            return problem
    if text.startswith(b"<") and b"<svg" in text:
        return f"is an SVG drawing, which Pillow does not read: {_SAVE}"
    for beginning, form in _IMAGES:
        if content.startswith(beginning):
            return _damaged(form)
    return "not an image file that Pillow can read"


def _damaged(form: str) -> str:
    return f"cannot read the image: the {form} file is damaged or truncated; fetch it again"


def _is_avif(content: bytes) -> bool:
    # The format has one name, and after its version the names of compatible formats.
    end = min(int.from_bytes(content[:4], "big"), 64)
    names = {content[8:12], *(content[at : at + 4] for at in range(16, end, 4))}
    return content[4:8] == b"ftyp" and not names.isdisjoint((b"avif", b"avis"))
