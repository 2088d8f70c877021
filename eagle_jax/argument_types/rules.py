"""The rule of an annotation, from the rules of its parts."""

import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eagle_jax.argument_types import values
from eagle_jax.argument_types.values import Rule, Unfit, limited, rule_of

ANYTHING = Rule("anything", lambda value: value)
# For records, which may hold any text and NaN.
_RECORD_RULES = {
    str: rule_of("text", lambda value: isinstance(value, str), str),
    float: Rule("a number", values.number, frozenset([int, float])),
    Path: Rule("a path", lambda value: Path(values.path(value)), frozenset([type(Path())])),
}
_RULES = {
    Any: ANYTHING,
    inspect.Parameter.empty: ANYTHING,
    str: Rule("text", values.text),
    bool: Rule("True or False", values.boolean, frozenset([bool])),
    int: Rule("a whole number", values.whole, frozenset([int])),
    float: Rule("a number", values.number),
    np.ndarray: Rule("an array", values.array),
    os.PathLike: Rule("a path", values.path),
    Path: Rule("a path", lambda value: Path(values.path(value))),
    types.NoneType: rule_of("None", lambda value: value is None, types.NoneType),
}


@functools.cache
def rule_for(hint: Any, record: bool = False) -> Rule:
    """The rule of an annotation.

    Args:
      hint: annotation of a parameter; what cannot be checked, such as a name in quotation
        marks, allows everything.
      record: True for a field of a record, which may hold NaN and text with lone surrogates.
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if record and hint in _RECORD_RULES:
        return _RECORD_RULES[hint]
    if hint in _RULES:
        return _RULES[hint]
    if hasattr(hint, "array_type"):
        return values.shaped_array(hint)
    if origin in (typing.Union, types.UnionType):
        # A number keeps its type where numbers of several types may be.
        order = {np.ndarray: 0, float: 2, int: 3, bool: 4, types.NoneType: 5}
        hints = sorted(inner, key=lambda hint: order.get(hint, 1))
        if Path in hints or os.PathLike in hints:
            hints = [os.PathLike if hint in (Path, str) else hint for hint in hints]
        return _union([rule_for(each, record) for each in hints])
    if origin is Literal:
        fits = lambda value: isinstance(value, str) and value in inner  # noqa: E731
        return rule_of(f"one of {', '.join(map(str, inner))}", fits)
    if origin is Callable:
        return rule_of("a function", callable)
    if isinstance(origin, type) and issubclass(origin, Iterable):
        rules = [rule_for(each, record) for each in inner if each is not ...]
        if issubclass(origin, Mapping):
            return _mapping(*rules)
        fixed = origin is tuple and ... not in inner
        return _sequence(origin, rules, len(rules) if fixed else None)
    static = getattr(hint, "_is_protocol", False) and not hint._is_runtime_protocol
    if not isinstance(hint, type) or static:
        return ANYTHING
    name = "PIL image" if hint.__module__.startswith("PIL.") else hint.__name__
    article = "an" if name[0] in "AEIOU" else "a"
    return rule_of(f"{article} {name}", lambda value: isinstance(value, hint), hint)


def _union(rules: Sequence[Rule]) -> Rule:
    def take(value: Any) -> Any:
        nearest = Unfit(value)
        for rule in rules:
            try:
                return rule.take(value)
            except Unfit as unfit:
                # Says more than the words of all rules do.
                nearest = unfit if unfit.wanted else nearest
        raise nearest

    *words, last = dict.fromkeys(rule.words for rule in rules)
    text = f"{', '.join(words)} or {last}" if words else last
    exact = frozenset().union(*(rule.exact for rule in rules))
    return Rule(text, take, exact, next((rule.axes for rule in rules if rule.axes), ()))


def _mapping(keys: Rule, values: Rule) -> Rule:
    def take(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Unfit(value)
        taken = {}
        for key, each in value.items():
            try:
                taken[keys.take(key)] = values.take(each)
            except Unfit as unfit:
                if unfit.value is key:
                    raise Unfit(value) from None
                raise unfit.inside(limited(key), values) from None
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
            raise Unfit(value)
        one_rule = rules[0] if count is None else None
        if one_rule and type(value) is origin and one_rule.exact.issuperset(map(type, value)):
            return value
        elements = [*value]
        if count is not None and len(elements) != count:
            raise Unfit(value)
        for i, element in enumerate(elements):
            rule = one_rule or rules[i]
            try:
                elements[i] = rule.take(element)
            except Unfit as unfit:
                raise unfit.inside(str(i), rule) from None
        return tuple(elements) if origin is tuple else elements

    each = f"each element {rules[0].words}"
    if count is None:
        return Rule(f"a sequence, {each}", take)
    alike = len({rule.words for rule in rules}) == 1
    return Rule(f"a sequence of {count} elements" + f", {each}" * alike, take)
