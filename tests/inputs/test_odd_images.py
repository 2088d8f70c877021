"""Images as people have them: each gives the right pixels, or a line that tells what to do."""

import base64
import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import image_sizes, read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "JPEG": {"quality": 95}}
XMP = b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'


def encoded(form, image=PICTURE, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def exif_block(orientation=6):
    exif = Image.Exif()
    exif[0x010E] = "a description of more than four letters"
    exif[0x0112] = orientation
    exif[0x011A] = 72.0
    exif.get_ifd(0x8769)[0x9003] = "2024:01:01 00:00:00"
    return exif.tobytes()


EXIF = exif_block()


def chunk(name, data, crc=None):
    crc = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


def png_with(*chunks):
    """A PNG file with chunks behind its header, 33 bytes."""
    data = encoded("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def jpeg_with(*segments):
    """A JPEG file with segments behind its JFIF header, 20 bytes."""
    data = encoded("JPEG", quality=95)
    return data[:20] + b"".join(segments) + data[20:]


def segment(marker, data):
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def in_exif(data, offset, change):
    """A file whose EXIF block is changed from an offset behind its byte order on."""
    at = data.index(EXIF[6:]) + offset
    return data[:at] + change + data[at + len(change) :]


def webp_with(name, data):
    """A lossless WebP file in the extended format with another chunk."""
    whole = encoded("WEBP", lossless=True, exif=EXIF)
    body = whole[12:] + name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


DEEP_TEXT = zlib.compress(bytes(2_000_000))
# Files that hold PIXELS; True where they are turned by 90 degrees.
FILES = {
    "text chunk that unpacks to megabytes.png": (
        png_with(chunk(b"zTXt", b"Comment\0\0" + DEEP_TEXT)),
        False,
    ),
    "international text that unpacks to megabytes.png": (
        png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + DEEP_TEXT)),
        False,
    ),
    "one hundred large texts.png": (
        png_with(*[chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10**6)))] * 70),
        False,
    ),
    "huge text beside an orientation.png": (
        png_with(chunk(b"zTXt", b"Comment\0\0" + DEEP_TEXT), chunk(b"eXIf", EXIF[6:])),
        True,
    ),
    "text with a wrong checksum.png": (png_with(chunk(b"tEXt", b"Comment\0x", crc=1)), False),
    "profile of another compression.png": (
        png_with(chunk(b"iCCP", b"ICC\0\7" + zlib.compress(b"x"))),
        False,
    ),
    "profile that does not unpack.png": (png_with(chunk(b"iCCP", b"ICC\0\0nothing")), False),
    "profile cut before its name ends.png": (png_with(chunk(b"iCCP", b"ICC")), False),
    "density of three bytes.png": (png_with(chunk(b"pHYs", b"\0\0\0")), False),
    "gamma of one byte.png": (png_with(chunk(b"gAMA", b"\0")), False),
    "primaries of one byte.png": (png_with(chunk(b"cHRM", b"\0")), False),
    "animation without its length.png": (png_with(chunk(b"acTL", b"\0")), False),
    "EXIF that is no EXIF.png": (png_with(chunk(b"eXIf", b"nothing of the kind")), False),
    "EXIF.png": (png_with(chunk(b"eXIf", EXIF[6:])), True),
    "XMP orientation.png": (
        png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        True,
    ),
    "EXIF.jpg": (jpeg_with(segment(0xE1, EXIF)), True),
    "EXIF that is no EXIF.jpg": (jpeg_with(segment(0xE1, b"Exif\0\0nothing")), False),
    "EXIF of no bytes.jpg": (jpeg_with(segment(0xE1, b"Exif\0\0")), False),
    # Pillow reads the entries in front of the damage, and transformers with it.
    "EXIF cut in its texts.jpg": (jpeg_with(segment(0xE1, EXIF[:60])), False),
    "EXIF of another byte order.jpg": (
        in_exif(jpeg_with(segment(0xE1, EXIF)), 0, b"XX"),
        False,
    ),
    "EXIF with entries of no type.jpg": (
        in_exif(jpeg_with(segment(0xE1, EXIF)), 12, b"\xff\xff"),
        True,
    ),
    "EXIF that begins behind its end.jpg": (
        in_exif(jpeg_with(segment(0xE1, EXIF)), 4, b"\xff\xff\xff\xff"),
        False,
    ),
    "EXIF twice.jpg": (jpeg_with(segment(0xE1, EXIF), segment(0xE1, EXIF)), True),
    "orientation of none.jpg": (jpeg_with(segment(0xE1, exif_block(0))), False),
    "orientation of nine.jpg": (jpeg_with(segment(0xE1, exif_block(9))), False),
    "XMP orientation.jpg": (
        jpeg_with(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
        True,
    ),
    "profile whose parts are missing.jpg": (
        jpeg_with(segment(0xE2, b"ICC_PROFILE\0\3\7nothing")),
        False,
    ),
    "Photoshop's block cut.jpg": (jpeg_with(segment(0xED, b"Photoshop 3.0\08BIM\4")), False),
    "further frames that are missing.jpg": (jpeg_with(segment(0xE2, b"MPF\0II*\0\xff")), False),
    "frames of odd types.jpg": (
        jpeg_with(segment(0xE2, b"MPF\0MM\0*\0\0\0\10\0\1\xb0\1\0\7\0\0\0\4abcd\0\0\0\0")),
        False,
    ),
    "FlashPix cut.jpg": (jpeg_with(segment(0xE2, b"FPXR\0")), False),
    "comment.jpg": (jpeg_with(segment(0xFE, b"\xff" * 60_000)), False),
    "bytes that fill up.jpg": (jpeg_with(b"\xff\xff", segment(0xFE, b"x")), False),
    "EXIF.webp": (encoded("WEBP", lossless=True, exif=EXIF), True),
    "EXIF that is no EXIF.webp": (
        in_exif(encoded("WEBP", lossless=True, exif=EXIF), 0, b"nothing"),
        False,
    ),
    "profile of nonsense.webp": (
        encoded("WEBP", lossless=True, icc_profile=b"nonsense"),
        False,
    ),
    "XMP twice.webp": (webp_with(b"XMP ", b"x"), True),
    "EXIF.tif": (encoded("TIFF", exif=EXIF), True),
    "profile of nonsense.tif": (encoded("TIFF", icc_profile=b"nonsense"), False),
    "JPEG called.png": (encoded("JPEG", quality=95), False),
    "PNG called.gif": (encoded("PNG"), False),
    "PNG called.txt": (encoded("PNG"), False),
    "without a name's end": (encoded("BMP"), False),
    "two frames.webp": (
        encoded(
            "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (36, 24))]
        ),
        False,
    ),
    "two frames.png": (
        encoded("PNG", save_all=True, append_images=[Image.new("RGB", (36, 24))]),
        False,
    ),
    "two pages.tif": (
        encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (36, 24))]),
        False,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_metadata_never_decides_whether_an_image_can_be_read(name, tmp_path):
    data, turned = FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    expected = PIXELS
    if name.endswith(".jpg") or "JPEG" in name:
        expected = np.asarray(Image.open(io.BytesIO(encoded("JPEG", quality=95))))
    pixels = read_image(path)
    np.testing.assert_array_equal(pixels, np.rot90(expected, -1) if turned else expected)
    as_read = (24, 36) if turned else (36, 24)
    assert image_sizes(path) == (as_read, (36, 24))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", [*LOSSLESS, "AVIF"])
