"""The first Ctrl-C is noted, the second raises, and everything is left as it was found."""

import signal
import threading

import pytest

from eagle_jax.interrupts import first_interrupt_waits


def test_the_first_interrupt_waits_and_the_second_raises():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with first_interrupt_waits() as came:
        assert not came()
        signal.raise_signal(signal.SIGINT)
        assert came()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_handler_is_left_alone():
    heard = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with first_interrupt_waits() as came:
            signal.raise_signal(signal.SIGINT)
            assert heard == [signal.SIGINT] and not came()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_have_no_say():
    def work():
        with first_interrupt_waits() as came:
            answers.append(came())

    answers = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
