"""The decorator of public functions, and of classes that users make."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from eagle_jax.argument_types.rules import ANYTHING, rule_for
from eagle_jax.argument_types.values import Rule, Unfit, shown
from eagle_jax.errors import InputError

Checked = TypeVar("Checked", bound=Callable)


def checked(target: Checked) -> Checked:
    """Decorates a public function, dataclass or named tuple: its annotations hold for callers.

    An argument of another type raises `InputError`. NumPy's scalars become Python's, other
    collections become the tuple that is annotated, and text becomes the annotated `Path`. Whole
    floats count as whole numbers; booleans do not. Axes of one name have the same length in all
    arrays. Numbers must not be NaN and text must be valid Unicode for functions; records keep
    both, because results on disk may hold them.

    Args:
      target: function or class; its signature and documentation stay as they are.
    """
    if not isinstance(target, type):
        return typing.cast(Checked, _checked_function(target))
    if issubclass(target, tuple):
        target.__new__ = staticmethod(_checked_function(target.__new__, record=True))  # pyright: ignore
    else:
        target.__init__ = _checked_function(target.__init__, record=True)
    return target


def _checked_function(function: Callable, record: bool = False) -> Callable:
    @functools.cache
    def rules() -> tuple[dict[str, Rule], int, bool]:
        # Made at the first call, so that importing stays cheap.
        parameters = inspect.signature(function).parameters
        positional = [each for each in parameters.values() if each.kind < each.VAR_POSITIONAL]
        by_name = {name: rule_for(parameters[name].annotation, record) for name in parameters}
        return by_name, len(positional), any(rule.axes for rule in by_name.values())

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        by_name, count, shaped = rules()
        # Missing and surplus arguments are left for Python to name.
        given = {
            name: value if type(value) in rule.exact else _taken(name, value, rule)
            for (name, rule), value in zip(by_name.items(), args[:count], strict=False)
        }
        named = {
            name: value if type(value) in rule.exact else _taken(name, value, rule)
            for name, value in kwargs.items()
            for rule in (by_name.get(name, ANYTHING),)
        }
        if shaped:
            _require_same_axes(by_name, given | named)
        return function(*given.values(), *args[count:], **named)

    return call


def _require_same_axes(rules: dict[str, Rule], arguments: dict[str, Any]) -> None:
    """Axes of one name have the same length in all arrays."""
    lengths: dict[str, tuple[int, str]] = {}
    for argument, value in arguments.items():
        shape = getattr(value, "shape", None)
        for i, axis in rules[argument].axes if shape and argument in rules else ():
            fixed = isinstance(axis, int)
            length, other = (
                (axis, "") if fixed else lengths.setdefault(axis, (shape[i], argument))
            )
            if shape[i] != length:
                where = f"the size {length}" if fixed else f"{length}, as in {other}"
                raise InputError(
                    f"{argument} has the shape {shape}; its axis {i} must have {where}"
                )


def _taken(name: str, value: Any, rule: Rule) -> Any:
    try:
        return rule.take(value)
    except Unfit as unfit:
        raise InputError(
            f"{name}{unfit.place} is {shown(unfit.value)}; "
            f"it must be {unfit.wanted or rule.words}"
        ) from None
