"""What a file is that Pillow does not take for an image, and what to do about it."""

_HEIC = (
    b"heic",
    b"heix",
    b"heim",
    b"heis",
    b"hevc",
    b"hevx",
    b"hevm",
    b"hevs",
    b"mif1",
    b"msf1",
)
_SAVE = "save it as JPEG or PNG"
# First bytes of files, after blanks in the case of text.
_BEGINNINGS = (
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
_TEXTS = (
    (b"<svg", f"is an SVG drawing, which Pillow does not read: {_SAVE}"),
    (b"<!doctype html", "is a web page, not an image file: download the image itself"),
    (b"<html", "is a web page, not an image file: download the image itself"),
    (b"data:image/", "holds a data URI, not an image file: give its text, or decode it"),
)
_IMAGES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)


def is_heic(content: bytes) -> bool:
    """Whether a file is a HEIC or HEIF photo, by its first bytes."""
    return content[4:8] == b"ftyp" and not _is_avif(content) and content[8:12] in _HEIC


def describe_file(content: bytes) -> str:
    """What a file is that Pillow does not take for an image, and what to do; one line.

    Args:
      content: the first bytes of the file, at least a few hundred where the file has them.
    """
    if is_heic(content):
        return f"is a HEIC photo: pip install pillow-heif, or {_SAVE}"
    if _is_avif(content):
        return (
            f"is an AVIF image that this Pillow cannot read: pip install -U pillow, or {_SAVE}"
        )
    if content[4:8] == b"ftyp":
        return "is a video, not an image file: save a frame of it"
    for beginning, problem in _BEGINNINGS:
        if content.startswith(beginning):
            return problem
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1000].lower()
    for word, problem in _TEXTS:
        if text.startswith(word) or (word == b"<svg" and text[:1] == b"<" and word in text):
            return problem
    webp = [(content[:4], "WebP")] if content[8:12] == b"WEBP" else []
    for beginning, form in (*_IMAGES, *webp):
        if content.startswith(beginning):
            return f"cannot read the image: the {form} file is damaged or cut short"
    return "not an image file that Pillow can read"


def _is_avif(content: bytes) -> bool:
    # The first name is that of the format; those after the version are of compatible formats.
    names = [content[8:12], *(content[at : at + 4] for at in range(16, 64, 4))]
    size = int.from_bytes(content[:4], "big")
    names = names[: max(1, (min(size, 64) - 16) // 4 + 1)]
    return content[4:8] == b"ftyp" and (b"avif" in names or b"avis" in names)
