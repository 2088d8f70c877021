"""How the process of a command ends: interrupts, termination, and lost standard streams.

Imports nothing heavy: an interrupt may come while the other modules are imported.
"""

import atexit
import contextlib
import os
import select
import signal
import sys
import threading
import time
from typing import Any, NoReturn

# Seconds that a command has, once it is interrupted, to remove what is half written; within a
# call that does not return to Python, such as a compilation, it cannot even begin.
_PATIENCE = 5.0
# The same after a second interrupt.
_IMPATIENCE = 0.3

NOTHING = "interrupted, nothing was written"

# Number of the first signal that asked the command to end.
_came: int | None = None
_said = threading.Lock()
_message = NOTHING


def watch_signals() -> None:
    """Makes Ctrl-C and termination end this process with one line, whatever it is doing.

    Both raise KeyboardInterrupt in the main thread, for `main` to catch. Python loses such an
    exception in some places, and does not raise it during long calls into libraries: a thread
    ends the process if the main thread does not.
    """
    usual = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN)
    if not usual or threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), daemon=True).start()
    # An interrupt that reaches these was not caught, or cannot be raised.
    usual_hook, usual_unraisable = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if _came or issubclass(kind, KeyboardInterrupt):
            leave()
        usual_hook(kind, error, trace)

    def unraisable(event: Any) -> None:
        if _came or issubclass(event.exc_type, KeyboardInterrupt):
            leave()
        usual_unraisable(event)

    sys.excepthook, sys.unraisablehook = hook, unraisable
    # Registered first, called last: the interpreter itself cannot be interrupted in peace.
    for number in (signal.SIGINT, signal.SIGTERM):
        atexit.register(signal.signal, number, signal.SIG_IGN)


def keep_termination() -> None:
    """Undoes that a library has taken SIGTERM for itself."""
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, _terminate)


def came() -> int | None:
    """Number of the signal that asked the process to end; None if there was none."""
    if _came is None and signal.getsignal(signal.SIGTERM) is _terminate:
        time.sleep(0.02)  # The thread that notes it may not have had its turn.
    return _came


def expect(message: str) -> None:
    """Sets what is said if the process is interrupted from now on."""
    global _message
    _message = message


def say(line: str) -> None:
    """Prints a line to the standard error, if that can be written."""
    try:
        print("eagle-jax:", line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def leave() -> NoReturn:
    """Ends the process at once, with the line and the exit code of an interrupt."""
    # One of the threads says it, once.
    if _said.acquire(blocking=False):
        start = "\n" if os.isatty(2) else ""
        with contextlib.suppress(OSError):
            os.write(2, f"{start}eagle-jax: {_message}\n".encode())
    else:
        time.sleep(0.1)
    os._exit(128 + (_came or signal.SIGINT))


def interrupted(error: BaseException) -> int:
    """Says that an interrupt ended the command; returns the exit code."""
    # Whoever is impatient changes nothing any more.
    if came() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    message = str(error) if isinstance(error, KeyboardInterrupt) else ""
    if _said.acquire(blocking=False):
        try:
            say(message or _message)
        finally:
            if _came is None:
                _said.release()
    return 128 + (_came or signal.SIGINT)


def open_streams() -> None:
    """Replaces standard streams that are closed, or cannot show all characters."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            # A terminal that cannot show a character shows its escape code.
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Hands on what was printed; the exit code is another one if nobody can take it."""
    lost = lost_output()
    expect("interrupted; the work was done")
    if code == 0 and lost is not None:
        return lost
    return 128 + _came if code == 130 and _came else code


def lost_output() -> int | None:
    """The exit code where the standard output takes no more, which is said; otherwise None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            # As for all programs whose reader goes away, such as head: nothing to say.
            return 128 + signal.SIGPIPE
        say(f"cannot write to the standard output: {error.strerror}")
        return 1
    return None


def _discard(stream: Any) -> None:
    # Python would try again at its end, and complain.
    if stream is sys.__stdout__ or stream is sys.__stderr__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminate(number: int, frame: Any) -> None:
    global _came
    _came = _came or number
    raise KeyboardInterrupt


def _watch(reading: int) -> None:
    global _came
    deadline, count = None, 0
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reading], [], [], wait)[0]:
            leave()
        for number in os.read(reading, 100):
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            # A search, and the server of the live page, hear the first interrupt themselves.
            handler = signal.getsignal(number)
            heard = handler not in (signal.default_int_handler, _terminate)
            if handler is signal.SIG_IGN or (heard and count == 0):
                count += 1
                continue
            _came = _came or number
            count += 1
            patience = _PATIENCE if deadline is None else _IMPATIENCE
            deadline = min(deadline or float("inf"), time.monotonic() + patience)
