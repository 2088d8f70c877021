"""Fields of a list's entries, checked; the errors are the reasons why an entry is broken."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.metrics.hallucination import LABELS

Entry = Mapping[str, Any]
_IDS_END = 2**31


def shown(value: Any) -> str:
    """A value of a list as a message shows it: JSON, cut to a readable length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def required(entry: Entry, name: str) -> Any:
    """A field that must be there."""
    if entry.get(name) is None:
        raise InputError(f"it has no {name!r}")
    return entry[name]


def text(entry: Entry, name: str) -> str:
    """A field of text that is not blank; outer blanks stay, they are tokens."""
    value = required(entry, name)
    if not isinstance(value, str):
        raise InputError(f"{name!r} must be text, not {shown(value)}")
    if not value.strip():
        raise InputError(f"{name!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name!r} is no valid Unicode text: {shown(value)}")
    return value


def token_ids(entry: Entry, name: str) -> tuple[int, ...]:
    """A field of one or more token ids or positions."""
    value = required(entry, name)
    if not isinstance(value, list) or not all(_is_id(number) for number in value):
        raise InputError(f"{name!r} must be a list of whole numbers, not {shown(value)}")
    if not value:
        raise InputError(f"{name!r} is empty")
    return tuple(value)


def positions(entry: Entry, name: str, length: int | None) -> tuple[int, ...]:
    """A field of positions in an answer of so many tokens; None when that is not known."""
    found = token_ids(entry, name)
    if len(set(found)) < len(found):
        raise InputError(f"{name!r} repeats a position: {shown(found)}")
    if length is not None and max(found) >= length:
        raise InputError(
            f"{name!r} has the position {max(found)}, the answer has {length} tokens"
        )
    return found


def picture(entry: Entry, name: str, root: Path) -> Path:
    """A field that names a picture, which must exist."""
    path = root / text(entry, name)
    # Not Path.is_file: it raises for names that no file can have.
    if not os.path.isfile(path):
        raise InputError(f"{str(path)[-200:]}: no such image file")
    return path


def yes_or_no(entry: Entry, name: str) -> str:
    """A field that says yes or no, in any case; "Yes" or "No"."""
    value = text(entry, name).strip().capitalize()
    if value not in LABELS:
        raise InputError(f'{name!r} must be "Yes" or "No", not {shown(entry[name])}')
    return value


def box(value: Any, name: str) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in whole pixels, in order."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_id, value)):
        raise InputError(
            f"{name!r} must hold x0, y0, x1, y1 in whole pixels, not {shown(value)}"
        )
    x0, y0, x1, y1 = value
    if x0 >= x1 or y0 >= y1:
        raise InputError(f"{name!r} holds an empty box, or its corners are swapped: {value}")
    return x0, y0, x1, y1


def boxes(entry: Entry, name: str) -> tuple[tuple[int, int, int, int], ...]:
    """A field of boxes."""
    value = required(entry, name)
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list of boxes, not {shown(value)}")
    return tuple(box(one, name) for one in value)


def polygons(entry: Entry, name: str) -> tuple[tuple[float, ...], ...]:
    """A field of outlines, each x0, y0, x1, y1, ... of three or more corners."""
    value = required(entry, name)
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list of polygons, not {shown(value)}")
    for polygon in value:
        if not isinstance(polygon, list) or not all(map(is_number, polygon)):
            raise InputError(f"{name!r} must hold lists of numbers, not {shown(polygon)}")
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(
                f"{name!r} holds a polygon of {len(polygon)} numbers; it takes x and y of "
                "three or more corners"
            )
    return tuple(tuple(map(float, polygon)) for polygon in value)


def is_number(value: Any) -> bool:
    """Whether a value of a list is a number that a pixel coordinate can be."""
    # The range comes first: a float holds no arbitrarily long whole number.
    return type(value) in (int, float) and abs(value) < _IDS_END and math.isfinite(value)


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < _IDS_END
