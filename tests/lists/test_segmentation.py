"""Run-length encoded masks and odd polygons, as COCO's and LVIS's tools write them."""

import json

import numpy as np
import pytest

from eagle_jax.errors import InputError
from eagle_jax.lists import Broken, Item, read_list, write_list
from eagle_jax.lists.masks import fill_runs, runs_box
from eagle_jax.lists.segmentation import decode_counts, read_segmentation

# Counts by pycocotools 2.0 of a ring around (21, 14) with radii 6 and 12, on 40 x 30 pixels.
RING = "f99c04M2N2N2NGG08MN01010NO40L040L040LO60J140L040L040L120O0O023H0992N2N2N3LZ6"


def runs_of(mask):
    """Run lengths the plain way: pixel by pixel down the columns."""
    runs, inside = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != inside:
            runs.append(0)
            inside = not inside
        runs[-1] += 1
    return tuple(runs)


def compressed(runs):
    """COCO's compressed text, after the description in its maskApi.c."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        while True:
            group, value = value & 31, value >> 5
            more = value != -1 if group & 16 else value != 0
            text += chr((group | 32 if more else group) + 48)
            if not more:
                break
    return text


@pytest.mark.parametrize("seed", range(8))
def test_runs_become_the_mask_that_they_were_made_of(seed):
    draw = np.random.default_rng(seed)
    height, width = draw.integers(1, 90, 2).tolist()
    mask = draw.random((height, width)) < draw.choice([0.002, 0.1, 0.5, 0.98])
    mask[draw.integers(height), draw.integers(width)] = True
    runs = runs_of(mask)
    assert decode_counts(compressed(runs)) == runs
    np.testing.assert_array_equal(fill_runs(runs, height, width), mask)
    rows, columns = np.nonzero(mask)
    box = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert runs_box(runs, height) == box


@pytest.mark.parametrize("seed", range(4))
def test_the_encoding_is_that_of_pycocotools(seed):
    api = pytest.importorskip("pycocotools.mask")
    draw = np.random.default_rng(seed)
    mask = draw.random((61, 47)) < 0.4
    encoded = api.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = encoded["counts"].decode()
    outline = read_segmentation({"size": encoded["size"], "counts": text})
    np.testing.assert_array_equal(fill_runs(outline.runs, 61, 47), mask)
    assert text == compressed(runs_of(mask))


@pytest.mark.parametrize("text", ["0`", "!", "é", "oooooooo0", "\x7f"])
def test_counts_that_are_no_code(text):
    with pytest.raises(InputError, match="'counts' (is not|ends)"):
        decode_counts(text)


SQUARE = [1, 1, 5, 1, 5, 5]
FLAT = ((1.0, 1.0, 5.0, 1.0, 5.0, 5.0),)


@pytest.mark.parametrize(
    "value, polygons",
    [
        (None, ()),
        ([], ()),
        ([[]], ()),
        ([SQUARE], FLAT),
        (SQUARE, FLAT),
        ([[1, 1], [5, 1], [5, 5]], FLAT),
        ([[[1, 1], [5, 1], [5, 5]]], FLAT),
        ([[3, 3, 4, 4], SQUARE, [2, 2], []], FLAT),
    ],
)
def test_polygons_in_every_spelling(value, polygons):
    assert read_segmentation(value).polygons == polygons


@pytest.mark.parametrize(
    "value, reason",
    [
        ([[1, 2, 3, 4]], "a polygon of 4 numbers"),
        ([SQUARE + [7]], "a polygon of 7 numbers"),
        ([SQUARE, ["1", 1, 5, 1, 5, 5]], "must hold lists of numbers"),
        ([SQUARE, [float("nan")] * 6], "must hold lists of numbers"),
        ("x", "must be polygons or a mask"),
        ({"counts": [4]}, "the field 'size' is missing"),
        ({"size": [2, 2]}, "the field 'counts' is missing"),
        ({"size": [2, "2"], "counts": [4]}, "'size' must hold width and height"),
        ({"size": [2, 0], "counts": [0]}, "an image has pixels"),
        ({"size": [2, 2], "counts": [1, 2]}, "holds 3 pixels, but its size is 2 x 2"),
        ({"size": [2, 2], "counts": [-1, 5]}, "'counts' holds 4 pixels"),
        ({"size": [2, 2], "counts": [4]}, "'counts' marks no pixel"),
        ({"size": [2, 2], "counts": []}, "'counts' holds 0 pixels"),
        ({"size": [2, 2], "counts": 4}, "'counts' must be whole numbers or COCO's text"),
        ({"size": [2, 2], "counts": "!"}, "not COCO's run-length code"),
        ({"size": [10**6, 10**6], "counts": [0, 10**12]}, "more than 100 million"),
    ],
)
def test_outlines_that_cannot_be_used(value, reason):
    with pytest.raises(InputError) as raised:
        read_segmentation(value)
    assert reason in str(raised.value) and len(str(raised.value)) < 200


def document(annotations, images=None, categories=None):
    return {
        "images": images or [{"id": 1, "file_name": "1.jpg", "width": 40, "height": 30}],
        "annotations": annotations,
        "categories": categories or [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


@pytest.fixture
def folder(tmp_path):
    for name in ("1.jpg", "2.jpg", "more/1.jpg", "train2017/000000000009.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"not opened")
    return tmp_path


def read(folder, *annotations, **more):
    path = folder / "list.json"
    path.write_text(json.dumps(document(list(annotations), **more)))
    return read_list(path)


CAT = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [2, 3, 4, 5], "iscrowd": 0}


@pytest.mark.parametrize("counts", [RING, list(decode_counts(RING))])
def test_masks_of_coco(folder, counts):
    encoded = {"size": [30, 40], "counts": counts}
    (item,) = read(folder, CAT | {"segmentation": encoded})
    assert item.runs == decode_counts(RING) and item.size == (40, 30) and not item.polygons
    mask = item.object_mask(30, 40)
    rows, columns = np.nonzero(mask)
    assert item.boxes == ((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1),)
    y, x = np.mgrid[:30, :40]
    distance = np.hypot(y - 14, x - 21)
    np.testing.assert_array_equal(mask, (distance > 6) & (distance < 12))
    write_list(folder / "new.jsonl", [item])
    (again,) = read_list(folder / "new.jsonl")
    assert vars(again) == vars(item) | {"place": "line 1"}


def test_a_mask_of_another_image_is_named(folder):
    encoded = {"size": [40, 30], "counts": RING}
    (bad,) = read(folder, CAT | {"segmentation": encoded})
    assert (
        bad.reason == "the mask has 30 x 40 pixels, but the file records 40 x 30 for its image"
    )


@pytest.mark.parametrize("image", [1, "1", 1.0])
@pytest.mark.parametrize("category", [1, "1", 1.0])
def test_ids_in_any_spelling(folder, image, category):
    images = [{"id": "1", "file_name": "1.jpg"}]
    (item,) = read(folder, CAT | {"image_id": image, "category_id": category}, images=images)
    assert (item.category, item.boxes, item.size) == ("cat", ((2, 3, 6, 8),), None)


def test_ids_of_text_are_their_own(folder):
    images = [{"id": "000001", "file_name": "1.jpg"}, {"id": 1, "file_name": "2.jpg"}]
    first, second = read(folder, CAT | {"image_id": "000001"}, CAT, images=images)
    assert (first.image.name, second.image.name) == ("1.jpg", "2.jpg")


def test_ids_that_are_listed_twice(folder):
    image = {"id": 1, "file_name": "1.jpg"}
    assert isinstance(read(folder, CAT, images=[image, image])[0], Item)
    other = image | {"file_name": "2.jpg"}
    found = read(folder, CAT, CAT | {"image_id": 2}, images=[image, other, other | {"id": 2}])
    assert found[0] == Broken(
        "annotations entry 1", "'image_id' is 1, which the file lists twice"
    )
    assert found[1].image.name == "2.jpg"
    kinds = [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]
    reason = "annotations entry 1: 'category_id' is 1, which the file lists twice"
    with pytest.raises(InputError, match=f"no entry that can be used; {reason}"):
        read(folder, CAT, categories=kinds)


def test_what_counts_as_the_only_object(folder):
    def categories(*annotations, **more):
        return [entry.category for entry in read(folder, *annotations, **more)]

    other = CAT | {"id": 6, "bbox": [9, 9, 4, 4]}
    assert categories(CAT, CAT) == ["cat"]
    with pytest.raises(InputError, match="no object that is the only one of its category"):
        categories(CAT, other)
    twins = [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "dog"}]
    dog = CAT | {"category_id": 3}
    assert categories(CAT, other | {"category_id": 2}, dog, categories=twins) == ["dog"]
    for crowd in (1, True, "1", 1.0):
        assert categories(CAT | {"iscrowd": crowd}, dog, categories=twins) == ["dog"]
    for alone in (0, False, "0", None):
        assert categories(CAT | {"iscrowd": alone}) == ["cat"]


def test_lvis(folder):
    image = {
        "id": 9,
        "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg",
        "not_exhaustive_category_ids": [2],
        "width": 40,
        "height": 30,
    }
    kinds = [
        {"id": 1, "name": "bow_(weapon)", "synset": "bow.n.04"},
        {"id": 2, "name": "cat", "synset": "cat.n.01"},
        {"id": 3, "name": "baseball_bat", "synset": "bat.n.01"},
    ]
    marks = [CAT | {"image_id": 9, "category_id": number} for number in (1, 2, 3)]
    found = read(folder, *marks, images=[image], categories=kinds)
    assert [item.category for item in found] == ["bow", "baseball bat"]
    inner = folder / "train2017" / "000000000009.jpg"
    assert {item.image for item in found} == {inner}
    path = folder / "list.json"
    found = read_list(path, images=folder / "train2017")
    assert {item.image for item in found} == {inner}


def test_file_names_with_backslashes_or_none(folder):
    images = [{"id": 1, "file_name": "more\\1.jpg"}, {"id": 2}]
    found = read(folder, CAT, CAT | {"image_id": 2}, images=images)
    assert found[0].image == folder / "more" / "1.jpg"
    assert found[1] == Broken("annotations entry 2", "the field 'file_name' is missing")


@pytest.mark.parametrize("bbox", [[-50, 2, 20, 5], [2, -9, 4, 5]])
def test_boxes_on_the_negative_side(folder, bbox):
    (bad,) = read(folder, CAT | {"bbox": bbox})
    assert "lies outside the image" in bad.reason
    (item,) = read(folder, CAT | {"bbox": [-1.5, -2, 20, 9]})
    assert item.boxes == ((0, 0, 18, 7),)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"categories": None}, "has no categories, so its objects have no names"),
        ({"categories": []}, "has no categories"),
        ({"images": None}, "holds annotations without 'images'"),
        ({"annotations": None, "licenses": []}, "holds images of COCO without annotations"),
        ({"annotations": [{"image_id": 1, "segments_info": []}]}, "panoptic annotations"),
    ],
)
def test_files_of_coco_that_lack_something(folder, change, reason):
    content = document([CAT]) | change
    path = folder / "list.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    with pytest.raises(InputError) as raised:
        read_list(path)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


def test_images_without_annotations_give_no_entry(folder):
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2)]
    (item,) = read(folder, CAT, images=images)
    assert item.image.name == "1.jpg"
