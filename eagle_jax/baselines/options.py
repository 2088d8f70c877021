"""Options of methods, as people write them."""

import contextlib

from eagle_jax.errors import InputError

Option = str | int | float | bool | None


def method_with_options(text: str) -> tuple[str, dict[str, Option]]:
    """The name and the options in a text such as "kernelshap@samples=256,seed=1".

    Args:
      text: name of a method, alone or with options behind an "@".

    Raises:
      InputError: an option is not written NAME=VALUE.
    """
    name, _, given = text.partition("@")
    return name, dict(map(named_option, filter(None, given.split(","))))


def named_option(text: str) -> tuple[str, Option]:
    """A name and its value, a number if the value looks like a number.

    Args:
      text: such as "samples=256".

    Raises:
      InputError: the text does not have the form NAME=VALUE.
    """
    name, _, value = text.partition("=")
    if not (name and value):
        raise InputError(f"{text!r} does not have the form NAME=VALUE")
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return name, number(value)
    return name, value
