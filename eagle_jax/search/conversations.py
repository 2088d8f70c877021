"""Generators that ask for scores of sets, and the loop that answers them in lockstep.

A conversation yields what it wants scored, is sent the scores, and so on, until it returns its
outcome. The searches (`eagle_jax.search.rounds`) and the methods of `eagle_jax.baselines` that
need probabilities alone are such generators.
"""

import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Float32
from threadpoolctl import ThreadpoolController

from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.lockstep import Lockstep

Asked = TypeVar("Asked")
Outcome = TypeVar("Outcome")


class OpenConversation(Generic[Asked, Outcome]):
    """A conversation in progress: what it asked for, what it returned and what it took.

    Attributes:
      asked: what the generator yielded last.
      outcome: what the generator returned; None while it runs.
      running: whether the generator waits for scores.
      forwards: number of masked images scored for it.
      rounds: number of times that it was sent scores.
    """

    def __init__(self, generator: Generator[Asked, Any, Outcome]):
        """Runs a generator to its first question.

        Args:
          generator: a generator that has not begun.
        """
        self._generator = generator
        self.asked: Asked = next(generator)
        self.outcome: Outcome | None = None
        self.running = True
        self.forwards = self.rounds = 0

    def answer(self, scores: Float32[np.ndarray, "b t"] | None) -> None:
        """Sends scores, or None if what was asked for is not scored."""
        if scores is not None:
            self.forwards += len(scores)
            self.rounds += 1
        try:
            # These computations are small: several threads would wait for each other, above all
            # on a busy machine.
            with _libraries().limit(limits=1, user_api="blas"):
                self.asked = self._generator.send(scores)
        except StopIteration as end:
            self.outcome, self.running = end.value, False


def answer_in_lockstep(
    conversations: Sequence[OpenConversation],
    scorers: Sequence[Scorer],
    sets_of: Callable[[Any], Bool[np.ndarray, "b n"]],
    *,
    together: int | None = None,
    before_round: Callable[[], Any] = lambda: None,
    after_round: Callable[[int], Any] = lambda forwards: None,
) -> None:
    """Answers conversations until all have ended, in lockstep.

    Args:
      conversations: one for each scorer.
      scorers: set functions that answer the conversations.
      sets_of: from what a conversation asked to the sets that it wants scored.
      together: number of images that programs are compiled for, see `Lockstep`.
      before_round: called before each round; it may answer conversations itself.
      after_round: called after each round with the number of masked images it scored.
    """
    lockstep = Lockstep(scorers, together)
    while True:
        before_round()
        running = {i: each for i, each in enumerate(conversations) if each.running}
        if not running:
            return
        sets = {i: np.asarray(sets_of(each.asked), bool) for i, each in running.items()}
        scores = lockstep(sets)
        for i, conversation in running.items():
            conversation.answer(scores[i])
        after_round(sum(map(len, scores.values())))


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
