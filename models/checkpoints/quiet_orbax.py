"""Orbax reads and writes with many tasks at once, and abandons all when one of them fails."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """A failure of Orbax is an exception and nothing else: no logs, no tracebacks afterwards.

    Orbax closes its event loop at the first error. Tasks still under way would report to the
    closed loop, with a traceback each, at any later time. So event loops made in this context
    close only when all of their tasks have ended, and the context ends only when all threads
    of Orbax have. Not for use in several threads at once.
    """
    make_loop, logger = asyncio.new_event_loop, logging.getLogger("absl")
    level = logger.level

    def make_patient_loop() -> asyncio.AbstractEventLoop:
        loop = make_loop()
        close = loop.close

        def close_when_done():
            while tasks := asyncio.all_tasks(loop):
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.set_exception_handler(lambda *_: None)  # for errors nobody has asked for
            close()

        loop.close = close_when_done
        return loop

    asyncio.new_event_loop = make_patient_loop
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if type(thread).__module__.startswith("orbax."):
                threading.Thread.join(thread)  # their own `join` raises the error once more
        asyncio.new_event_loop = make_loop
        logger.setLevel(level)
