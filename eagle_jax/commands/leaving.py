"""How the process of a command ends: interrupts, termination, and lost standard streams.

Imports nothing heavy: an interrupt may come while the other modules are imported.
"""

import atexit
import contextlib
import errno
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from eagle_jax.interrupts import ENDING, rescue_all

NOTHING = "interrupted, nothing was written"

_SIGNALS = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if os.name == "posix" else [])
# Seconds that one thread waits for another to remove what is half written.
_PATIENCE = 30.0

_message: str | Callable[[], str] = NOTHING
# Held by the thread that ends the process.
_leaving = threading.RLock()
_left = _watched = False


def watch_signals() -> None:
    """Makes Ctrl-C, termination and a lost terminal end this process at once, with one line.

    KeyboardInterrupt is not used: Python loses it in some places, libraries that are being
    imported or are compiling may crash on it, and it does not come during long calls into
    libraries. The main thread leaves as soon as it is in Python, another thread otherwise.
    """
    global _watched
    usual = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
    if not usual or threading.current_thread() is not threading.main_thread():
        return
    for number in _SIGNALS:
        # What the parent process ignores, as nohup does, stays ignored.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    _watched = True
    ENDING.add(_end)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()
    # Registered first, called last: the interpreter itself cannot be interrupted in peace.
    for number in _SIGNALS:
        atexit.register(signal.signal, number, signal.SIG_IGN)


def keep_signals() -> None:
    """Undoes that a library has taken a signal for itself."""
    for number in _SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, _end)


def expect(message: str | Callable[[], str]) -> None:
    """Sets what is said if the process is interrupted from now on.

    Args:
      message: one line, or a function that gives it.
    """
    global _message
    _message = message


def say(line: str) -> None:
    """Prints a line to the standard error."""
    print("eagle-jax:", line, file=sys.stderr, flush=True)


def leave(number: int) -> None:
    """Ends the process at once, with the line and the exit code of a signal.

    Returns only if this thread is leaving already.

    Args:
      number: the signal.
    """
    global _left
    code = 128 + number
    if not _leaving.acquire(blocking=False):
        time.sleep(_PATIENCE)
        os._exit(code)
    if _left:
        return
    _left = True
    rescue_all()
    start = "\n" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{start}eagle-jax: {_line()}\n".encode())
    os._exit(code)


def interrupted() -> int:
    """Says that KeyboardInterrupt ended the command; returns the exit code."""
    if _watched:
        leave(signal.SIGINT)
    say(_line())
    return 128 + signal.SIGINT


def open_streams() -> None:
    """Replaces standard streams that are closed, or cannot show all characters.

    The standard error may also be lost later, with its terminal: the work goes on.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character shows its escape code.
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = io.TextIOWrapper(
            _Unheard(sys.stderr.fileno(), "w", closefd=False),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            write_through=True,
        )


class _Unheard(io.FileIO):
    """A file that does not say when it can no longer be written."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(content)


def finish(code: int) -> int:
    """Hands on what was printed; the exit code is another one if nobody can take it."""
    lost = lost_output()
    expect("interrupted; the work was done")
    return lost if code == 0 and lost is not None else code


def lost_output(error: OSError | None = None) -> int | None:
    """The exit code where the standard output takes no more, which is said; otherwise None.

    Args:
      error: an error that may come from the standard output.
    """
    try:
        sys.stdout.flush()
    except OSError as flushed:
        error = flushed
        if sys.stdout is sys.__stdout__:
            # Python would try again at its end, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        # Without a buffer (PYTHONUNBUFFERED) there is nothing to flush. Errors of other files
        # name them.
        streams = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
        if error is None or error.filename is not None or error.errno not in streams:
            return None
    if isinstance(error, BrokenPipeError):
        # As for all programs whose reader goes away, such as head: nothing to say.
        return 128 + signal.SIGPIPE
    say(f"cannot write to the standard output: {error.strerror}")
    return 1


def _line() -> str:
    return _message if isinstance(_message, str) else _message()


def _end(number: int, frame: Any) -> None:
    leave(number)


def _watch(reading: int) -> None:
    waited = False
    while select.select([reading], [], []):
        for number in os.read(reading, 100):
            handler = signal.getsignal(number)
            if number not in _SIGNALS or handler is signal.SIG_IGN:
                continue
            # A search, and the server of the live page, hear the first interrupt themselves.
            if handler is _end or waited:
                leave(number)
            waited = True
