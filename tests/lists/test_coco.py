"""COCO's annotation files, good and broken, made on the spot."""

import dataclasses
import json

import pytest

from eagle_jax.lists import Broken, Item, read_list
from eagle_jax.lists.prompts import CAPTION

IMAGES = [{"id": n, "file_name": f"{n}.jpg", "width": 9, "height": 9} for n in (1, 2, 3, 4)]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 10, "name": "traffic light"}]
SQUARE = [[1.5, 1.2, 6.5, 1.2, 4, 7.7], [0.4, 2, 3, 2, 3, 3]]


@pytest.fixture
def folder(tmp_path):
    for number in (1, 2, 4):
        (tmp_path / f"{number}.jpg").write_bytes(b"not opened")
    return tmp_path


def write(folder, annotations, images=IMAGES, indent=None, **more):
    path = folder / "list.json"
    document = {"info": {}, "images": images, "annotations": annotations, **more}
    path.write_text(json.dumps(document, indent=indent))
    return path


def instance(image, category, **more):
    return (
        {"image_id": image, "category_id": category, "segmentation": SQUARE, "iscrowd": 0}
        | {"bbox": [2, 3, 4.6, 5]}
        | more
    )


def objects(folder, *annotations):
    return read_list(write(folder, list(annotations), categories=CATEGORIES))


@pytest.mark.parametrize("indent", [None, 2])
def test_captions(folder, indent):
    captions = [{"image_id": n, "id": 7, "caption": "A cat."} for n in (2, 1, 2, 3)]
    wrong = [{"image_id": 99, "caption": "A."}, {"image_id": 1, "caption": 3}, 5]
    found = read_list(write(folder, captions + wrong, [*IMAGES, {"id": [5]}], indent))
    assert found == [
        Broken("annotations entry 5", "'image_id' is 99, which the file does not list"),
        Broken("annotations entry 6", "'caption' must be text, not 3"),
        Broken("annotations entry 7", "the entry must be a JSON object, not 5"),
        Item("1", "images entry 1", folder / "1.jpg", CAPTION),
        Item("2", "images entry 2", folder / "2.jpg", CAPTION),
        Broken("images entry 3", f"{folder / '3.jpg'}: no such image file"),
        Broken("images entry 5", """'id' must be a number or text: {"id": [5]}"""),
    ]


def test_objects_that_occur_once(folder):
    found = objects(
        folder,
        instance(1, 1),
        instance(2, 1),
        instance(2, 10, segmentation=[]),
        instance(2, 1),
        instance(4, 10, iscrowd=1, segmentation={"counts": [1], "size": [9, 9]}),
        instance(4, 1),
    )
    assert found == [
        Item(
            name="1_cat",
            place="annotations entry 1",
            image=folder / "1.jpg",
            prompt=CAPTION,
            target="cat",
            category="cat",
            boxes=((0, 1, 6, 8),),
            polygons=tuple(tuple(map(float, polygon)) for polygon in SQUARE),
            size=(9, 9),
        ),
        Item(
            name="2_traffic-light",
            place="annotations entry 3",
            image=folder / "2.jpg",
            prompt=CAPTION,
            target="traffic light",
            category="traffic light",
            boxes=((2, 3, 7, 8),),
            size=(9, 9),
        ),
        dataclasses.replace(
            found[0], name="4_cat", place="annotations entry 6", image=folder / "4.jpg"
        ),
    ]


def test_a_box_is_the_published_one(folder):
    # The extreme corners of a person in image 385029, whose published box is asserted.
    corners = [3.24, 399.1, 231.91, 308.49, 272.9, 348.4, 37.75, 478.92, 0.0, 478.92]
    (item,) = objects(folder, instance(1, 1, segmentation=[corners]))
    assert item.boxes == ((0, 308, 273, 479),)


def test_an_object_of_no_size_has_a_box_of_one_pixel(folder):
    (item,) = objects(folder, instance(1, 1, segmentation=[[3.1, 2.2, 3.2, 2.2, 3.1, 2.3]]))
    assert item.boxes == ((3, 2, 4, 3),)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"image_id": 9}, "'image_id' is 9, which the file does not list"),
        ({"image_id": [1]}, "'image_id' is [1], which the file does not list"),
        ({"category_id": None}, "the field 'category_id' is missing"),
        ({"image_id": 3}, "3.jpg: no such image file"),
        ({"segmentation": {"counts": "x"}}, "the field 'size' is missing"),
        ({"segmentation": [[1, 2]]}, "'segmentation' holds a polygon of 2 numbers"),
        ({"segmentation": [], "bbox": [1, 2, -3, 4]}, "'bbox' must hold x, y, width, height"),
        ({"segmentation": None, "bbox": None}, "the field 'bbox' is missing"),
    ],
)
def test_what_is_wrong_with_an_object(folder, change, reason):
    found = objects(folder, instance(2, 1, **change), instance(1, 1))
    (bad,) = [entry for entry in found if isinstance(entry, Broken)]
    assert bad.place == "annotations entry 1" and reason in bad.reason
    assert [entry.name for entry in found if isinstance(entry, Item)] == ["1_cat"]
