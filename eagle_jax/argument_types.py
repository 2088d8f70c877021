"""Arguments of a wrong type, answered in one line."""

import functools
import inspect
import math
import numbers
import os
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from eagle_jax.errors import InputError

Checked = TypeVar("Checked", bound=Callable)

_NUMBERS = {bool: ("b", "booleans"), int: ("iu", "whole numbers"), float: ("iufV", "numbers")}
_LONGEST = 60


class Rule(NamedTuple):
    """What an annotation allows.

    Attributes:
      words: the annotation in words, such as "a whole number".
      take: from a value to the value that the function is given; raises if it is not allowed.
      exact: types whose values are taken as they are, without a call of `take`.
    """

    words: str
    take: Callable[[Any], Any]
    exact: frozenset[type] = frozenset()


class _Unfit(Exception):
    """A value is not allowed, or the element at a place within it, such as "[3]".

    `wanted` is what it must be, if that is more than the words of the rule.
    """

    def __init__(self, value: Any, wanted: str = "", place: str = ""):
        super().__init__()
        self.value, self.wanted, self.place = value, wanted, place

    def inside(self, key: str, rule: Rule) -> "_Unfit":
        return _Unfit(self.value, self.wanted or rule.words, f"[{key}]{self.place}")


def checked(target: Checked) -> Checked:
    """Decorates a public function, dataclass or named tuple: its annotations hold for callers.

    An argument of another type raises `InputError`. NumPy's scalars become Python's, other
    collections become the tuple that is annotated, and text becomes the annotated `Path`. Whole
    floats count as whole numbers; booleans do not. Numbers must not be NaN. Text must be valid
    Unicode for functions; classes keep any text, because results on disk may hold it.

    Args:
      target: function or class; its signature and documentation stay as they are.
    """
    if not isinstance(target, type):
        return typing.cast(Checked, _checked_function(target, _TEXT))
    if issubclass(target, tuple):
        target.__new__ = staticmethod(_checked_function(target.__new__, _ANY_TEXT))  # pyright: ignore
    else:
        target.__init__ = _checked_function(target.__init__, _ANY_TEXT)
    return target


def _checked_function(function: Callable, text: Rule) -> Callable:
    @functools.cache
    def rules() -> tuple[dict[str, Rule], int]:
        # Made at the first call, so that importing stays cheap.
        parameters = inspect.signature(function).parameters
        positional = [each for each in parameters.values() if each.kind < each.VAR_POSITIONAL]
        return {name: rule_for(parameters[name].annotation, text) for name in parameters}, len(
            positional
        )

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        by_name, count = rules()
        # Missing and surplus arguments are left for Python to name.
        given = [
            _taken(name, value, by_name[name])
            for name, value in zip(by_name, args[:count], strict=False)
        ]
        named = {
            name: _taken(name, value, by_name.get(name, _ANYTHING))
            for name, value in kwargs.items()
        }
        return function(*given, *args[len(given) :], **named)

    return call


def _taken(name: str, value: Any, rule: Rule) -> Any:
    if type(value) in rule.exact:
        return value
    try:
        return rule.take(value)
    except _Unfit as unfit:
        raise InputError(
            f"{name}{unfit.place} is {_shown(unfit.value)}; "
            f"it must be {unfit.wanted or rule.words}"
        ) from None


