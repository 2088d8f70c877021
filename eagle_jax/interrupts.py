"""Ctrl-C as a request for the partial result, and what must be done before a process ends."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

ENDING: set[Any] = {signal.default_int_handler}
"""Handlers of Ctrl-C that end the program, and may be replaced for a while."""

_rescues: dict[object, Callable[[], Any]] = {}


def never() -> bool:
    """Returns False: there was no interrupt."""
    return False


@contextlib.contextmanager
def first_interrupt_waits() -> Iterator[Callable[[], bool]]:
    """Keeps the first Ctrl-C from ending the program; the second Ctrl-C ends it.

    Yields:
      A function that returns True after the first Ctrl-C, for the argument ``interrupted`` of
      `find_orders`. It is `never` outside the main thread, and where Ctrl-C is ignored or has
      a handler that is not in `ENDING`.
    """
    before: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before not in ENDING:
        yield never
        return
    came = False

    def note(number, frame) -> None:
        nonlocal came
        if came:
            before(number, frame)
        came = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def rescue(action: Callable[[], Any]) -> Iterator[None]:
    """Has an action done by `rescue_all` if the process is ended within the block.

    Args:
      action: removes what is half written, or writes what is finished; may be called from
        another thread, while the block goes on.
    """
    key = object()
    _rescues[key] = action
    try:
        yield
    finally:
        _rescues.pop(key)


def rescue_all() -> None:
    """Does the actions of all open `rescue` blocks, for a process that ends at once."""
    for action in reversed([*_rescues.values()]):
        with contextlib.suppress(Exception):
            action()
