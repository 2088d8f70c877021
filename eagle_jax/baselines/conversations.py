"""Generators that ask for scores of sets, answered: those of several images together."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64

from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.lockstep import Lockstep

Outcome = TypeVar("Outcome")
Conversation = Generator[Bool[np.ndarray, "b n"], Float32[np.ndarray, "b t"], Outcome]
# It yields sets of regions, is sent their scores, and returns how much each region matters.
Estimate = Conversation[Float64[np.ndarray, "n"]]


def answer_all(
    conversations: Sequence[Conversation[Outcome]],
    scorers: Sequence[Scorer],
    together: int | None = None,
    on_progress: Callable[[int], Any] = lambda forwards: None,
) -> list[tuple[Outcome, int, int]]:
    """Answers conversations until all have ended, in lockstep.

    Args:
      conversations: one for each scorer, not yet begun.
      scorers: the set functions that answer them.
      together: see `eagle_jax.search.lockstep.Lockstep`.
      on_progress: called after each round with the number of masked images it scored.

    Returns:
      For each conversation its outcome, the number of masked images it asked for, and in how
      many rounds.
    """
    lockstep = Lockstep(scorers, together)
    asked = {i: next(one) for i, one in enumerate(conversations)}
    forwards, rounds = np.zeros(len(scorers), int), np.zeros(len(scorers), int)
    outcomes: dict[int, tuple[Outcome, int, int]] = {}
    while asked:
        scores = lockstep(asked)
        for i, own in scores.items():
            forwards[i] += len(own)
            rounds[i] += 1
            try:
                asked[i] = conversations[i].send(own)
            except StopIteration as end:
                outcomes[i] = end.value, int(forwards[i]), int(rounds[i])
                del asked[i]
        on_progress(sum(map(len, scores.values())))
    return [outcomes[i] for i in range(len(scorers))]
