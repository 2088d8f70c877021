"""Annotation files of COCO and LVIS: captions, and objects that occur once in their image."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, Placed, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.masks import runs_box
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.paths import image_path
from eagle_jax.lists.prompts import CAPTION
from eagle_jax.lists.segmentation import read_segmentation

_CROWD = (True, 1, "1", "true", "True")


def is_annotations(document: dict[str, Any]) -> bool:
    """Whether a parsed file is laid out as COCO's annotations are.

    Raises:
      InputError: the file holds only one of the lists that belong together.
    """
    held = [isinstance(document.get(name), list) for name in ("images", "annotations")]
    if held == [True, False] and "licenses" in document:
        raise InputError(
            "the list holds images of COCO without annotations: take captions_*.json or "
            "instances_*.json"
        )
    if held == [False, True]:
        raise InputError(
            "the list holds annotations without 'images', which name the image files: take the "
            "whole annotation file"
        )
    return all(held)


def join(document: dict[str, Any], path: Path) -> Iterator[Placed]:
    """Joins annotations with the images and categories that they refer to by their ids.

    In a file of captions, each image with a caption becomes an entry. In a file of objects,
    each object that is the only one of its category in its image becomes an entry; an object
    marked as a crowd stands for several, and an image of LVIS on which not all objects of a
    category are marked gives no entry of it. A reference to nothing is an error, and all other
    annotations are ignored.

    Args:
      document: a parsed file for which `is_annotations` holds.
      path: path of the file, for messages.

    Yields:
      Entries for `read_captioned` or `read_instance`.

    Raises:
      InputError: the file cannot be used at all.
    """
    images, annotations = document["images"], document["annotations"]
    records = [annotation for annotation in annotations if isinstance(annotation, dict)]
    objects = sum("category_id" in record for record in records)
    captions = sum("caption" in record for record in records)
    if captions > objects:
        return _join_captions(images, annotations)
    if any("segments_info" in record for record in records[:1]):
        raise InputError(f"{path} holds panoptic annotations: take instances_*.json")
    categories = document.get("categories")
    if objects and not (isinstance(categories, list) and categories):
        raise InputError(
            f"{path} has no categories, so its objects have no names: add "
            '"categories": [{"id": 1, "name": "cat"}]'
        )
    return _join_objects(images, annotations, categories)


def read_captioned(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an image with captions; the model is asked for a caption of its own."""
    image, written = _image(entry, root)
    return Draft(Item(plain_name(image.stem), place, image, CAPTION), written)


