"""The table of lowerings, which the other files of the folder fill."""

from collections.abc import Callable
from typing import Any

LOWERINGS: dict[str, Callable[..., Any]] = {}
"""From "add", or "add.Tensor" for a single overload, to a function of arrays."""


def lowers(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enters a function into the table.

    Args:
      names: names of ATen operations, without the namespace; with or without an overload.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            LOWERINGS[name] = function
        return function

    return enter
