"""COCO's own annotation files: captions, and objects that occur once in their picture."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, plain_name
from eagle_jax.lists.prompts import CAPTION

Joined = Iterator[tuple[str, dict[str, Any] | InputError]]


def is_annotations(document: dict[str, Any]) -> bool:
    """Whether a parsed file is laid out as COCO's annotations are."""
    return all(isinstance(document.get(name), list) for name in ("images", "annotations"))


def join(document: dict[str, Any]) -> Joined:
    """Joins annotations with the pictures and categories they refer to by number.

    Of captions, each picture that has one is an entry. Of objects, each is an entry that is
    the only one of its category in its picture; one marked as a crowd stands for several.
    Everything else is left out; what refers to nothing is wrong.

    Args:
      document: a parsed file for which `is_annotations` holds.

    Returns:
      Where each entry stands, and the entry for `read_captioned` or `read_instance`, or what
      is wrong with it.
    """
    annotations = document["annotations"]
    objects = sum(isinstance(one, dict) and "category_id" in one for one in annotations)
    captions = sum(isinstance(one, dict) and "caption" in one for one in annotations)
    if captions > objects:
        return _join_captions(document["images"], annotations)
    return _join_objects(document["images"], annotations, document.get("categories"))


def read_captioned(entry: Entry, place: str, root: Path) -> Draft:
    """Reads a picture with captions; the model is asked for its own."""
    image = entries.picture(entry, "file_name", root)
    return Draft(Item(plain_name(image.stem), place, image, CAPTION), entry["file_name"])


def read_instance(entry: Entry, place: str, root: Path) -> Draft:
    """Reads an object; its target is the category's name, wherever an answer has it."""
    image = entries.picture(entry, "file_name", root)
    category = entries.text(entry, "category")
    segmentation = entry.get("segmentation") or []
    if isinstance(segmentation, dict):
        raise InputError("'segmentation' is run-length encoded; only polygons are read")
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


def _join_captions(images: list[Any], annotations: list[Any]) -> Joined:
    known = {one["id"] for one in images if isinstance(one, dict) and _is_number(one.get("id"))}
    captioned = set()
    for number, one in enumerate(annotations, 1):
        try:
            image = _reference(one, "image_id", known)
            entries.text(one, "caption")
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            captioned.add(image)
    for number, one in enumerate(images, 1):
        if not isinstance(one, dict) or not _is_number(one.get("id")):
            yield (
                f"images entry {number}",
                InputError(f"it has no number as 'id': {shown(one)}"),
            )
        elif one["id"] in captioned:
            yield f"images entry {number}", one | {"captions": True}


def _join_objects(images: list[Any], annotations: list[Any], categories: Any) -> Joined:
    files, names = _by_number(images, "file_name"), _by_number(categories, "name")
    good: list[tuple[int, dict[str, Any]]] = []
    for number, one in enumerate(annotations, 1):
        try:
            _reference(one, "image_id", files)
            _reference(one, "category_id", names)
        except InputError as error:
            yield f"annotations entry {number}", error
        else:
            good.append((number, one))
    # A crowd counts as two: its category is not single in its picture.
    counts: Counter[tuple[int, int]] = Counter()
    for _, one in good:
        counts[one["image_id"], one["category_id"]] += 2 if one.get("iscrowd") else 1
    for number, one in good:
        if counts[one["image_id"], one["category_id"]] == 1:
            joined = {
                "file_name": files[one["image_id"]],
                "category": names[one["category_id"]],
            }
            yield f"annotations entry {number}", one | joined


def _by_number(records: Any, name: str) -> dict[int, Any]:
    records = records if isinstance(records, list) else []
    return {
        one["id"]: one.get(name)
        for one in records
        if isinstance(one, dict) and _is_number(one.get("id"))
    }


def _reference(one: Any, name: str, known: Any) -> int:
    if not isinstance(one, dict):
        raise InputError(f"it must be a JSON object, not {shown(one)}")
    number = entries.required(one, name)
    if not _is_number(number) or number not in known:
        raise InputError(f"{name!r} is {shown(number)}, which the file does not list")
    return number


def _is_number(value: Any) -> bool:
    return type(value) is int


def _bounds(polygons: tuple[tuple[float, ...], ...]) -> tuple[int, int, int, int]:
    across = [x for polygon in polygons for x in polygon[0::2]]
    down = [y for polygon in polygons for y in polygon[1::2]]
    return _whole(min(across), min(down), max(across), max(down))


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
    return _whole(x, y, x + width, y + height)


def _whole(x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int]:
    """The corners rounded as published; what rounds to nothing becomes one pixel."""
    left, top = max(0, round(x0)), max(0, round(y0))
    return left, top, max(round(x1), left + 1), max(round(y1), top + 1)
