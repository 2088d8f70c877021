import sys

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from eagle_jax.errors import InputError
from eagle_jax.inputs.regions import further_partitions, segment


def scene(height, width, seed=0):
    y, x = np.mgrid[:height, :width]
    image = np.stack(
        [x * 255 // width, y * 255 // height, (x // 9 + y // 7) % 2 * 200], axis=-1
    )
    return (
        (image + np.random.default_rng(seed).integers(0, 40, image.shape))
        .clip(0, 255)
        .astype(np.uint8)
    )


def check_labels(labels, image):
    assert labels.dtype == np.int32
    assert labels.shape == image.shape[:2]
    numbers = np.unique(labels)
    np.testing.assert_array_equal(numbers, np.arange(len(numbers)))
    return len(numbers)


@pytest.mark.parametrize(
    ("shape", "count"), [((168, 168), 64), ((120, 160), 36), ((90, 31), 16)]
)
def test_slico_gives_about_the_number_asked_for(shape, count):
    image = scene(*shape)
    labels = segment(image, count)
    assert 0.8 * count <= check_labels(labels, image) <= 1.2 * count
    assert all(
        label(labels == region, connectivity=2).max() == 1 for region in range(labels.max() + 1)
    )
    np.testing.assert_array_equal(segment(image, f"slico:{count}"), labels)
    np.testing.assert_array_equal(segment(image.copy(), str(count)), labels)


def test_slico_follows_edges():
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 37:] = 255
    labels = segment(image, 9)
    assert not set(np.unique(labels[:, :37])) & set(np.unique(labels[:, 37:]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (2, 2), (40, 50)])
@pytest.mark.parametrize("count", [1, 4])
def test_slico_of_one_colour_and_few_pixels(shape, count):
    image = np.full((*shape, 3), 77, np.uint8)
    if count > shape[0] * shape[1]:
        with pytest.raises(InputError, match="4 regions requested, but .* 1 x 1 pixels"):
            segment(image, count)
    else:
        check_labels(segment(image, count), image)


def test_every_pixel_can_be_a_region():
    image = scene(5, 6)
    assert check_labels(segment(image, "grid:5x6"), image) == 30
    assert check_labels(segment(image, "grid:30"), image) == 30
    check_labels(segment(image, 30), image)


def test_grid_cells_are_equal_and_in_reading_order():
    labels = segment(scene(40, 80), "grid:2x4")
    np.testing.assert_array_equal(labels[::20, ::20], [[0, 1, 2, 3], [4, 5, 6, 7]])
    assert np.all(np.bincount(labels.ravel()) == 400)
    assert segment(scene(168, 168), "grid:64").max() == 63
    uneven = segment(scene(7, 10), "grid:3x4")
    assert check_labels(uneven, scene(7, 10)) == 12
    assert set(np.bincount(uneven.ravel())) <= {4, 6, 9}


def test_a_label_map_is_made_contiguous_in_order_of_label():
    image = scene(2, 3)
    own = np.array([[70, -5, 9], [9, 70, 70]], np.int64)
    np.testing.assert_array_equal(segment(image, own), [[2, 0, 1], [1, 2, 2]])


def test_a_label_map_of_wrong_shape_or_type():
    image = scene(20, 30)
    with pytest.raises(InputError, match=r"shape \(30, 20\), but the image has \(20, 30\)"):
        segment(image, np.zeros((30, 20), np.int32))
    with pytest.raises(InputError, match="integers, not float64"):
        segment(image, np.zeros((20, 30)))


@pytest.mark.parametrize(
    "regions",
    [
        "",
        "slico",
        "slico:",
        "slico:0",
        "slico:-3",
        "voronoi:9",
        "grid:8x",
        "grid:0x3",
        "8x8",
        0,
        -1,
    ],
)
def test_unknown_forms_are_refused(regions):
    with pytest.raises(InputError, match="it must be a number"):
        segment(scene(40, 40), regions)


