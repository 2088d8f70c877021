"""Lists whose fields have names of their own: which column holds which field."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError, reason, require_choice
from eagle_jax.lists.entries import Placed
from eagle_jax.lists.lines import FIELDS

Columns = str | Mapping[str, str]
"""The column of each field: {"prompt": "question"}, or the text "prompt=question"."""
# Fields of lists, which tables hold as JSON.
_NESTED = ("boxes", "polygons", "runs", "size")


def require_columns(columns: Columns, format: str | None) -> dict[str, str]:
    """Checks the columns of fields; image and prompt have their own names if none is given.

    Args:
      columns: as in `read_list`.
      format: as in `read_list`.

    Raises:
      InputError: the columns are not those of fields, or the format has fields of its own.
    """
    if format not in (None, "lines"):
        raise InputError(f"columns cannot go with the format {format!r}, only with lines")
    if isinstance(columns, str):
        pairs = [pair.partition("=")[::2] for pair in columns.split(",")]
    elif isinstance(columns, Mapping):
        pairs = [*columns.items()]
    else:
        raise InputError(f"columns is {columns!r:.60}; write image=path,prompt=question")
    chosen = {}
    for field, column in pairs:
        if not isinstance(column, str) or not isinstance(field, str) or not column.strip():
            raise InputError(f"columns has {field!r:.60}; write image=path,prompt=question")
        field, column = field.strip(), column.strip()
        require_choice("a field of columns", field, FIELDS)
        if field in chosen:
            raise InputError(f"columns has the field {field!r} twice")
        chosen[field] = column
    return {"image": "image", "prompt": "prompt"} | chosen


def rename(entries: Sequence[Placed], columns: Mapping[str, str], path: Path) -> list[Placed]:
    """Entries with only the fields of `columns`, under the names of this package.

    Args:
      entries: entries as parsed.
      columns: the column of each field.
      path: path of the list, for messages.

    Raises:
      InputError: no entry has one of the columns.
    """
    objects = [entry for _, entry in entries if isinstance(entry, dict)]
    present = dict.fromkeys(name for entry in objects for name in entry)
    for column in columns.values():
        if objects and column not in present:
            names = ", ".join(map(str, present))
            raise InputError(f"{path} has no column {column[:60]!r}; it has {names:.120}")
    return [
        (place, _renamed(entry, columns) if isinstance(entry, dict) else entry)
        for place, entry in entries
    ]


def parse_cells(entry: dict[str, Any]) -> dict[str, Any]:
    """Parses the cells of a table that hold lists, written as JSON.

    Raises:
      InputError: a cell begins with a bracket but is not JSON.
    """
    parsed = dict(entry)
    for name in _NESTED:
        value = entry.get(name)
        if isinstance(value, str) and value.lstrip()[:1] == "[":
            try:
                parsed[name] = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{name!r} is not a valid list: {reason(error)}") from error
    return parsed


def _renamed(entry: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    renamed = {field: entry[column] for field, column in columns.items() if column in entry}
    if type(renamed.get("name")) is int:  # an id
        renamed["name"] = str(renamed["name"])
    return renamed