def read_instance(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an object; its target is the category's name, wherever an answer has it."""
    image, written = _image(entry, root)
    category = entries.text(entry, "category")
    outline = read_segmentation(entry.get("segmentation"))
    size = _size(entry)
    if outline.size is not None and size not in (None, outline.size):
        raise InputError(
            "the mask has {} x {} pixels, but the file records ".format(*outline.size)
            + "{} x {} for its image".format(*size or (0, 0))
        )
    if outline.size is not None:
        box = runs_box(outline.runs, outline.size[1])
    else:
        box = _bounds(outline.polygons) if outline.polygons else _box(entry)
    item = Item(
        name=plain_name(f"{image.stem}_{category.replace(' ', '-')}"),
        place=place,
        image=image,
        prompt=CAPTION,
        target=category,
        category=category,
        boxes=(box,),
        polygons=outline.polygons,
        runs=outline.runs,
        size=outline.size or size,
    )
    return Draft(item, written)


class _Known(NamedTuple):
    """Records that annotations refer to by id; an id of different records is ambiguous."""

    records: dict[str, dict[str, Any]]
    ambiguous: set[str]

    @classmethod
    def of(cls, records: Any, *names: str) -> "_Known":
        """The records of a list, which are the same record if these fields are equal."""
        known = cls({}, set())
        for record in records if isinstance(records, list) else []:
            if not isinstance(record, dict) or (key := _key(record.get("id"))) is None:
                continue
            first = known.records.setdefault(key, record)
            if any(first.get(name) != record.get(name) for name in names):
                known.ambiguous.add(key)
        return known

    def refer(self, annotation: Any, name: str) -> str:
        """The key that an annotation refers to."""
        entries.require_object(annotation)
        value = entries.required(annotation, name)
        key = _key(value)
        if key is None or key not in self.records:
            raise InputError(f"{name!r} is {shown(value)}, which the file does not list")
        if key in self.ambiguous:
            raise InputError(f"{name!r} is {shown(value)}, which the file lists twice")
        return key


def _join_captions(images: list[Any], annotations: list[Any]) -> Iterator[Placed]:
    known = _Known.of(images, "file_name", "coco_url")
    captioned = set()
    for number, annotation in enumerate(annotations, 1):
        try:
            key = known.refer(annotation, "image_id")
            entries.text(annotation, "caption")
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            captioned.add(key)
    for number, image in enumerate(images, 1):
        place = f"images entry {number}"
        if not isinstance(image, dict) or (key := _key(image.get("id"))) is None:
            yield place, InputError(f"'id' must be a number or text: {shown(image)}")
        elif key in captioned:
            captioned.remove(key)  # A repeated image is one entry.
            yield place, image | {"captions": True}


def _join_objects(
    images: list[Any], annotations: list[Any], categories: Any
) -> Iterator[Placed]:
    files = _Known.of(images, "file_name", "coco_url")
    kinds = _Known.of(categories, "name")
    names = {key: _name(record) for key, record in kinds.records.items()}
    # Categories of the same name are one category.
    groups: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, annotation in enumerate(annotations, 1):
        try:
            image = files.refer(annotation, "image_id")
            category = kinds.refer(annotation, "category_id")
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            groups[image, str(names[category])].append((number, annotation))
    single = [
        (*group[0], image)
        for (image, _), group in groups.items()
        if _is_single([record for _, record in group], files.records[image])
    ]
    for number, record, image in sorted(single, key=lambda object_: object_[0]):
        file = files.records[image]
        joined = {name: file.get(name) for name in ("file_name", "coco_url", "width", "height")}
        joined["category"] = names[_key(record["category_id"]) or ""]
        yield f"annotations entry {number}", record | joined


def _is_single(records: list[dict[str, Any]], image: dict[str, Any]) -> bool:
    """Whether annotations of one category in one image are those of a single object."""
    first = records[0]
    # Files merged from others may repeat an annotation with its id.
    if any(record != first or record.get("id") is None for record in records[1:]):
        return False
    unmarked = image.get("not_exhaustive_category_ids")
    if isinstance(unmarked, list) and _key(first["category_id"]) in map(_key, unmarked):
        return False
    return first.get("iscrowd") not in _CROWD


def _name(category: dict[str, Any]) -> Any:
    name = category.get("name")
    if isinstance(name, str) and "synset" in category:
        # LVIS writes baseball_bat, and bow_(weapon) where a word has several senses.
        name = re.sub(r"_\(.*\)$", "", name).replace("_", " ")
    return name


def _key(value: Any) -> str | None:
    """An id as text: tools write 7, 7.0 and "7" for the same id."""
    if type(value) is float and value.is_integer():
        value = int(value)
    return str(value) if type(value) in (int, str) and value != "" else None


def _image(entry: Entry, root: Path) -> tuple[Path, str]:
    """The image file of an entry, and its path as written."""
    if entry.get("file_name") is not None or entry.get("coco_url") is None:
        return entries.image(entry, "file_name", root), entry["file_name"]
    # LVIS has only the address, whose last parts are "train2017/000000391895.jpg".
    folder, name = ["", *entries.text(entry, "coco_url").split("/")][-2:]
    try:
        return image_path(f"{folder}/{name}", root), name
    except InputError:
        return image_path(name, root), name


def _size(entry: Entry) -> tuple[int, int] | None:
    """Width and height of the image as the file records them; None without them."""
    width, height = entry.get("width", 0), entry.get("height", 0)
    if entries.is_number(width) and entries.is_number(height) and min(width, height) >= 1:
        return int(width), int(height)
    return None


def _bounds(polygons: tuple[tuple[float, ...], ...]) -> tuple[int, int, int, int]:
    across = [x for polygon in polygons for x in polygon[0::2]]
    down = [y for polygon in polygons for y in polygon[1::2]]
    return _whole_pixels(min(across), min(down), max(across), max(down))


def _box(entry: Entry) -> tuple[int, int, int, int]:
    value = entries.required(entry, "bbox")
    if (
        not isinstance(value, list)
        or len(value) != 4
        or not all(map(entries.is_number, value))
        or min(value[2:]) < 0
    ):
        raise InputError(f"'bbox' must hold x, y, width, height, not {shown(value)}")
    x, y, width, height = map(float, value)
    return _whole_pixels(x, y, x + width, y + height)


def _whole_pixels(x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
    """The corners rounded as published; an empty box becomes a box of one pixel."""
    if x0 + x1 < 0 or y0 + y1 < 0:
        corners = ", ".join(f"{number:g}" for number in (x0, y0, x1, y1))
        raise InputError(f"the box {corners} lies outside the image")
    left, top = max(0, round(x0)), max(0, round(y0))
    return left, top, max(round(x1), left + 1), max(round(y1), top + 1)
