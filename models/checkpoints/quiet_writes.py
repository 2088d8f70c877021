"""Orbax writes with tasks and threads, and when a write fails each of them would say so."""

import asyncio
import contextlib
import gc
import inspect
import logging
import sys
import time
from collections.abc import Callable, Iterator

# After so long without a report, the threads of a failed write have ended.
_SETTLED_SECONDS = 2


@contextlib.contextmanager
def quiet_writes() -> Iterator[Callable[[], None]]:
    """What fails in one of the threads that write is raised; the others keep quiet about it.

    Loggers and the hook are as they were found when this ends.

    Yields:
      A function that waits, after a failure, until those threads have ended.
    """
    last = 0.0
    report = sys.unraisablehook

    def hook(unraisable):
        # Threads that still write after a failure report to an event loop that is gone.
        nonlocal last
        if str(unraisable.exc_value) == "Event loop is closed":
            last = time.monotonic()
        else:
            report(unraisable)

    def settle():
        nonlocal last
        _forget_tasks()
        gc.collect()
        last = time.monotonic()
        while time.monotonic() < last + _SETTLED_SECONDS:
            time.sleep(0.05)

    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    try:
        sys.unraisablehook = hook
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield settle
    finally:
        sys.unraisablehook = report
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _forget_tasks() -> None:
    # Tasks that nobody waited for complain when they are collected, which can be any time
    # later: TensorStore may still hold them. Of a closed event loop nobody waits for any.
    for future in gc.get_objects():
        if not issubclass(type(future), asyncio.Future) or not future.get_loop().is_closed():
            continue
        future.get_loop().set_exception_handler(lambda *_: None)
        if isinstance(future, asyncio.Task) and inspect.iscoroutine(future.get_coro()):
            with contextlib.suppress(RuntimeError):  # of one that waits again when it ends
                future.get_coro().close()
