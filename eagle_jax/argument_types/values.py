"""Rules for single values: text, paths, numbers and arrays."""

import math
import numbers
import os
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = {bool: ("b", "booleans"), int: ("iu", "whole numbers"), float: ("iufV", "numbers")}
_LONGEST = 60
# Whole numbers from here on are infinite as floats of 32 bits.
_END = 10**38


class Rule(NamedTuple):
    """What an annotation allows.

    Attributes:
      words: the annotation in words, such as "a whole number".
      take: from a value to the value that the function is given; raises if it is not allowed.
      exact: types whose values are taken as they are, without a call of `take`.
      axes: index of each axis of an array that has a name or a fixed size, with these.
    """

    words: str
    take: Callable[[Any], Any]
    exact: frozenset[type] = frozenset()
    axes: tuple[tuple[int, str | int], ...] = ()


class Unfit(Exception):
    """A value is not allowed, or the element at a place within it, such as "[3]".

    `wanted` is what it must be, if that is more than the words of the rule.
    """

    def __init__(self, value: Any, wanted: str = "", place: str = ""):
        super().__init__()
        self.value, self.wanted, self.place = value, wanted, place

    def inside(self, key: str, rule: Rule) -> "Unfit":
        return Unfit(self.value, self.wanted or rule.words, f"[{key}]{self.place}")


def rule_of(words: str, fits: Callable[[Any], bool], *exact: type) -> Rule:
    """The rule of values for which a function returns True; they are taken as they are."""

    def take(value: Any) -> Any:
        if not fits(value):
            raise Unfit(value)
        return value

    return Rule(words, take, frozenset(exact))


def text(value: Any) -> Any:
    """Takes text that is valid Unicode."""
    if not isinstance(value, str):
        raise Unfit(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit(value, "text without lone surrogates") from None
    return value


def path(value: Any) -> Any:
    """Takes paths that the system can look up, whose bytes need not be valid Unicode."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise Unfit(value)
    try:
        if b"\0" in os.fsencode(value):
            raise Unfit(value, "a path without NUL characters")
    except UnicodeEncodeError:
        raise Unfit(value, "a path without lone surrogates") from None
    return value


def boolean(value: Any) -> bool:
    """Takes booleans, 0 and 1."""
    if not isinstance(value, int | np.bool_) or value not in (0, 1):
        raise Unfit(value)
    return bool(value)


def number(value: Any) -> int | float:
    """Takes numbers that fit a float and are not NaN; whole numbers stay whole."""
    number = value if type(value) is float else _real(value)
    if number is None or not (-_END < number < _END or abs(number) == math.inf):
        raise Unfit(value)
    # JAX makes 32 bits of whole numbers.
    return number if -(2**31) <= number < 2**31 else float(number)


def whole(value: Any) -> int:
    """Takes whole numbers, as floats too, but no booleans."""
    number = _real(value)
    if number is None or number % 1 != 0:
        raise Unfit(value)
    return int(number)


def _real(value: Any) -> int | float | None:
    """A number as Python's int or float; None for anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    kind = getattr(getattr(value, "dtype", None), "kind", "O")
    scalar = getattr(value, "shape", None) == () and kind in _NUMBERS[float][0]
    try:
        if scalar and kind in _NUMBERS[int][0]:
            return int(value)
        return float(value) if scalar or isinstance(value, numbers.Real) else None
    except (TypeError, ValueError, OverflowError):
        return None


def array(value: Any) -> np.ndarray:
    """Takes any array, and makes it one of NumPy."""
    if not hasattr(value, "dtype") or getattr(value, "shape", ()) == ():
        raise Unfit(value)
    return np.asarray(value)


def shaped_array(hint: Any) -> Rule:
    """Rule for an array that jaxtyping describes: its kind of numbers, and its axes."""
    names = "".join(map(str, hint.dtypes)) if isinstance(hint.dtypes, list | tuple) else ""
    element = next((each for each in _NUMBERS if each.__name__ in names), None)
    kinds, plural = _NUMBERS[element] if element else ("biufV", "numbers")
    axes, more = len(hint.dims), hint.index_variadic is not None

    def take(value: Any) -> Any:
        array = value
        if isinstance(value, list | tuple):
            try:
                array = np.asarray(value)
            except (ValueError, TypeError, OverflowError):
                raise Unfit(value) from None
        # Arrays of JAX, traced ones too, stay as they are.
        count = len(getattr(array, "shape", ()))
        kind = getattr(getattr(array, "dtype", None), "kind", "O")
        if kind not in kinds or not (count >= axes - 1 if more else count == axes):
            raise Unfit(value)
        return array

    named = (
        (i - axes if more else i, getattr(axis, "name", getattr(axis, "size", None)))
        for i, axis in enumerate(hint.dims)
        if not more or i > hint.index_variadic
    )
    known = tuple((i, name) for i, name in named if name is not None)
    return Rule(f"an array of {plural}, [{hint.dim_str}]", take, axes=known)


def limited(value: Any) -> str:
    """The representation of a value, cut and on one line."""
    text = reprlib.repr(value).encode("ascii", "backslashreplace").decode()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def shown(value: Any) -> str:
    """A value in a message, on one line."""
    if value is None or isinstance(value, bool):
        return str(value)
    if hasattr(value, "shape") and hasattr(value, "dtype") and value.shape:
        return f"an array of shape {value.shape} and type {value.dtype}"
    name = type(value).__name__
    if isinstance(value, str | bytes | int | float | list | tuple | set | dict | np.generic):
        return f"{limited(value)} ({name})"
    return f"of type {name}"