@pytest.mark.parametrize("regions", [101, "grid:101", "slico:101", "opencv:101"])
def test_more_regions_than_pixels(regions):
    with pytest.raises(InputError, match="101 regions requested, but .* 10 x 10 pixels"):
        segment(scene(10, 10), regions)
    with pytest.raises(InputError, match="11 rows"):
        segment(scene(10, 10), "grid:11x2")


def test_missing_opencv_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="opencv-contrib-python-headless"):
        segment(scene(20, 20), "opencv:4")


@pytest.mark.parametrize(
    ("shape", "count"),
    [((480, 640), 63), ((640, 480), 59), ((427, 640), 67), ((224, 224), 60), ((333, 500), 67)],
)
def test_opencv_reproduces_the_published_counts(shape, count):
    pytest.importorskip("cv2.ximgproc", reason="needs the opencv extra", exc_type=ImportError)
    image = scene(*shape)
    assert check_labels(segment(image, "opencv:64"), image) == count


def test_a_large_image_is_divided_on_a_shrunk_copy():
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (25, 35, 3), np.uint8)
    image = np.kron(tiles, np.ones((32, 32, 1), np.uint8))
    labels = segment(image, 30)
    assert labels.shape == image.shape[:2]
    assert set(np.unique(labels)) == set(range(labels.max() + 1))
    assert 20 <= labels.max() + 1 <= 45
    # 160,000 pixels, each the mean of an area of the image, or a little less than one.
    shrunk = Image.fromarray(image).resize((473, 338), Image.Resampling.BOX)
    small = segment(np.asarray(shrunk), 30)
    rows, columns = np.arange(800) * 338 // 800, np.arange(1120) * 473 // 1120
    np.testing.assert_array_equal(labels, small[rows[:, None], columns])
    # An image of 640 x 480 pixels is divided as it is.
    image = image[:480, :640]
    assert not np.array_equal(segment(image, 30)[::2], segment(image, 30)[1::2])


def test_a_region_of_a_large_image_keeps_some_pixels():
    image = np.random.default_rng(0).integers(0, 256, (1000, 600, 3), np.uint8)
    count = segment(image, 4000).max() + 1
    assert 3500 <= count <= 4500


@pytest.mark.parametrize("shape", [(168, 168), (90, 31), (1, 7), (3, 2), (5, 7)])
def test_a_shifted_grid_has_halves_at_the_borders(shape):
    image = scene(*shape)
    count = min(36, image.shape[0] * image.shape[1])
    labels = segment(image, f"shifted:{count}")
    cells = segment(image, f"grid:{count}").max() + 1
    assert cells / 2 < check_labels(labels, image) <= cells
    if shape == (168, 168):
        widths = np.diff(np.flatnonzero(np.diff(labels[0], prepend=-1, append=-1)))
        np.testing.assert_array_equal(widths, [17, 34, 33, 34, 34, 16])
        np.testing.assert_array_equal(labels // 6, (labels % 6).T)


def test_further_partitions_differ_in_size_and_place():
    image = scene(120, 160)
    first = segment(image, 36)
    maps = further_partitions(image, first, 5)
    counts = [check_labels(labels, image) for labels in maps]
    wanted = np.array([4 / 3, 1, 2 / 3, 2 / 3]) * (first.max() + 1)
    np.testing.assert_allclose(counts, wanted, rtol=0.2)
    for fewer in range(1, 5):
        again = further_partitions(image, first, fewer)
        assert len(again) == fewer - 1
        assert all(np.array_equal(*pair) for pair in zip(again, maps, strict=False))
    grid = segment(image, "grid:6x6")
    (_, shifted) = further_partitions(image, grid, 3)
    cells = len(np.unique(36 * grid.astype(int) + shifted))
    assert cells > 100, "the grids lie on each other"
    tiny = further_partitions(scene(1, 1), np.zeros((1, 1), np.int32), 5)
    assert [labels.tolist() for labels in tiny] == [[[0]]] * 4
