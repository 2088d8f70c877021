"""Any list of questions about pictures -> items; what cannot be used is named, not dropped."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eagle_jax.errors import InputError, one_line, reason
from eagle_jax.lists import coco, lines, published, questions
from eagle_jax.lists.entries import shown
from eagle_jax.lists.items import Broken, Item
from eagle_jax.lists.naming import Draft, name_items


class _Format(NamedTuple):
    """`fields`: any of these sets of fields tells its entries from others."""

    fields: tuple[set[str], ...]
    read: Callable[[dict[str, Any], str, Path], Draft]


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
"""The formats that `read_list` knows, by name."""


def read_list(
    path: str | os.PathLike,
    images: str | os.PathLike | None = None,
    kind: str | None = None,
) -> list[Item | Broken]:
    """Reads a list of questions about pictures.

    Pictures are looked for, not opened; a picture's name is its item's, with a digest of the
    question behind it where several questions want the same.

    Args:
      path: our own JSON lines ("lines"); the published JSON lists ("caption", "mmvp",
        "repope", "object"); the Questions.csv of MMVP ("mmvp-questions"); the labels of POPE
        or RePOPE ("repope-labels"); the annotations of COCO ("coco-captions",
        "coco-instances"), of which the objects that occur once in their picture are read.
      images: the folder that pictures are named from; None for the list's own.
      kind: the format, by one of the names above; None recognises it by the content.

    Returns:
      For every entry, in the order of the list, the item or what is wrong with it.

    Raises:
      InputError: there is no such file or folder, or the file is no list at all.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise InputError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    root = path.parent if images is None else Path(images)
    if images is not None and not os.path.isdir(root):
        raise InputError(f"{root}: there is no such folder of images")
    found = list(_entries(_read(path), path))
    if not found:
        raise InputError(f"{path} holds no entries")
    if kind is None:
        kind = _recognise(found, path)
    return name_items([_draft(kind, place, entry, root) for place, entry in found])


def _read(path: Path) -> bytes:
    # A NUL in the name is a ValueError.
    with one_line(f"cannot read the list {str(path)!r}", OSError, ValueError):
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")


def _entries(content: bytes, path: Path) -> list[tuple[str, Any]]:
    """Where each entry stands, and the entry, or what is wrong in its place."""
    damage = "none of its lines is a JSON object"
    if content.lstrip()[:1] in (b"[", b"{"):
        try:
            document = _parse(content)
        except InputError as error:
            # Objects on lines of their own are no document; neither is a damaged one.
            document, damage = None, str(error)
        if isinstance(document, list):
            return [(f"entry {n}", entry) for n, entry in enumerate(document, 1)]
        if isinstance(document, dict) and coco.is_annotations(document):
            return list(coco.join(document))
        if b"\n" in content.strip() and document is not None:
            return [("entry 1", document)]
    elif _is_table(content):
        return list(_rows(content))
    found = list(_lines(content))
    if found and not any(isinstance(entry, dict) for _, entry in found):
        raise InputError(f"{path} is no list of questions: {damage}")
    return found


def _lines(content: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            yield f"line {number}", _parse(line, object_pairs_hook=_without_repeats)
        except InputError as error:
            yield f"line {number}", error


def _parse(content: bytes, **options: Any) -> Any:
    try:
        return json.loads(content.decode("utf-8"), **options)
    except UnicodeDecodeError as error:
        raise InputError(f"it is no UTF-8 text: {error.reason}") from error
    except json.JSONDecodeError as error:
        where = (
            f"line {error.lineno} column {error.colno}"
            if b"\n" in content
            else (f"column {error.colno}")
        )
        raise InputError(f"it is no valid JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise InputError("it is no valid entry: its brackets are nested too deep") from error
    except InputError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise InputError(f"it is no valid entry: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InputError(f"it has the field {repeated!r} twice")
    return entry


def _is_table(content: bytes) -> bool:
    header = content.lstrip().split(b"\n", 1)[0].lower()
    return b"," in header and {b"index", b"question"} <= {
        name.strip(b' "\r\t') for name in header.split(b",")
    }


def _rows(content: bytes) -> Iterator[tuple[str, Any]]:
    # Bytes that are no UTF-8 become what the check of each field refuses.
    reader = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    header: list[str] = []
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {begin}", InputError(f"it is no valid row: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [name.strip().lower() for name in row]
        elif len(row) != len(header):
            wrong = f"it has {len(row)} columns, the first line has {len(header)}"
            yield f"line {begin}", InputError(wrong)
        else:
            yield f"line {begin}", dict(zip(header, row, strict=True))


def _recognise(found: list[tuple[str, Any]], path: Path) -> str:
    """The format whose fields most of the entries have."""
    counts = {
        kind: sum(
            any(isinstance(entry, dict) and wanted <= entry.keys() for wanted in known.fields)
            for _, entry in found
        )
        for kind, known in _FORMATS.items()
    }
    kind = max(counts, key=lambda kind: counts[kind])
    if not counts[kind]:
        # A field that every entry lacks, or misspells, is better named entry by entry.
        if any(isinstance(entry, dict) and "image" in entry for _, entry in found):
            return "lines"
        entry = next((entry for _, entry in found if isinstance(entry, dict)), None)
        has = "no objects" if entry is None else f"the fields {', '.join(map(str, entry))}"
        has = " ".join(has.split())[:200]
        raise InputError(
            f"{path} is no list that is known: it has {has}; an entry of our own lists "
            "has an image and a prompt, as in "
            '{"image": "cat.jpg", "prompt": "Describe the image."}'
        )
    return kind


def _draft(kind: str, place: str, entry: Any, root: Path) -> Draft | Broken:
    try:
        if isinstance(entry, InputError):
            raise entry
        if not isinstance(entry, dict):
            raise InputError(f"it must be a JSON object, not {shown(entry)}")
        return _FORMATS[kind].read(entry, place, root)
    except InputError as error:
        return Broken(place, reason(error))
