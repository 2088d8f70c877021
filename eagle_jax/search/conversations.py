"""Generators that ask for scores of sets, and what answers one of them.

A conversation yields the sets that it wants scored, is sent their scores, and so on, until it
returns its outcome. Searches, the methods of `eagle_jax.baselines` that need probabilities, and
all that a run does with an item are such generators. `eagle_jax.search.scheduler` answers many
of them at once.
"""

import contextlib
import functools
import importlib
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float32
from threadpoolctl import ThreadpoolController

from eagle_jax.scoring.scorer import Scorer

Outcome = TypeVar("Outcome")
# Yields sets of visible regions, is sent their scores.
Conversation = Generator[Bool[np.ndarray, "b n"], Float32[np.ndarray, "b t"], Outcome]


def answer_alone(
    scorer: Scorer,
    conversation: Conversation[Outcome],
    after_round: Callable[[int], Any] = lambda forwards: None,
) -> Outcome:
    """Answers a single conversation, in this thread.

    Args:
      scorer: set function that answers the conversation.
      conversation: a generator that has not begun.
      after_round: called after each round with the number of masked images it scored.

    Returns:
      What the conversation returns.
    """
    scores = None
    while True:
        try:
            sets = advance(conversation, scores)
        except StopIteration as end:
            if scores is not None:
                after_round(len(scores))
            return end.value
        if scores is not None:
            after_round(len(scores))
        scores = np.asarray(scorer(sets), np.float32)


def advance(
    conversation: Conversation, scores: Float32[np.ndarray, "b t"] | None
) -> Bool[np.ndarray, "_ _"]:
    """Sends scores to a conversation, None at its beginning; gives the sets it asks for next.

    Raises:
      StopIteration: the conversation has ended; the value is its outcome.
    """
    with _single_threaded():
        return np.asarray(conversation.send(scores), bool)  # type: ignore[arg-type]


# The computations of searches are small: several threads would wait for each other, above all
# on a busy machine. The limit holds for the process, so the last thread to leave lifts it.
_limit_lock = threading.Lock()
_limited = contextlib.ExitStack()
_inside = 0


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Keeps the linear algebra libraries from using several threads for one computation."""
    global _inside
    with _limit_lock:
        if _inside == 0:
            _limited.enter_context(_libraries().limit(limits=1, user_api="blas"))
        _inside += 1
    try:
        yield
    finally:
        with _limit_lock:
            _inside -= 1
            if _inside == 0:
                _limited.close()


@functools.cache
def _libraries() -> ThreadpoolController:
    # Only libraries that are loaded can be limited, and a search may load SciPy later.
    importlib.import_module("scipy.linalg")
    return ThreadpoolController()