def test_every_orientation_is_that_of_pillow(form, orientation, tmp_path):
    from PIL import ImageOps

    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = LOSSLESS.get(form, {"quality": 90})
    data = encoded(form, exif=exif_block(orientation), **options)
    (tmp_path / "a").write_bytes(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image(tmp_path / "a"), np.asarray(upright))
    assert image_sizes(tmp_path / "a") == (upright.size, (36, 24))


def test_damaged_exif_of_avif(tmp_path):
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encoded("AVIF", quality=90, exif=exif_block(1))
    expected = np.asarray(Image.open(io.BytesIO(data)))
    at = data.index(EXIF[6:14])
    (tmp_path / "a.avif").write_bytes(data[:at] + b"nothing!" + data[at + 8 :])
    np.testing.assert_array_equal(read_image(tmp_path / "a.avif"), expected)


def test_any_damage_to_exif_leaves_the_pixels(tmp_path):
    random = np.random.default_rng(0)
    path = tmp_path / "a"
    for form, options in LOSSLESS.items():
        whole = encoded(form, exif=EXIF, **options)
        path.write_bytes(whole)
        turned = read_image(path)
        outcomes = [turned, np.rot90(turned, 1), np.rot90(turned, 2), np.rot90(turned, 3)]
        outcomes += [np.fliplr(each) for each in outcomes]
        if form == "TIFF":
            continue  # its pixels are found by the same block
        for _ in range(60):
            places = random.integers(6, len(EXIF) - 6, random.integers(1, 6))
            data = bytearray(whole)
            for at in data.index(EXIF[6:]) + places:
                data[at] = random.integers(0, 256)
            path.write_bytes(data)
            pixels = read_image(path)
            assert any(np.array_equal(pixels, each) for each in outcomes)


