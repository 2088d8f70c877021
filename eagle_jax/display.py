"""Where results find the code that draws them, which stands on a higher floor.

`Attribution.plot`, `Attribution.report` and the display in a notebook ask for a function by its
name in the package's face. `eagle_jax/__init__.py` knows the home of every name and connects
itself when it is imported, so that no room imports upwards.
"""

from collections.abc import Callable
from typing import Any

_find: Callable[[str], Any] | None = None


def connect(find: Callable[[str], Any]) -> None:
    """Sets where names are looked up.

    Args:
      find: gives the function of a name: "plot", "report" or "report_frame".
    """
    global _find
    _find = find


def drawer(name: str) -> Callable[..., Any]:
    """The function of a name: "plot", "report" or "report_frame"."""
    assert _find is not None, "importing eagle_jax connects it"
    return _find(name)
