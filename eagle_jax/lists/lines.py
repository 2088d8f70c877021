"""Our own lists: one JSON object a line.

{"image": "cat.jpg", "prompt": "Is there a cat in the image?"}
{"image": "dog.jpg", "prompt": "Describe the image.", "answer": "A dog.", "target": "dog"}

Fields: `image` and `prompt`, and optionally `answer`, `target`, `target_ids`, `label`, `boxes`,
`polygons`, `mask`, `category` and `name`; they mean what they mean in `Item`.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.files import write_file
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, checked_name, plain_name

FIELDS = (
    "image",
    "prompt",
    "answer",
    "target",
    "target_ids",
    "label",
    "category",
    "boxes",
    "polygons",
    "mask",
    "name",
)


def read_entry(entry: Entry, place: str, root: Path) -> Draft:
    """Reads one entry of a list of our own.

    Args:
      entry: the object of a line.
      place: where it stands.
      root: the folder that its pictures are named from.

    Raises:
      InputError: something in it cannot be used.
    """
    for name in entry:
        if name not in FIELDS:
            raise InputError(f"it has the unknown field {name!r}; known: {', '.join(FIELDS)}")
    given = {name: value for name, value in entry.items() if value is not None}
    image = entries.picture(given, "image", root)
    prompt = entries.text(given, "prompt")
    answer = _text_or(entries.token_ids, given, "answer")
    length = len(answer) if isinstance(answer, tuple) else None
    target = _text_or(lambda e, n: entries.positions(e, n, length), given, "target")
    target_ids = _target_ids(given)
    if target_ids and isinstance(target, tuple) and len(target) != len(target_ids):
        raise InputError(
            f"'target_ids' has {len(target_ids)} entries for {len(target)} target positions"
        )
    named = "name" in given
    item = Item(
        name=checked_name(entries.text(given, "name"))
        if named
        else plain_name(Path(given["image"]).stem),
        place=place,
        image=image,
        prompt=prompt,
        answer=answer,
        target=target,
        target_ids=target_ids,
        label=entries.yes_or_no(given, "label") if "label" in given else None,
        category=entries.text(given, "category") if "category" in given else None,
        boxes=entries.boxes(given, "boxes") if "boxes" in given else (),
        polygons=entries.polygons(given, "polygons") if "polygons" in given else (),
        mask=entries.picture(given, "mask", root) if "mask" in given else None,
    )
    return Draft(item, given["image"], named)


def write_list(path: str | os.PathLike, items: Iterable[Item]) -> None:
    """Writes a list of our own, all or nothing, in place of what was there.

    Pictures in the folder of the list are named from there, others by their full path.

    Args:
      path: of the new list.
      items: one a line; places and prompt ids are not written.

    Raises:
      InputError: the file system refuses.
    """
    path = Path(path)
    folder = path.resolve().parent
    content = "".join(
        json.dumps(_to_entry(item, folder), ensure_ascii=False) + "\n" for item in items
    )
    write_file(path, content)


def _to_entry(item: Item, folder: Path) -> dict[str, Any]:
    entry = {name: getattr(item, name) for name in FIELDS}
    for name in ("image", "mask"):
        if entry[name] is not None:
            whole = entry[name].absolute()
            inside = whole.is_relative_to(folder)
            entry[name] = (whole.relative_to(folder) if inside else whole).as_posix()
    return {name: value for name, value in entry.items() if value is not None and value != ()}


def _text_or(read: Any, entry: Entry, name: str) -> Any:
    if name not in entry:
        return None
    if isinstance(entry[name], str):
        return entries.text(entry, name)
    if not isinstance(entry[name], list):
        raise InputError(
            f"{name!r} must be text or a list of whole numbers, not {shown(entry[name])}"
        )
    return read(entry, name)


def _target_ids(entry: Entry) -> tuple[int | str, ...] | None:
    if "target_ids" not in entry:
        return None
    value = entry["target_ids"]
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise InputError(f"'target_ids' must be ids or words, not {shown(value)}")
    # Each is checked as a field of its own.
    return tuple(
        entries.text({"target_ids": one}, "target_ids")
        if isinstance(one, str)
        else entries.token_ids({"target_ids": [one]}, "target_ids")[0]
        for one in value
    )