def test_adobe_files_keep_their_colours(tmp_path):
    """The block that says how colours are stored is no metadata."""
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    data = encoded("JPEG", flat, quality=100)
    # Pillow writes Adobe's block; a damaged EXIF block makes it read without metadata.
    assert b"Adobe" in data
    broken = data[:2] + segment(0xE2, b"MPF\0II*\0\xff") + data[2:]
    for name, content in {"a.jpg": data, "b.jpg": broken}.items():
        (tmp_path / name).write_bytes(content)
        red = np.full((16, 16, 3), (255, 0, 0))
        np.testing.assert_allclose(read_image(tmp_path / name), red, atol=3)


def test_palettes_with_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    for transparency, expected in {
        0: [[255, 255, 255], [0, 255, 0]],
        b"\x00\xff": [[255, 255, 255], [0, 255, 0]],
        b"\xff\x80": [[255, 0, 0], [127, 255, 127]],
    }.items():
        image.save(tmp_path / "a.png", transparency=transparency)
        assert read_image(tmp_path / "a.png").tolist() == [expected]


def test_first_frame_of_a_gif_with_a_transparent_colour(tmp_path):
    first = Image.new("P", (3, 2), 1)
    first.putpalette([0, 0, 0, 10, 20, 30])
    first.save(
        tmp_path / "a.gif",
        save_all=True,
        append_images=[Image.new("P", (3, 2))],
        transparency=0,
    )
    assert (read_image(tmp_path / "a.gif") == (10, 20, 30)).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_a_file_of_one_pixel(form, tmp_path):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    (tmp_path / "a").write_bytes(encoded(form, Image.new("RGB", (1, 1), (9, 99, 199))))
    pixels = read_image(tmp_path / "a").astype(int)
    assert pixels.shape == (1, 1, 3) and abs(pixels - [9, 99, 199]).max() <= 8