@functools.cache
def rule_for(hint: Any, text: Rule) -> Rule:
    """The rule of an annotation.

    Args:
      hint: annotation of a parameter; what cannot be checked, such as a name in quotation
        marks, allows everything.
      text: rule of `str`.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is str:
        return text
    if hint in _RULES:
        return _RULES[hint]
    if hasattr(hint, "array_type"):
        return _shaped_array(hint)
    if origin in (typing.Union, types.UnionType):
        # A number keeps its type where numbers of several types may be.
        order = {np.ndarray: 0, float: 2, int: 3, bool: 4, types.NoneType: 5}
        hints = sorted(inner, key=lambda hint: order.get(hint, 1))
        if Path in hints or os.PathLike in hints:
            hints = [os.PathLike if hint in (Path, str) else hint for hint in hints]
        return _union([rule_for(each, text) for each in hints])
    if origin is Literal:
        fits = lambda value: isinstance(value, str) and value in inner  # noqa: E731
        return _test(" or ".join(map(repr, inner)), fits)
    if origin is Callable:
        return _test("a function", callable)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        rules = [rule_for(each, text) for each in inner if each is not ...]
        if issubclass(origin, Mapping):
            return _mapping(*rules)
        fixed = origin is tuple and ... not in inner
        return _sequence(origin, rules, len(rules) if fixed else None)
    static = getattr(hint, "_is_protocol", False) and not hint._is_runtime_protocol
    if not isinstance(hint, type) or static:
        return _ANYTHING
    name = "PIL image" if hint.__module__.startswith("PIL.") else hint.__name__
    article = "an" if name[0] in "AEIOU" else "a"
    return _test(f"{article} {name}", lambda value: isinstance(value, hint), hint)


def _test(words: str, fits: Callable[[Any], bool], *exact: type) -> Rule:
    def take(value: Any) -> Any:
        if not fits(value):
            raise _Unfit(value)
        return value

    return Rule(words, take, frozenset(exact))


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise _Unfit(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _Unfit(value, "text without lone surrogates") from None
    return value


def _path(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise _Unfit(value)
    try:
        if b"\0" in os.fsencode(value):
            raise _Unfit(value, "a path without NUL characters")
    except UnicodeEncodeError:
        raise _Unfit(value, "a path without lone surrogates") from None
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, int | np.bool_) or value not in (0, 1):
        raise _Unfit(value)
    return bool(value)


def _number(value: Any) -> int | float:
    number = value if type(value) is float else _real(value)
    if number is None or math.isnan(number):
        raise _Unfit(value)
    return number


def _whole(value: Any) -> int:
    number = _real(value)
    if number is None or number != number or number % 1:
        raise _Unfit(value)
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


def _array(value: Any) -> np.ndarray:
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise _Unfit(value)
    return np.asarray(value)


def _shaped_array(hint: Any) -> Rule:
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
                raise _Unfit(value) from None
        # Arrays of JAX, traced ones too, stay as they are.
        count = len(getattr(array, "shape", ()))
        kind = getattr(getattr(array, "dtype", None), "kind", "O")
        if kind not in kinds or not (count >= axes - 1 if more else count == axes):
            raise _Unfit(value)
        return array

    return Rule(f"an array of {plural}, [{hint.dim_str}]", take)


def _union(rules: Sequence[Rule]) -> Rule:
    def take(value: Any) -> Any:
        nearest = _Unfit(value)
        for rule in rules:
            try:
                return rule.take(value)
            except _Unfit as unfit:
                # Says more than the words of all rules do.
                nearest = unfit if unfit.wanted else nearest
        raise nearest

    *words, last = dict.fromkeys(rule.words for rule in rules)
    text = f"{', '.join(words)} or {last}" if words else last
    return Rule(text, take, frozenset().union(*(rule.exact for rule in rules)))


def _mapping(keys: Rule, values: Rule) -> Rule:
    def take(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _Unfit(value)
        taken = {}
        for key, each in value.items():
            try:
                taken[keys.take(key)] = values.take(each)
            except _Unfit as unfit:
                if unfit.value is key:
                    raise _Unfit(value) from None
                raise unfit.inside(_limited(key), values) from None
        return taken

    return Rule(f"a mapping, each key {keys.words}", take)


def _is_sequence(value: Any, needed: type) -> bool:
    other = isinstance(value, (str, bytes, bytearray, memoryview, Mapping))
    return isinstance(value, needed) and not other and getattr(value, "shape", None) != ()


def _sequence(origin: type, rules: Sequence[Rule], count: int | None) -> Rule:
    """Rule for a sequence: of any length with one rule for its elements, or of `count`."""
    needed = Iterable if origin is Iterable else Collection

    def take(value: Any) -> Any:
        if type(value) not in (list, tuple) and not _is_sequence(value, needed):
            raise _Unfit(value)
        one_rule = rules[0] if count is None else None
        if one_rule and type(value) is origin and one_rule.exact.issuperset(map(type, value)):
            return value
        elements = [*value]
        if count is not None and len(elements) != count:
            raise _Unfit(value)
        for i, element in enumerate(elements):
            rule = one_rule or rules[i]
            try:
                elements[i] = rule.take(element)
            except _Unfit as unfit:
                raise unfit.inside(str(i), rule) from None
        return tuple(elements) if origin is tuple else elements

    each = f"each element {rules[0].words}"
    if count is None:
        return Rule(f"a sequence, {each}", take)
    alike = len({rule.words for rule in rules}) == 1
    return Rule(f"a sequence of {count} elements" + f", {each}" * alike, take)


_ANYTHING = Rule("anything", lambda value: value)
_TEXT = Rule("text", _text)
_ANY_TEXT = _test("text", lambda value: isinstance(value, str), str)
_RULES = {
    Any: _ANYTHING,
    inspect.Parameter.empty: _ANYTHING,
    bool: Rule("True or False", _boolean, frozenset([bool])),
    int: Rule("a whole number", _whole, frozenset([int])),
    float: Rule("a number", _number, frozenset([int])),
    np.ndarray: Rule("an array", _array),
    os.PathLike: Rule("a path", _path),
    Path: Rule("a path", lambda value: Path(_path(value))),
    types.NoneType: _test("None", lambda value: value is None, types.NoneType),
}


def _limited(value: Any) -> str:
    text = reprlib.repr(value).encode("ascii", "backslashreplace").decode()
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _shown(value: Any) -> str:
    """A value in a message, on one line."""
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    name = type(value).__name__
    if isinstance(value, str | bytes | int | float | list | tuple | set | dict | np.generic):
        return f"{_limited(value)} ({name})"
    return f"of type {name}"
