"""Reads a list of questions about images in any known format into items."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason
from eagle_jax.lists import coco, lines, published, questions
from eagle_jax.lists.entries import Placed, require_object
from eagle_jax.lists.items import Broken, Item
from eagle_jax.lists.naming import Draft, name_items
from eagle_jax.lists.parsing import parse_list


class _Format(NamedTuple):
    """A format of entries; an entry that has all fields of any of these sets belongs to it."""

    fields: tuple[set[str], ...]
    read: Callable[[dict[str, Any], str, Path], Draft]

    def matches(self, entry: Any) -> bool:
        return isinstance(entry, dict) and any(names <= entry.keys() for names in self.fields)


_FORMATS = {
    "lines": _Format(({"image", "prompt"},), lines.read_entry),
    "caption": _Format(
        ({"image_path", "selected_interpretation_token_id"},), published.read_caption
    ),
    "mmvp": _Format(({"image_filename", "question", "generated_ids"},), published.read_mmvp),
    "repope": _Format(({"image_name", "question", "counter_word_id"},), published.read_repope),
    "object": _Format(({"image_path", "select_category"},), published.read_object),
    "mmvp-questions": _Format(({"index", "question"},), questions.read_mmvp_question),
    "repope-labels": _Format(
        ({"image", "text", "label"}, {"image", "question", "label"}),
        questions.read_repope_label,
    ),
    "coco-captions": _Format(({"file_name", "captions"},), coco.read_captioned),
    "coco-instances": _Format(({"file_name", "category"},), coco.read_instance),
}
KINDS = tuple(_FORMATS)
"""Names of the formats that `read_list` can read."""


@checked
def read_list(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    kind: str | None = None,
) -> list[Item | Broken]:
    """Reads a list of questions about images.

    The images must exist but are not opened. An item without a name is named after its image;
    where several questions would get the same name, a digest of the question is appended.

    Args:
      path: path of the list: JSON lines in the format of this package ("lines"); the published
        JSON lists ("caption", "mmvp", "repope", "object"); the Questions.csv of MMVP
        ("mmvp-questions"); the labels of POPE or RePOPE ("repope-labels"); or the annotations
        of COCO ("coco-captions", "coco-instances"), whose objects are read if they occur once
        in their image.
      images: folder that paths of images are relative to; None for the folder of the list.
      kind: name of the format, as above; None to recognise the format by its fields.

    Returns:
      An `Item` or, if an entry cannot be used, a `Broken`, in the order of the list.

    Raises:
      InputError: the list or the folder of images is missing, or the file is not a list.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    root = path.parent if images is None else Path(images)
    if images is not None and not os.path.isdir(root):
        raise InputError(f"{root}: no such folder of images")
    entries = parse_list(path)
    known = _FORMATS[_recognise(entries, path) if kind is None else kind]
    return name_items([_draft(known, place, entry, root) for place, entry in entries])


def _recognise(entries: Sequence[Placed], path: Path) -> str:
    """The format that most of the entries match."""
    counts = {
        name: sum(known.matches(entry) for _, entry in entries)
        for name, known in _FORMATS.items()
    }
    name = max(counts, key=lambda name: counts[name])
    if counts[name]:
        return name
    objects = [entry for _, entry in entries if isinstance(entry, dict)]
    # A field that every entry lacks or misspells is better named entry by entry.
    if any("image" in entry for entry in objects):
        return "lines"
    fields = f"the fields {', '.join(map(str, objects[0]))}" if objects else "no JSON objects"
    fields = " ".join(fields.split())[:200]
    raise InputError(
        f"{path} is not in a known format: its entries have {fields}; write one entry on each "
        'line, as in {"image": "cat.jpg", "prompt": "Describe the image."}'
    )


def _draft(known: _Format, place: str, entry: Any, root: Path) -> Draft | Broken:
    try:
        if isinstance(entry, InputError):
            raise entry
        require_object(entry)
        return known.read(entry, place, root)
    except InputError as error:
        return Broken(place, reason(error))