def line(act):
    with pytest.raises(InputError) as caught:
        act()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400
    return text


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_truncated_files_are_named_as_such(form, tmp_path):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encoded(form)
    for tenth in range(1, 10):
        (tmp_path / "a").write_bytes(data[: len(data) * tenth // 10])
        assert "truncated" in line(lambda: read_image(tmp_path / "a"))


HEADER = b"\0\0\0\x18ftyp"
OTHERS = {
    "photo.jpg": (HEADER + b"heic\0\0\0\0mif1heic" + bytes(400), "HEIC"),
    "photo.heif": (HEADER + b"mif1\0\0\0\0mif1heic" + bytes(400), "HEIC"),
    "photo.avif": (HEADER + b"avif\0\0\0\0mif1avif" + bytes(400), "AVIF"),
    "clip.mp4": (HEADER + b"isom\0\0\0\0mp41isom" + bytes(400), "is a video"),
    "scan.png": (b"%PDF-1.7\n" + bytes(400), "is a PDF"),
    "photo.jxl": (b"\xff\x0a" + bytes(400), "is a JPEG XL image"),
    "page.jpg": (b"\n <!DOCTYPE html><html></html>", "is a web page"),
    "drawing.png": (b"<?xml version='1.0'?><svg></svg>", "is an SVG drawing"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
    "array.npy": (b"\x93NUMPY\1\0" + bytes(400), "numpy.load"),
    "text.png": (b"hello world", "not an image file"),
    "json.png": (b'{"image": 1}', "not an image file"),
    "one byte.png": (b"\x89", "not an image file"),
    "empty.jpg": (b"", "is empty"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named_as_what_they_are(name, tmp_path):
    content, message = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    text = line(lambda: read_image(tmp_path / name))
    assert message in text and name in text
    line(lambda: image_sizes(tmp_path / name))


def test_heic_photos_are_read_where_pillow_heif_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = exif_block()
    stream = io.BytesIO()
    photo = pillow_heif.from_pillow(Image.new("RGB", (80, 48), (200, 30, 30)))
    photo.save(stream, quality=100, exif=exif)
    (tmp_path / "photo.jpg").write_bytes(stream.getvalue())
    pixels = read_image(tmp_path / "photo.jpg").astype(int)
    assert pixels.shape == (80, 48, 3)
    assert abs(pixels - [200, 30, 30]).max() <= 3
    assert image_sizes(tmp_path / "photo.jpg") == ((48, 80), (80, 48))


def test_folders_pipes_and_devices_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink(tmp_path / "loop.png", tmp_path / "loop.png")
    os.symlink(tmp_path / "gone", tmp_path / "broken.png")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "pipe.png": "is a pipe or a device",
        "/dev/zero": "is a pipe or a device",
        "/dev/null": "is a pipe or a device",
        tmp_path / "loop.png": "cannot read the image",
        tmp_path / "broken.png": "no such image file",
        tmp_path / "pipe.png" / "a.png": "no such image file",
    }
    for path, message in cases.items():
        assert message in line(lambda path=path: read_image(path))


def test_data_uris(tmp_path):
    data = encoded("PNG")
    text = base64.b64encode(data).decode()
    for uri in (
        f"data:image/png;base64,{text}",
        f"DATA:image/jpeg;charset=utf-8;base64,{text}",
        f"data:;base64,{text.rstrip('=')}",
        f"data:image/png;base64,{text[:50]}\n{text[50:]}",
        f"data:image/png;base64,{text.replace('+', '-').replace('/', '_')}",
        f"data:image/png;base64,{text.replace('+', '%2B').replace('=', '%3D')}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in data),
    ):
        np.testing.assert_array_equal(read_image(uri), PIXELS)
    long = "A" * 5000
    for uri, message in {
        f"data:image/png;base64,{long}": "not an image file",
        "data:image/png;base64,": "holds no data",
        "data:image/png;base64": "no comma",
        "data:image/png;base64,@@@@": "is damaged",
        "data:image/png;base64,é": "is damaged",
        f"data:image/png;base64,{text[:100]}": "truncated",
    }.items():
        assert message in line(lambda uri=uri: read_image(uri))


def test_the_largest_text_of_pillow_is_what_these_files_exceed():
    assert PngImagePlugin.MAX_TEXT_CHUNK < 2_000_000
    assert PngImagePlugin.MAX_TEXT_MEMORY < 70_000_000
