"""Parses the file of a list into entries: JSON, JSON lines, tables or COCO annotations."""

import codecs
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, one_line
from eagle_jax.lists import coco, tables
from eagle_jax.lists.entries import Placed

# UTF-32 first, because its mark begins as that of UTF-16 does.
_OTHER_TEXT = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet or a ZIP archive: save the table as CSV, or unpack it",
    b"\x1f\x8b": "compressed by gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard: unpack it first",
    b"ARROW1": "an Arrow file: save the table as Parquet",
    b"SQLite": "a database: save the table as CSV",
    b"version https://git-lfs": "a pointer of Git LFS: fetch the file with git lfs pull",
    b"<": "a web page or XML: download the file itself, or save the list as JSON lines",
}


def parse_list(path: Path, columns: Collection[str] | None = None) -> list[Placed]:
    """Reads a file and parses its entries; their fields are not checked.

    Args:
      path: path of the list.
      columns: names of the columns of a table that are needed; None for all.

    Raises:
      InputError: the file cannot be read, is not a list of questions, or has no entries.
    """
    # A NUL character in a path raises ValueError.
    with one_line(f"cannot read the list {str(path)!r}", OSError, ValueError):
        if os.path.isdir(path):
            raise InputError(f"cannot read the list {str(path)!r}: it is a folder")
        with open(path, "rb") as file:
            content = file.read(len(tables.PARQUET))
            if content != tables.PARQUET:
                content += file.read()
    if content == tables.PARQUET:
        entries = tables.read_parquet(path, columns)
    else:
        entries = _entries(_as_utf8(content, path), path)
    if not entries:
        raise InputError(f"{path} holds no entries")
    return entries


def _as_utf8(content: bytes, path: Path) -> bytes:
    """The text of a file that is not recognised as anything but UTF-8 text."""
    for mark, name in _OTHER_TEXT.items():
        if content.startswith(mark):
            raise InputError(f"{path} is {name} text: save it as UTF-8")
    # JSON and tables begin with ASCII characters, which UTF-16 pads with zeros.
    if len(content) > 1 and (content[0] == 0) != (content[1] == 0):
        raise InputError(f"{path} seems to be UTF-16 text: save it as UTF-8")
    for begin, problem in _OTHER_FILES.items():
        if content.startswith(begin):
            raise InputError(f"{path} is not a list of questions, but {problem}")
    content = content.removeprefix(codecs.BOM_UTF8)
    return content if b"\n" in content else content.replace(b"\r", b"\n")


def _entries(content: bytes, path: Path) -> list[Placed]:
    damage = "none of its lines is a JSON object"
    if content.lstrip()[:1] in (b"[", b"{"):
        try:
            document = _parse(content)
        except InputError as error:
            # The file holds JSON lines, or a damaged document.
            document, damage = None, str(error)
        if isinstance(document, list):
            return [(f"entry {n}", entry) for n, entry in enumerate(document, 1)]
        if isinstance(document, dict) and coco.is_annotations(document):
            entries = list(coco.join(document, path))
            if not entries and document["annotations"]:
                raise InputError(
                    f"{path} holds no object that is the only one of its category in its image"
                )
            return entries
        if b"\n" in content.strip() and document is not None:
            return [("entry 1", document)]
    elif delimiter := tables.delimiter_of(content, path):
        return list(tables.read_rows(content, delimiter))
    entries = list(_lines(content))
    if entries and not any(isinstance(entry, dict) for _, entry in entries):
        raise InputError(f"{path} is not a list of questions: {damage}")
    return entries


def _lines(content: bytes) -> Iterator[Placed]:
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip()
        if not line or line.startswith(b"#"):
            continue
        try:
            yield f"line {number}", _parse(line, object_pairs_hook=_without_repeats)
        except InputError as error:
            yield f"line {number}", error


def _parse(content: bytes, **options: Any) -> Any:
    several = b"\n" in content
    try:
        return json.loads(content.decode("utf-8"), **options)
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        line = f" in line {number}" if several else ""
        raise InputError(f"not UTF-8 text{line}: {error.reason}; save it as UTF-8") from error
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if several else ""
        raise InputError(
            f"not valid JSON: {_fault(error)} at {line}column {error.colno}"
        ) from error
    except RecursionError as error:
        raise InputError("not valid JSON: brackets are nested too deeply") from error
    except InputError:
        raise
    except ValueError as error:  # such as a whole number with thousands of digits
        raise InputError(f"not valid JSON: {error}") from error


def _fault(error: json.JSONDecodeError) -> str:
    """What is wrong with a document, with the usual slips by name."""
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if before.endswith(",") and after[:1] in ("]", "}"):
        return f"a comma before the closing {after[0]}"
    if error.msg == "Extra data" and after.startswith(","):
        return "a comma behind the object"
    if after.startswith("'"):
        return "single quotation marks"
    return error.msg


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the field {repeated[:60]!r} appears twice")
    return entry
