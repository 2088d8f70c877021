"""Ctrl-C as a request for the partial result."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


def never() -> bool:
    """Returns False: there was no interrupt."""
    return False


@contextlib.contextmanager
def first_interrupt_waits() -> Iterator[Callable[[], bool]]:
    """Keeps the first Ctrl-C from raising KeyboardInterrupt; the second Ctrl-C raises it.

    Yields:
      A function that returns True after the first Ctrl-C, for the argument ``interrupted`` of
      `find_orders`. It is `never` outside the main thread, and where Ctrl-C is ignored or has
      another handler than Python's default.
    """
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not usual:
        yield never
        return
    came = False

    def note(number, frame) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
