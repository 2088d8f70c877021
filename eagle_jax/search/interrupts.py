"""Ctrl-C as a wish to see what was found so far."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


def never() -> bool:
    """What says that no interrupt came."""
    return False


@contextlib.contextmanager
def first_interrupt_waits() -> Iterator[Callable[[], bool]]:
    """Keeps the first Ctrl-C from raising; a second one raises as always.

    Yields:
      What says whether it came, for `find_orders`. Never, where Python does not handle the
      signal as it usually does: in other threads, under another handler, ignored.
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
