"""Reads and checks the fields of a list's entries; an error says why an entry is broken."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.lists.paths import image_path
from eagle_jax.metrics.hallucination import LABELS

Entry = Mapping[str, Any]
"""The fields of one question, before they are checked."""
Placed = tuple[str, Any]
"""The place of an entry in its list ("line 12"), and the entry; for an entry that cannot be
parsed, an `InputError` that says why."""
_ID_END = 2**31


def shown(value: Any) -> str:
    """A value as messages show it: JSON, cut to a readable length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def require_object(entry: Any) -> None:
    """Refuses an entry that is not a JSON object."""
    if not isinstance(entry, dict):
        raise InputError(f"the entry must be a JSON object, not {shown(entry)}")


def required(entry: Entry, name: str) -> Any:
    """A field that must be present."""
    if entry.get(name) is None:
        raise InputError(f"the field {name!r} is missing")
    return entry[name]


def text(entry: Entry, name: str) -> str:
    """A field of text that is not blank; outer blanks stay, because they are tokens."""
    value = required(entry, name)
    if not isinstance(value, str):
        raise InputError(f"{name!r} must be text, not {shown(value)}")
    if not value.strip():
        raise InputError(f"{name!r} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name!r} is not valid Unicode text: {shown(value)}")
    return value


def number_or_text(entry: Entry, name: str) -> int | str:
    """A field that identifies a question, by a whole number or a text."""
    value = required(entry, name)
    if type(value) not in (int, str):
        raise InputError(f"{name!r} must be a whole number or text, not {shown(value)}")
    return value


def token_ids(entry: Entry, name: str) -> tuple[int, ...]:
    """A field of one or more token ids or positions."""
    value = required(entry, name)
    if not isinstance(value, list) or not all(_is_id(number) for number in value):
        raise InputError(f"{name!r} must be a list of whole numbers, not {shown(value)}")
    if not value:
        raise InputError(f"{name!r} is empty")
    return tuple(value)


def ids_or_words(entry: Entry, name: str) -> tuple[int | str, ...]:
    """A field of one or more token ids or words; a single word may stand without its list."""
    value = required(entry, name)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise InputError(f"{name!r} must be token ids or words, not {shown(value)}")
    # Each value is checked like a field.
    return tuple(
        text({name: word}, name)
        if isinstance(word, str)
        else token_ids({name: [word]}, name)[0]
        for word in value
    )


def positions(entry: Entry, name: str, length: int | None) -> tuple[int, ...]:
    """A field of positions in an answer of `length` tokens; None for an unknown length."""
    values = token_ids(entry, name)
    if len(set(values)) < len(values):
        raise InputError(f"{name!r} repeats a position: {shown(values)}")
    if length is not None and max(values) >= length:
        raise InputError(
            f"{name!r} has the position {max(values)}, but the answer has {length} tokens"
        )
    return values


def image(entry: Entry, name: str, root: Path) -> Path:
    """A field that names an image file, which must exist."""
    value = required(entry, name)
    if isinstance(value, bytes | dict):
        raise InputError(f"{name!r} holds an image itself: write it to a file, give its path")
    return image_path(text(entry, name), root)


def yes_or_no(entry: Entry, name: str) -> str:
    """A field that holds yes or no in any case, as "Yes" or "No"."""
    value = text(entry, name).strip().capitalize()
    if value not in LABELS:
        raise InputError(f'{name!r} must be "Yes" or "No", not {shown(entry[name])}')
    return value


def box(value: Any, name: str) -> tuple[int, int, int, int]:
    """A box: x0, y0, x1, y1 in whole pixels, with x0 < x1 and y0 < y1."""
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
    return tuple(box(corners, name) for corners in value)


def polygons(entry: Entry, name: str) -> tuple[tuple[float, ...], ...]:
    """A field of polygons, each x0, y0, x1, y1, ... of three or more corners."""
    value = required(entry, name)
    if not isinstance(value, list):
        raise InputError(f"{name!r} must be a list of polygons, not {shown(value)}")
    for polygon in value:
        if not isinstance(polygon, list) or not all(map(is_number, polygon)):
            raise InputError(f"{name!r} must hold lists of numbers, not {shown(polygon)}")
        if len(polygon) < 6 or len(polygon) % 2:
            raise InputError(
                f"{name!r} holds a polygon of {len(polygon)} numbers; a polygon needs x and y "
                "of three or more corners"
            )
    return tuple(tuple(map(float, polygon)) for polygon in value)


def size(entry: Entry, name: str) -> tuple[int, int]:
    """A field of width and height of an image, in whole pixels."""
    value = required(entry, name)
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_id, value)):
        raise InputError(f"{name!r} must hold width and height, not {shown(value)}")
    width, height = value
    if not width or not height:
        raise InputError(f"{name!r} is {width} x {height}; an image has pixels")
    return width, height


def is_number(value: Any) -> bool:
    """Whether a value can be a pixel coordinate."""
    # The range is checked first: very long whole numbers do not fit a float.
    return type(value) in (int, float) and abs(value) < _ID_END and math.isfinite(value)


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < _ID_END
