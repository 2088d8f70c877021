"""Boxes, polygons and masks against the image as it is read, turned by EXIF or not."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.inputs.images import read_image
from eagle_jax.lists import Item, read_list
from eagle_jax.lists.frames import require_frame
from eagle_jax.results.manifest import Settings

TURNED = "turned by its EXIF orientation"


def save(path, orientation=None, size=(100, 40)):
    options = {}
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    Image.new("RGB", size, "green").save(path, **options)
    return path


def check(item):
    require_frame(item, *read_image(item.image).shape[:2])


def item_of(path, **fields):
    return Item("a", "line 1", path, "Where is the cat?", **fields)


UNTURNED = {
    "boxes": {"boxes": ((60, 5, 95, 35),)},
    "a box half inside": {"boxes": ((5, 5, 60, 35),)},
    "polygons": {"polygons": ((60.0, 5.0, 95.0, 5.0, 95.0, 35.0),)},
    "the recorded size": {"boxes": ((1, 1, 9, 9),), "size": (100, 40)},
    "runs": {"boxes": ((0, 0, 1, 40),), "runs": (0, 40, 3960), "size": (100, 40)},
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("fields", UNTURNED.values(), ids=UNTURNED)
def test_the_frame_of_the_unturned_file(tmp_path, suffix, orientation, fields):
    path = save(tmp_path / f"a.{suffix}", orientation)
    with pytest.raises(InputError, match=TURNED) as raised:
        check(item_of(path, **fields))
    assert "unturned file" in str(raised.value) and len(str(raised.value)) < 200
    # The same fields fit the file without an orientation, and with one that keeps the sizes.
    for kept in (None, 1, 3):
        check(item_of(save(tmp_path / f"b.{suffix}", kept), **fields))


@pytest.mark.parametrize("orientation", [None, 6])
def test_what_fits_the_image_as_it_is_read(tmp_path, orientation):
    path = save(tmp_path / "a.jpg", orientation, (100, 40) if orientation else (40, 100))
    for fields in (
        {"boxes": ((5, 60, 35, 95), (0, 0, 40, 100))},
        {"boxes": ((0, 0, 41, 101),)},
        {"boxes": ((20, 0, 50, 100),)} if orientation is None else {},
        {"polygons": ((40.0, 100.0, 40.0, 90.0, 39.0, 95.0),)},
        {"boxes": ((5, 60, 35, 95),), "size": (40, 100)},
        {},
        {"size": (7, 7)},
    ):
        check(item_of(path, **fields))


@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"boxes": ((60, 5, 95, 35),)}, "60, 5, 95, 35 lies outside the image of 40 x 100"),
        ({"boxes": ((0, 0, 9, 9), (0, 0, 500, 500))}, "0, 0, 500, 500 lies outside"),
        ({"polygons": ((60.5, 5.0, 95.0, 5.0, 95.0, 35.0),)}, "60.5, 5, 95, 35 lies outside"),
        (
            {"boxes": ((0, 0, 9, 9),), "size": (100, 40)},
            "records 100 x 40 pixels, but the image",
        ),
        (
            {"boxes": ((0, 0, 9, 9),), "size": (80, 200)},
            "records 80 x 200 pixels, but the image",
        ),
    ],
)
def test_boxes_of_another_image(tmp_path, fields, reason):
    with pytest.raises(InputError) as raised:
        check(item_of(save(tmp_path / "a.jpg", None, (40, 100)), **fields))
    assert reason in str(raised.value) and TURNED not in str(raised.value)


def test_a_mask_file_of_the_unturned_file(tmp_path):
    path = save(tmp_path / "a.jpg", 6)
    mask = tmp_path / "mask.png"
    Image.fromarray(np.ones((40, 100), bool)).save(mask)
    with pytest.raises(InputError, match=TURNED):
        check(item_of(path, mask=mask))
    Image.fromarray(np.ones((100, 40), bool)).save(mask)
    check(item_of(path, mask=mask))


def test_a_run_names_the_items_and_goes_on(tmp_path):
    save(tmp_path / "turned.jpg", 6, (112, 56))
    save(tmp_path / "plain.jpg", None, (112, 56))
    common = {"prompt": "Is there a cat in the image?", "answer": "Yes"}
    boxes = {"boxes": [[60, 5, 95, 35]]}
    lines = [
        {"image": "turned.jpg"} | common | boxes,
        {"image": "plain.jpg"} | common | boxes,
        {"image": "turned.jpg", "name": "no-boxes"} | common,
    ]
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    settings = Settings(regions="grid:1x2", search="exact")
    summary = eagle_jax.run_list(read_list(path), tmp_path / "run", settings)
    (failure,) = summary.failures
    assert failure.place == "line 1" and TURNED in failure.reason
    assert summary.finished == 2
    item = eagle_jax.results.run_folder.read_item(tmp_path / "run", "plain")
    assert item == dataclasses.replace(read_list(path)[1])


def test_runs_and_size_survive_a_run(tmp_path):
    save(tmp_path / "a.jpg", None, (56, 28))
    line = {"image": "a.jpg", "prompt": "Is there a cat?", "answer": "Yes"}
    line |= {"runs": [28, 56, 1484], "size": [56, 28]}
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps(line))
    entries = read_list(path)
    settings = Settings(regions="grid:1x2", search="exact")
    assert not eagle_jax.run_list(entries, tmp_path / "run", settings).failures
    result = eagle_jax.results.run_folder.read_result(tmp_path / "run", "a")
    assert result.item == entries[0]
    expected = np.zeros((28, 56), bool)
    expected[:, 1:3] = True
    np.testing.assert_array_equal(result.mask, expected)
