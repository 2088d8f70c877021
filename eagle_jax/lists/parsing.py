"""Parses the file of a list into entries: JSON, JSON lines, CSV or COCO annotations."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, one_line
from eagle_jax.lists import coco
from eagle_jax.lists.entries import Placed


def parse_list(path: Path) -> list[Placed]:
    """Reads a file and parses its entries; their fields are not checked.

    Args:
      path: path of the list.

    Raises:
      InputError: the file cannot be read, is not a list of questions, or has no entries.
    """
    # A NUL character in a path raises ValueError.
    with one_line(f"cannot read the list {str(path)!r}", OSError, ValueError):
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    entries = _entries(content, path)
    if not entries:
        raise InputError(f"{path} holds no entries")
    return entries


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
            return list(coco.join(document))
        if b"\n" in content.strip() and document is not None:
            return [("entry 1", document)]
    elif _is_table(content):
        return list(_rows(content))
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
    try:
        return json.loads(content.decode("utf-8"), **options)
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text: {error.reason}") from error
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if b"\n" in content else ""
        where = f"{line}column {error.colno}"
        raise InputError(f"not valid JSON: {error.msg} at {where}") from error
    except RecursionError as error:
        raise InputError("not valid JSON: brackets are nested too deeply") from error
    except InputError:
        raise
    except ValueError as error:  # such as a whole number with thousands of digits
        raise InputError(f"not valid JSON: {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the field {repeated!r} appears twice")
    return entry


def _is_table(content: bytes) -> bool:
    header = content.lstrip().split(b"\n", 1)[0].lower()
    return b"," in header and {b"index", b"question"} <= {
        name.strip(b' "\r\t') for name in header.split(b",")
    }


def _rows(content: bytes) -> Iterator[Placed]:
    # Invalid UTF-8 becomes surrogates, which the check of each field refuses.
    reader = csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"), newline=""))
    header: list[str] = []
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield f"line {begin}", InputError(f"not a valid row: {error}")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if not header:
            header = [name.strip().lower() for name in row]
        elif len(row) != len(header):
            problem = f"the row has {len(row)} columns, but the first line has {len(header)}"
            yield f"line {begin}", InputError(problem)
        else:
            yield f"line {begin}", dict(zip(header, row, strict=True))
