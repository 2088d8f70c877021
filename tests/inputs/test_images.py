import io
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import read_image

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def encoded(image, form, **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def written(path, data):
    path.write_bytes(data)
    return path


def test_paths_images_and_arrays_agree(tmp_path):
    image = Image.fromarray(PIXELS)
    path = written(tmp_path / "a.png", encoded(image, "PNG"))
    for source in (path, str(path), image, PIXELS):
        pixels = read_image(source)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, PIXELS)
    assert read_image(PIXELS) is not PIXELS


def test_grey_palette_and_cmyk_files(tmp_path):
    image = Image.fromarray(PIXELS)
    grey = read_image(written(tmp_path / "g.png", encoded(image.convert("L"), "PNG")))
    np.testing.assert_array_equal(grey, np.asarray(image.convert("L"))[:, :, None].repeat(3, 2))
    palette = image.quantize(16)
    read = read_image(written(tmp_path / "p.png", encoded(palette, "PNG")))
    np.testing.assert_array_equal(read, np.asarray(palette.convert("RGB")))
    bits = read_image(written(tmp_path / "b.png", encoded(image.convert("1"), "PNG")))
    assert set(np.unique(bits)) == {0, 255}
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    read = read_image(written(tmp_path / "c.jpg", encoded(flat, "JPEG", quality=100)))
    np.testing.assert_allclose(read, np.full((16, 16, 3), (255, 0, 0)), atol=3)


def test_transparency_is_composited_on_white_as_the_published_processor_does(tmp_path):
    from transformers.image_transforms import convert_to_rgb

    alpha = np.random.default_rng(1).integers(0, 256, (6, 9, 1), np.uint8)
    rgba = np.concatenate([PIXELS, alpha], axis=2)
    image = Image.fromarray(rgba)
    expected = convert_to_rgb(image, return_numpy=True)
    path = written(tmp_path / "a.png", encoded(image, "PNG"))
    for source in (path, image, rgba):
        np.testing.assert_array_equal(read_image(source), expected)
    clear = written(tmp_path / "t.png", encoded(Image.new("P", (2, 2)), "PNG", transparency=0))
    assert (read_image(clear) == 255).all()
    assert (read_image(Image.new("LA", (2, 2), (0, 0))) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]], np.uint16)
    expected = np.round(values / 257).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    image = Image.fromarray(values)
    for form in ("PNG", "TIFF", "PPM"):
        path = written(tmp_path / f"a.{form}", encoded(image, form))
        np.testing.assert_array_equal(read_image(path), expected, err_msg=form)
    for source in (values, image, image.convert("I")):
        np.testing.assert_array_equal(read_image(source), expected)
    with pytest.raises(InputError, match="32-bit values"):
        read_image(Image.fromarray(np.full((2, 2), 70000, np.int32)))


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path / "a.png", encoded(Image.fromarray(PIXELS), "PNG", exif=exif))
    np.testing.assert_array_equal(read_image(path), np.rot90(PIXELS, -1))
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(image), np.rot90(PIXELS, -1))


def test_float_and_grey_arrays():
    unit = np.array([[0.0, 0.5, 1.0]])
    np.testing.assert_array_equal(read_image(unit)[0, :, 0], [0, 128, 255])
    assert read_image(unit[:, :, None].astype(np.float32)).shape == (1, 3, 3)
    assert read_image(PIXELS[:, :, 0]).shape == PIXELS.shape


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"shape \(3, 20, 30\): it must be \(H, W\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (np.full((2, 2), 200.0), "0 to 1"),
        (np.full((2, 2), np.nan), "0 to 1"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.broadcast_to(np.uint8(0), (10001, 10000)), "100 megapixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arrays_are_refused(array, message):
    with pytest.raises(InputError, match=message):
        read_image(array)


def test_bad_files_are_named(tmp_path):
    good = encoded(Image.fromarray(PIXELS), "PNG")
    cases = [
        (tmp_path / "missing.png", "no such image file"),
        (tmp_path, "is a folder"),
        (written(tmp_path / "empty.png", b""), "is empty"),
        (written(tmp_path / "text.png", b"hello world"), "not an image file"),
        (written(tmp_path / "cut.png", good[:60]), "cannot read the image"),
    ]
    for path, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", [10_001, 12_000, 60_000])
def test_decompression_bombs_are_refused_before_decoding(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    good = encoded(Image.fromarray(PIXELS), "PNG")
    # The checksum of the header must fit its new content.
    import zlib

    chunk = b"IHDR" + header
    data = good[:12] + chunk + struct.pack(">I", zlib.crc32(chunk)) + good[33:]
    with pytest.raises(InputError, match="100 megapixels"):
        read_image(written(tmp_path / "bomb.png", data))


def test_one_pixel_image(tmp_path):
    path = written(tmp_path / "a.png", encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    np.testing.assert_array_equal(read_image(path), [[[1, 2, 3]]])


EXIF = Image.Exif()
EXIF[0x0112] = 3
EXIF[0x010E] = "a description"
FILES = [
    encoded(Image.fromarray(PIXELS), "PNG", exif=EXIF),
    encoded(Image.fromarray(PIXELS).quantize(8), "PNG", transparency=2),
    encoded(Image.fromarray(PIXELS), "JPEG", exif=EXIF),
    encoded(Image.fromarray(PIXELS), "JPEG", progressive=True),
    encoded(Image.fromarray(PIXELS), "GIF"),
    encoded(Image.fromarray(PIXELS), "TIFF"),
    encoded(Image.fromarray(PIXELS), "WEBP"),
]


@settings(max_examples=300, deadline=None)
@given(
    data=st.sampled_from(FILES),
    cut=st.integers(0, 400),
    edits=st.lists(
        st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=4
    ),
)
def test_damaged_files_work_or_give_one_line(tmp_path_factory, data, cut, edits):
    for position, replacement in edits:
        position %= len(data)
        data = data[:position] + replacement + data[position + len(replacement) :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[: len(data) - cut] if cut < len(data) and cut % 2 else data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            pixels = read_image(path)
        except InputError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)
        else:
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
