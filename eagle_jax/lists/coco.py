"""COCO's own annotation files: captions, and objects that occur once in their image."""

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, Placed, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.prompts import CAPTION


def is_annotations(document: dict[str, Any]) -> bool:
    """Whether a parsed file is laid out as COCO's annotations are."""
    return all(isinstance(document.get(name), list) for name in ("images", "annotations"))


def join(document: dict[str, Any]) -> Iterator[Placed]:
    """Joins annotations with the images and categories that they refer to by number.

    In a file of captions, each image with a caption becomes an entry. In a file of objects,
    each object that is the only one of its category in its image becomes an entry; an object
    marked as a crowd stands for several. A reference to nothing is an error, and all other
    annotations are ignored.

    Args:
      document: a parsed file for which `is_annotations` holds.

    Yields:
      Entries for `read_captioned` or `read_instance`.
    """
    images, annotations = document["images"], document["annotations"]
    records = [annotation for annotation in annotations if isinstance(annotation, dict)]
    objects = sum("category_id" in record for record in records)
    captions = sum("caption" in record for record in records)
    if captions > objects:
        return _join_captions(images, annotations)
    return _join_objects(images, annotations, document.get("categories"))


def read_captioned(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an image with captions; the model is asked for a caption of its own."""
    image = entries.image(entry, "file_name", root)
    return Draft(Item(plain_name(image.stem), place, image, CAPTION), entry["file_name"])


def read_instance(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an object; its target is the category's name, wherever an answer has it."""
    image = entries.image(entry, "file_name", root)
    category = entries.text(entry, "category")
    segmentation = entry.get("segmentation") or []
    if isinstance(segmentation, dict):
        raise InputError("'segmentation' is run-length encoded; only polygons can be read")
    polygons = entries.polygons({"segmentation": segmentation}, "segmentation")
    item = Item(
        name=plain_name(f"{image.stem}_{category.replace(' ', '-')}"),
        place=place,
        image=image,
        prompt=CAPTION,
        target=category,
        category=category,
        boxes=(_bounds(polygons) if polygons else _box(entry),),
        polygons=polygons,
    )
    return Draft(item, entry["file_name"])


def _join_captions(images: list[Any], annotations: list[Any]) -> Iterator[Placed]:
    known = _by_number(images, "file_name")
    captioned = set()
    for number, annotation in enumerate(annotations, 1):
        try:
            image_id = _reference(annotation, "image_id", known)
            entries.text(annotation, "caption")
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            captioned.add(image_id)
    for number, image in enumerate(images, 1):
        place = f"images entry {number}"
        if not isinstance(image, dict) or not _is_number(image.get("id")):
            yield place, InputError(f"'id' must be a number: {shown(image)}")
        elif image["id"] in captioned:
            yield place, image | {"captions": True}


def _join_objects(
    images: list[Any], annotations: list[Any], categories: Any
) -> Iterator[Placed]:
    files, names = _by_number(images, "file_name"), _by_number(categories, "name")
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, annotation in enumerate(annotations, 1):
        try:
            _reference(annotation, "image_id", files)
            _reference(annotation, "category_id", names)
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            objects.append((number, annotation))
    # A crowd counts as two, so that its category is not single in its image.
    counts: Counter[tuple[int, int]] = Counter()
    for _, record in objects:
        counts[record["image_id"], record["category_id"]] += 2 if record.get("iscrowd") else 1
    for number, record in objects:
        image_id, category_id = record["image_id"], record["category_id"]
        if counts[image_id, category_id] == 1:
            joined = {"file_name": files[image_id], "category": names[category_id]}
            yield f"annotations entry {number}", record | joined


def _by_number(records: Any, name: str) -> dict[int, Any]:
    return {
        record["id"]: record.get(name)
        for record in (records if isinstance(records, list) else [])
        if isinstance(record, dict) and _is_number(record.get("id"))
    }


def _reference(annotation: Any, name: str, known: Collection[int]) -> int:
    entries.require_object(annotation)
    number = entries.required(annotation, name)
    if not _is_number(number) or number not in known:
        raise InputError(f"{name!r} is {shown(number)}, which the file does not list")
    return number


def _is_number(value: Any) -> bool:
    return type(value) is int


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
    left, top = max(0, round(x0)), max(0, round(y0))
    return left, top, max(round(x1), left + 1), max(round(y1), top + 1)
