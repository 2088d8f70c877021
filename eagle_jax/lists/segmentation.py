"""Outlines of objects as COCO's annotations hold them: polygons or run-length encoded masks."""

from typing import Any, NamedTuple

from eagle_jax.errors import InputError
from eagle_jax.lists import entries
from eagle_jax.lists.entries import shown

# The largest image that can be read.
_MAX_PIXELS = 100_000_000
# Characters of a number in compressed counts: enough for any number of pixels.
_LONGEST = 7


class Outline(NamedTuple):
    """The outline of an object; polygons, runs or neither.

    Attributes:
      polygons: as in `Item`.
      runs: as in `Item`.
      size: width and height that the runs are made for; None without runs.
    """

    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] = ()
    size: tuple[int, int] | None = None


def read_segmentation(value: Any) -> Outline:
    """Reads the field `segmentation` of an annotation.

    Polygons may be lists of numbers or of points; a single polygon may stand without its outer
    list. A polygon of one or two points encloses nothing and is left out if others remain.

    Args:
      value: value of the field; None and empty lists mean that there is only a box.

    Raises:
      InputError: the value is neither polygons nor a run-length encoded mask.
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if isinstance(value, dict):
        return _encoded(value)
    if not isinstance(value, list | None):
        raise InputError(f"'segmentation' must be polygons or a mask, not {shown(value)}")
    value = value or []
    # The first element decides, and `entries.polygons` checks the others.
    if value and entries.is_number(value[0]) or len(value) > 2 and all(map(_is_point, value)):
        value = [value]
    polygons = [_flat(polygon) for polygon in value if polygon != []]
    enclosing = [each for each in polygons if not isinstance(each, list) or len(each) > 4]
    return Outline(entries.polygons({"segmentation": enclosing or polygons}, "segmentation"))


def read_runs(counts: Any, size: tuple[int, int], name: str) -> tuple[int, ...]:
    """Checks run-length encoded pixels of an object.

    Args:
      counts: a list of numbers, or COCO's compressed text.
      size: width and height of the image, in pixels.
      name: name of the field, for messages.

    Returns:
      The runs, as in `Item`.

    Raises:
      InputError: the runs do not fill the size, or no pixel lies inside the object.
    """
    if isinstance(counts, str):
        runs = decode_counts(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        runs = tuple(counts)
    else:
        raise InputError(f"{name!r} must be whole numbers or COCO's text, not {shown(counts)}")
    width, height = size
    if width * height > _MAX_PIXELS:
        raise InputError(f"{name!r} is for {width} x {height} pixels, more than 100 million")
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise InputError(
            f"{name!r} holds {sum(runs)} pixels, but its size is {width} x {height} pixels"
        )
    if not sum(runs[1::2]):
        raise InputError(f"{name!r} marks no pixel as the object")
    return runs


def decode_counts(text: str) -> tuple[int, ...]:
    """The runs of COCO's compressed run-length encoding.

    Each number is written in groups of five bits, lowest first, a character each: bit 5 says
    that another group follows, and bit 4 of the last group is the sign. From the fourth number
    on, the difference from the number before the last is written.

    Args:
      text: the field `counts`.

    Raises:
      InputError: the text is not such an encoding.
    """
    runs: list[int] = []
    value = length = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64 or length == _LONGEST:
            raise InputError(f"'counts' is not COCO's run-length code at {character!r}")
        value |= (group & 31) << 5 * length
        length += 1
        if group & 32:
            continue
        if group & 16:
            value -= 1 << 5 * length
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = length = 0
    if length:
        raise InputError("'counts' ends in the middle of a number")
    return tuple(runs)


def _encoded(value: dict[str, Any]) -> Outline:
    height, width = entries.size(value, "size")
    runs = read_runs(entries.required(value, "counts"), (width, height), "counts")
    return Outline(runs=runs, size=(width, height))


def _flat(polygon: Any) -> Any:
    if isinstance(polygon, list) and all(map(_is_point, polygon)):
        return [number for point in polygon for number in point]
    return polygon


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(entries.is_number, value))
