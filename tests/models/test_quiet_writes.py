"""Writing converted weights disturbs nobody: hooks and loggers are as they were."""

import asyncio
import contextlib
import gc
import logging
import sys
import threading
from types import SimpleNamespace

import jax.numpy as jnp
import pytest
from flax import nnx

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints import converted, quiet_writes


class _Module(nnx.Module):
    def __init__(self):
        self.weights = nnx.Param(jnp.ones(3))


def state():
    levels = [logging.getLogger(name).level for name in ("", "absl", "asyncio")]
    return sys.unraisablehook, sys.excepthook, threading.excepthook, sys.stderr, levels


def late(words: str) -> SimpleNamespace:
    """What a thread of TensorStore reports."""
    return SimpleNamespace(exc_value=RuntimeError(words))


@pytest.mark.parametrize("error", [ValueError("OUT_OF_RANGE: No space left on device"), None])
def test_a_write_leaves_hooks_and_loggers_as_it_found_them(error, tmp_path, monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    monkeypatch.setattr(quiet_writes, "_SETTLED_SECONDS", 0.01)
    before = state()

    class Checkpointer:
        @staticmethod
        def save(*_, **__):
            assert state() != before
            for words in ("Event loop is closed", "another"):
                sys.unraisablehook(late(words))
            if error is not None:
                raise error

    monkeypatch.setattr(
        converted, "_checkpointer", lambda _: contextlib.nullcontext(Checkpointer)
    )
    if error is None:
        converted.write_weights(tmp_path, _Module())
    else:
        with pytest.raises(InputError, match="cannot write weights .* No space left"):
            converted.write_weights(tmp_path, _Module())
    assert state() == before
    assert [str(one.exc_value) for one in reports] == ["another"]


def test_tasks_of_a_failed_write_complain_at_no_time(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(quiet_writes, "_SETTLED_SECONDS", 0.01)
    held = []  # as TensorStore holds them

    async def fail():
        raise ValueError("lost")

    class Checkpointer:
        @staticmethod
        def save(*_, **__):
            loop = asyncio.new_event_loop()
            held.append(loop.create_task(fail()))
            loop.run_until_complete(asyncio.sleep(0))
            held.append(loop.create_task(asyncio.sleep(1)))  # never started
            loop.close()
            raise ValueError("OUT_OF_RANGE: No space left on device")

    monkeypatch.setattr(
        converted, "_checkpointer", lambda _: contextlib.nullcontext(Checkpointer)
    )
    with pytest.raises(InputError, match="No space left"):
        converted.write_weights(tmp_path, _Module())
    held.clear()
    gc.collect()
    assert caplog.records == []
