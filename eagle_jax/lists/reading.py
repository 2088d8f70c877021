"""Reads a list of questions about images in any known format into items."""

import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason, require_choice
from eagle_jax.files import local_path
from eagle_jax.lists import coco, lines, published, questions
from eagle_jax.lists.columns import Columns, parse_cells, rename, require_columns
from eagle_jax.lists.entries import Placed, require_object
from eagle_jax.lists.items import Broken, Item
from eagle_jax.lists.naming import Draft, name_items
from eagle_jax.lists.parsing import parse_list


class _Format(NamedTuple):
    """A format of entries; an entry that has all fields of any of these sets belongs to it.

    An entry with a field of `others` belongs to another format.
    """

    fields: tuple[set[str], ...]
    read: Callable[[dict[str, Any], str, Path], Draft]
    others: frozenset[str] = frozenset()

    def matches(self, names: Collection[str]) -> bool:
        return self.others.isdisjoint(names) and any(
            fields.issubset(names) for fields in self.fields
        )


_FORMATS = {
    "lines": _Format(({"image", "prompt"},), lines.read_entry),
    "caption": _Format(
        ({"image_path", "selected_interpretation_token_id"},), published.read_caption
    ),
    "mmvp": _Format(({"image_filename", "question", "generated_ids"},), published.read_mmvp),
    "repope": _Format(({"image_name", "question", "counter_word_id"},), published.read_repope),
    "object": _Format(({"image_path", "select_category"},), published.read_object),
    "mmvp-questions": _Format(
        ({"index", "question"}, {"Index", "Question"}, {"lndex", "Question"}),
        questions.read_mmvp_question,
    ),
    "repope-labels": _Format(
        ({"image", "text", "label"}, {"image", "question", "label"}),
        questions.read_repope_label,
    ),
    "pope-export": _Format(
        ({"question", "answer", "image_source"},), questions.read_pope_export
    ),
    "llava-questions": _Format(
        ({"question_id", "image", "text"},), questions.read_question, frozenset({"label"})
    ),
    "llava-conversations": _Format(
        ({"image", "conversations"}, {"images", "conversations"}, {"images", "messages"}),
        questions.read_conversation,
    ),
    "coco-captions": _Format(({"file_name", "captions"},), coco.read_captioned),
    "coco-instances": _Format(({"file_name", "category"},), coco.read_instance),
}
FORMATS = tuple(_FORMATS)
"""Names of the formats that `read_list` can read."""


@checked
def read_list(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    format: str | None = None,
    columns: Columns | None = None,
    *,
    kind: str | None = None,
) -> list[Item | Broken]:
    """Reads a list of questions about images.

    The images must exist but are not opened. An item without a name is named after its image;
    where several questions would get the same name, a digest of the question is appended.

    Args:
      path: path of the list: JSON lines, CSV, TSV or Parquet with the fields of this package
        ("lines"); the published JSON lists ("caption", "mmvp", "repope", "object"); the
        Questions.csv of MMVP ("mmvp-questions"); the labels of POPE or RePOPE
        ("repope-labels"), or POPE as the hub has it ("pope-export"); the question files
        ("llava-questions") and conversations ("llava-conversations") of LLaVA; or the
        annotations of COCO or LVIS ("coco-captions", "coco-instances"), whose objects are read
        if they occur once in their image.
      images: folder that paths of images are relative to; None for the folder of the list.
      format: name of the format, as above; None to recognise the format by its fields.
      columns: where each field of "lines" stands in the list, as {"prompt": "question"} or
        "image=path,prompt=question"; other fields of the list are ignored. None for the
        fields' own names.
      kind: earlier name of `format`.

    Returns:
      An `Item` or, if an entry cannot be used, a `Broken`, in the order of the list.

    Raises:
      InputError: the list or the folder of images is missing, or the file is not a list.
    """
    path = local_path(path)
    format = kind if format is None else format
    if format is not None:
        require_choice("format", format, FORMATS)
    root = path.parent if images is None else local_path(images)
    if images is not None and not os.path.isdir(root):
        raise InputError(f"{root}: no such folder of images")
    if columns is None:
        entries = parse_list(path)
    else:
        columns = require_columns(columns, format)
        entries = rename(parse_list(path, columns.values()), columns, path)
        format = "lines"
    known = _FORMATS[_recognise(entries, path) if format is None else format]
    return name_items([_draft(known, place, entry, root) for place, entry in entries])


def _recognise(entries: Sequence[Placed], path: Path) -> str:
    """The format that most of the entries match."""
    # Most entries have the same fields, so each set of fields is looked at once.
    present = Counter(tuple(entry) for _, entry in entries if isinstance(entry, dict))
    counts = {
        name: sum(count for fields, count in present.items() if known.matches(fields))
        for name, known in _FORMATS.items()
    }
    name = max(counts, key=lambda name: counts[name])
    if name == "llava-questions" and all(
        questions.is_pope_question(entry) for _, entry in entries
    ):
        raise InputError(
            f"{path} holds the questions of POPE without their answers: take coco_pope_*.json"
        )
    if counts[name]:
        return name
    objects = [entry for _, entry in entries if isinstance(entry, dict)]
    for place, entry in entries:
        if not objects and isinstance(entry, InputError):
            raise InputError(f"{path} has no entry that can be used; {place}: {reason(entry)}")
    # A field that every entry lacks or misspells is better named entry by entry.
    if any("image" in entry for entry in objects):
        return "lines"
    fields = f"the fields {', '.join(map(str, objects[0]))}" if objects else "no JSON objects"
    fields = " ".join(fields.split())[:120]
    raise InputError(
        f"{path} is not in a known format: its entries have {fields}; name the fields, as in "
        "--columns image=path,prompt=question, or write one entry on each line, as in "
        '{"image": "cat.jpg", "prompt": "Describe the image."}'
    )


def _draft(known: _Format, place: str, entry: Any, root: Path) -> Draft | Broken:
    try:
        if isinstance(entry, InputError):
            raise entry
        require_object(entry)
        # Exports of tables write NaN where a value is missing.
        if any(map(_is_nan, entry.values())):
            entry = {name: value for name, value in entry.items() if not _is_nan(value)}
        if known is _FORMATS["lines"]:
            entry = parse_cells(entry)
        return known.read(entry, place, root)
    except InputError as error:
        return Broken(place, reason(error))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
