"""Writing converted weights disturbs nobody: hooks and loggers are as they were."""

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time

import jax.numpy as jnp
import pytest
from flax import nnx

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints import converted


class _Module(nnx.Module):
    def __init__(self):
        self.weights = nnx.Param(jnp.ones(3))


class _OrbaxThread(threading.Thread):
    """A thread that raises what its target raised, as Orbax's do, when somebody joins it."""

    __module__ = "orbax.checkpoint.threads"

    def join(self, timeout=None):
        raise ValueError("once more")


def state():
    levels = [logging.getLogger(name).level for name in ("", "absl", "asyncio")]
    hooks = sys.unraisablehook, sys.excepthook, threading.excepthook, asyncio.new_event_loop
    return hooks, sys.stderr, levels


def write(folder, monkeypatch, save):
    """Writes weights with an Orbax that does what `save` does."""

    class Checkpointer:
        @staticmethod
        def save(*_, **__):
            save()

    monkeypatch.setattr(
        converted, "_checkpointer", lambda _: contextlib.nullcontext(Checkpointer)
    )
    converted.write_weights(folder, _Module())


@pytest.mark.parametrize("error", [ValueError("OUT_OF_RANGE: No space left on device"), None])
def test_a_write_leaves_hooks_and_loggers_as_it_found_them(error, tmp_path, monkeypatch):
    before = state()

    def save():
        hooks, *others = state()
        assert hooks[:3] == before[0][:3]
        assert (hooks, *others) != before
        if error is not None:
            raise error

    if error is None:
        write(tmp_path, monkeypatch, save)
    else:
        with pytest.raises(InputError, match="cannot write weights .* No space left"):
            write(tmp_path, monkeypatch, save)
    assert state() == before


def test_tasks_of_a_failed_write_complain_at_no_time(tmp_path, monkeypatch, caplog):
    held = []  # as TensorStore holds them

    async def fail():
        raise ValueError("lost")

    def save():
        loop = asyncio.new_event_loop()
        held.append(loop.create_task(fail()))
        loop.run_until_complete(asyncio.sleep(0))
        held.append(loop.create_task(asyncio.sleep(0.1)))  # never started
        loop.close()
        raise ValueError("OUT_OF_RANGE: No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, monkeypatch, save)
    assert all(task.done() for task in held)
    held.clear()
    gc.collect()
    assert caplog.records == []


def test_threads_of_a_failed_write_report_to_a_loop_that_is_open(tmp_path, monkeypatch):
    reports = []

    def save():
        loop = asyncio.new_event_loop()
        written = loop.create_future()

        def report():
            time.sleep(0.1)
            loop.call_soon_threadsafe(written.set_exception, ValueError("another"))
            reports.append("written")

        async def wait():
            await written

        loop.create_task(wait())
        threading.Thread(target=report).start()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        raise ValueError("OUT_OF_RANGE: No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, monkeypatch, save)
    assert reports == ["written"]


def test_a_failed_write_ends_with_its_threads(tmp_path, monkeypatch):
    ended = []

    def save():
        thread = _OrbaxThread(target=lambda: ended.append(time.sleep(0.1)))
        thread.start()
        raise ValueError("OUT_OF_RANGE: No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write(tmp_path, monkeypatch, save)
    assert ended == [None]
