"""Arguments of another type than a public function takes, answered by one line."""

import collections.abc
import functools
import inspect
import math
import numbers
import operator
import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from eagle_jax.errors import InputError

P, R = ParamSpec("P"), TypeVar("R")
_LONGEST = 60
# What devices count with.
_LARGEST = 2**31 - 1
_NUMBERS = {bool: "booleans", int: "whole numbers", float: "numbers"}
_KINDS = {bool: "b", int: "iu", float: "iufV"}
_NAMES = {str: "text", bool: "True or False", int: "a whole number", float: "a number"}


class _Unfit(Exception):
    pass


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a public function: arguments that its annotations do not allow are InputErrors.

    Scalars of NumPy pass as numbers, and become Python's; booleans do not, nor do numbers that
    are not a number, text that is not valid Unicode, and bytes as text or path.
    """
    parameters = dict(inspect.signature(function).parameters)
    hints = {
        name: Any if each.annotation is each.empty else each.annotation
        for name, each in parameters.items()
    }

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        names = [name for name, each in parameters.items() if each.kind in _BY_POSITION]
        given = [
            checked_argument(name, value, hints[name])
            for name, value in zip(names, args, strict=False)
        ]
        named = {
            name: checked_argument(name, value, hints[name]) if name in hints else value
            for name, value in kwargs.items()
        }
        # What is too much or missing is Python's to name.
        return function(*given, *args[len(given) :], **named)  # pyright: ignore

    return call


_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def checked_argument(name: str, value: Any, annotation: Any) -> Any:
    """The value of an argument, as a Python scalar if it is one of NumPy.

    Args:
      name: name of the argument.
      value: its value.
      annotation: annotation of the argument; names in quotation marks allow everything.

    Raises:
      InputError: the annotation does not allow the value.
    """
    try:
        return _fitted(value, annotation)
    except _Unfit:
        raise InputError(
            f"{name} is {_shown(value)}; it must be {_words(annotation)}"
        ) from None


def _fitted(value: Any, hint: Any) -> Any:
    """The value as the annotation allows it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        _require(value is None)
    elif origin in (typing.Union, types.UnionType):
        return _fitted_union(value, inner)
    elif hint in _SCALARS:
        return _SCALARS[hint](value)
    elif _is_array(hint):
        return _fitted_array(value, _element(hint))
    elif hint is Path or hint is os.PathLike or origin is os.PathLike:
        _require(isinstance(value, str | os.PathLike))
        _require_path(value)
        return Path(value) if hint is Path else value
    elif origin is collections.abc.Callable:
        _require(callable(value))
    elif origin is not None and isinstance(origin, type):
        return _fitted_elements(value, origin, inner)
    elif isinstance(hint, type):
        try:
            _require(isinstance(value, hint))
        except TypeError:
            pass  # A protocol that only type checkers know.
    return value


def _require(fits: bool) -> None:
    if not fits:
        raise _Unfit


def _fitted_union(value: Any, hints: tuple) -> Any:
    paths = any(each is Path or each is os.PathLike for each in hints)
    for hint in hints:
        try:
            if hint is str and paths and isinstance(value, str):
                # File names on Linux are bytes, which Python shows as lone surrogates.
                return _require_path(value)
            return _fitted(value, hint if hint is not Path else os.PathLike)
        except _Unfit:
            continue
    raise _Unfit


def _require_path(path: str | os.PathLike) -> Any:
    try:
        _require(b"\0" not in os.fsencode(path) and isinstance(os.fspath(path), str))
    except UnicodeEncodeError:
        raise _Unfit from None
    return path


def _text(value: Any) -> Any:
    _require(isinstance(value, str))
    _require(not any("\ud800" <= character <= "\udfff" for character in value))
    return value


def _boolean(value: Any) -> Any:
    _require(isinstance(value, bool | np.bool_))
    return bool(value)


def _whole(value: Any) -> Any:
    _require(not isinstance(value, bool | np.bool_))
    try:
        index = operator.index(value)
    except TypeError:
        raise _Unfit from None
    _require(abs(index) <= _LARGEST)
    return value if isinstance(value, int) else index


def _number(value: Any) -> Any:
    _require(not isinstance(value, bool | np.bool_))
    if not isinstance(value, int):
        _require(isinstance(value, numbers.Real) or getattr(value, "shape", None) == ())
        if getattr(value, "dtype", None) is not None:
            _require(value.dtype.kind in _KINDS[float])
        try:
            value = float(value)
        except (TypeError, OverflowError):
            raise _Unfit from None
        _require(not math.isnan(value))
    return value


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    bool: _boolean,
    int: _whole,
    float: _number,
}


def _is_array(hint: Any) -> bool:
    return hint is np.ndarray or hasattr(hint, "array_type")


def _element(hint: Any) -> type | None:
    """bool, int or float for an annotation of jaxtyping; None for any array."""
    if hint is np.ndarray:
        return None
    names = "".join(map(str, hint.dtypes)) if isinstance(hint.dtypes, list | tuple) else ""
    return next((kind for kind in (bool, int, float) if kind.__name__ in names), None)


def _fitted_array(value: Any, element: type | None) -> Any:
    if isinstance(value, list | tuple) and element is not None:
        try:
            value = np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            raise _Unfit from None
        _require(value.size > 0)
    # Arrays of NumPy and of JAX, traced ones included.
    _require(hasattr(value, "dtype") and hasattr(value, "shape"))
    _require(not isinstance(value, np.generic))
    kinds = _KINDS[element] if element is not None else "biufV"
    _require(getattr(value.dtype, "kind", "O") in kinds)
    return value


def _fitted_elements(value: Any, origin: type, inner: tuple) -> Any:
    if issubclass(origin, tuple):
        _require(isinstance(value, tuple | list))
        if inner[1:] != (...,):
            _require(len(value) == len(inner))
            return tuple(map(_fitted, value, inner))
    _require(isinstance(value, origin) or (origin is tuple and isinstance(value, list)))
    _require(not isinstance(value, str | bytes | bytearray | memoryview))
    if not inner or not isinstance(value, collections.abc.Mapping | list | tuple):
        return value
    if isinstance(value, collections.abc.Mapping):
        return {_fitted(key, inner[0]): _fitted(each, inner[1]) for key, each in value.items()}
    fitted = [_fitted(each, inner[0]) for each in value]
    return tuple(fitted) if isinstance(value, tuple) else fitted


def _shown(value: Any) -> str:
    name = type(value).__name__
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, str | bytes | int | float | list | tuple | dict | np.generic):
        text = " ".join(ascii(value).split())
        text = text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
        return f"{text} ({name})"
    return f"of type {name}"


def _words(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is types.NoneType:
        return "None"
    if origin in (typing.Union, types.UnionType):
        kinds = [*dict.fromkeys(map(_words, inner))]
        if "a path" in kinds and "text" in kinds:
            kinds.remove("text")
        return " or ".join(kinds)
    if hint in _NAMES:
        return _NAMES[hint]
    if _is_array(hint):
        element = _element(hint)
        return f"an array of {_NUMBERS[element]}" if element else "an array"
    if hint is Path or os.PathLike in (hint, origin):
        return "a path"
    if origin is collections.abc.Callable:
        return "a function"
    if isinstance(origin, type):
        if issubclass(origin, collections.abc.Mapping):
            return "a mapping"
        return "a sequence" + (f" of {_words(inner[0])}" if inner else "")
    return f"a {getattr(hint, '__name__', hint)}"
