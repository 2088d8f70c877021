"""The list format of this package: one JSON object on each line.

{"image": "cat.jpg", "prompt": "Is there a cat in the image?"}
{"image": "dog.jpg", "prompt": "Describe the image.", "answer": "A dog.", "target": "dog"}

Every entry has the fields `image` and `prompt`. The fields `answer`, `target`, `target_ids`,
`label`, `category`, `boxes`, `polygons`, `mask`, `runs`, `size` and `name` are optional; `Item`
describes them.
"""

import functools
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.files import local_path, write_file
from eagle_jax.lists import entries
from eagle_jax.lists.entries import Entry, shown
from eagle_jax.lists.items import Item
from eagle_jax.lists.naming import Draft, checked_name, plain_name
from eagle_jax.lists.segmentation import read_runs

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
    "runs",
    "size",
    "name",
)


def read_entry(entry: Entry, place: str, root: Path) -> Draft:
    """Reads one entry.

    Args:
      entry: the JSON object on a line.
      place: place of the entry, such as "line 12".
      root: folder that paths of images are relative to.

    Raises:
      InputError: a field is unknown, missing or not usable.
    """
    for name in entry:
        if name not in FIELDS:
            raise InputError(
                f"unknown field {name[:60]!r}; known fields: {', '.join(FIELDS)}; "
                "--columns gives fields other names"
            )
    given = {name: value for name, value in entry.items() if value is not None}
    image = entries.image(given, "image", root)
    prompt = entries.text(given, "prompt")
    answer = _text_or(given, "answer", entries.token_ids)
    length = len(answer) if isinstance(answer, tuple) else None
    target = _text_or(given, "target", functools.partial(entries.positions, length=length))
    target_ids = entries.ids_or_words(given, "target_ids") if "target_ids" in given else None
    if target_ids and isinstance(target, tuple) and len(target) != len(target_ids):
        raise InputError(
            f"'target_ids' has {len(target_ids)} entries for {len(target)} target positions"
        )
    size = entries.size(given, "size") if "size" in given else None
    if "runs" in given and size is None:
        raise InputError("'runs' need the field 'size': width and height of the image")
    named = "name" in given
    name = checked_name(entries.text(given, "name")) if named else plain_name(image.stem)
    item = Item(
        name=name,
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
        mask=entries.image(given, "mask", root) if "mask" in given else None,
        runs=read_runs(given["runs"], size, "runs") if size and "runs" in given else (),
        size=size,
    )
    return Draft(item, given["image"], named)


@checked
def write_list(path: str | os.PathLike, items: Iterable[Item]) -> None:
    """Writes a list of JSON lines, replacing an existing file.

    Paths of images are relative to the folder of the list if they lie in it, else absolute.

    Args:
      path: path of the list.
      items: the items, one for each line; `place` and `prompt_ids` are not written.

    Raises:
      InputError: the file cannot be written.
    """
    path = local_path(path)
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


def _text_or(entry: Entry, name: str, read: Callable[[Entry, str], Any]) -> Any:
    if name not in entry:
        return None
    if isinstance(entry[name], str):
        return entries.text(entry, name)
    if not isinstance(entry[name], list):
        raise InputError(
            f"{name!r} must be text or a list of whole numbers, not {shown(entry[name])}"
        )
    return read(entry, name)
