"""Estimates as conversations: generators that ask for scores of sets."""

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64

from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.conversations import OpenConversation, answer_in_lockstep

Outcome = TypeVar("Outcome")
Conversation = Generator[Bool[np.ndarray, "b n"], Float32[np.ndarray, "b t"], Outcome]
# Yields sets of visible regions, is sent their scores, returns the importance of each region.
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
      scorers: set functions that answer the conversations.
      together: number of images that programs are compiled for, see
        `eagle_jax.search.lockstep.Lockstep`.
      on_progress: called after each round with the number of masked images it scored.

    Returns:
      For each conversation its outcome, the number of masked images and the number of rounds.
    """
    opened = [OpenConversation(conversation) for conversation in conversations]
    answer_in_lockstep(opened, scorers, np.asarray, together=together, after_round=on_progress)
    answered = []
    for conversation in opened:
        assert conversation.outcome is not None, "the conversation has ended"
        answered.append((conversation.outcome, conversation.forwards, conversation.rounds))
    return answered
