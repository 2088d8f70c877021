"""Damaged and odd images: each has Pillow's pixels, or is refused in a line."""

import contextlib

import damage
import damaged_images
import numpy as np
import pytest

from eagle_jax.errors import InputError
from eagle_jax.inputs.images import image_sizes, read_image


def read(path):
    """The pixels of a file and its size by its header; None for a file that is refused."""
    try:
        pixels = read_image(path)
    except InputError as error:
        damage.require_line(error, path)
        pixels = None
    try:
        size = image_sizes(path)[0]
    except InputError as error:
        damage.require_line(error, path)
        size = None
    return pixels, size


def check(case, capture):
    with damage.quietly(capture):
        pixels, size = read(case.path)
    if pixels is None:
        return
    assert size == (pixels.shape[1], pixels.shape[0])
    content = case.path.read_bytes()
    try:
        np.testing.assert_array_equal(pixels, damaged_images.pillow_pixels(content))
        return
    except AssertionError:
        raise
    except Exception:
        # Pillow gives up on metadata, which we leave out.
        assert case.metadata or pixels.size > 0
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        whole = damaged_images.pillow_pixels(case.whole) if case.metadata else pixels
        assert any(np.array_equal(pixels, turned) for turned in damaged_images.turns(whole))


@pytest.mark.parametrize("seeds", damage.blocks(600, 100), ids=str)
def test_damaged_images(seeds, tmp_path, capfd):
    for seed in seeds:
        case = damaged_images.make_case(seed, tmp_path)
        try:
            check(case, capfd)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {case.said}: {error}") from error


def test_arrays_that_are_perhaps_images():
    for seed in damage.seeds(300):
        array, said = damaged_images.make_array(seed)
        try:
            pixels = read_image(array)
        except InputError as error:
            damage.require_line(error)
        else:
            assert type(pixels) is np.ndarray and pixels.dtype == np.uint8, said
            assert pixels.shape == (*array.shape[:2], 3), said
