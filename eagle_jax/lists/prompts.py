"""The published prompts, and where a recorded prompt departs from ours."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from eagle_jax.inputs.prompt import Tokenizer

CAPTION = (
    "Describe the image in one factual English sentence of no more than 20 words. "
    "Do not include information that is not clearly visible."
)
"""Asks for a caption; of captions and of objects in them."""

# The blanks before the first two line ends are tokens.
_YES_NO = (
    "You are asked a visual question answering task. \n"
    'First, answer strictly with "Yes" or "No". \n'
    "Then, provide a short explanation if necessary.\n"
    "\n"
    "Question: {}\n"
    "Answer:"
)


def yes_no_prompt(question: str) -> str:
    """The published prompt of a RePOPE question.

    References:
      EAGLE, arXiv 2509.22496, experiments on hallucination.
    """
    return _YES_NO.format(question)


def prompt_difference(
    expected_ids: Sequence[int] | Int[np.ndarray, " s"],
    own_ids: Sequence[int] | Int[np.ndarray, " s"],
    tokenizer: Tokenizer,
) -> str | None:
    """Says where a recorded prompt departs from ours.

    Args:
      expected_ids: the expanded prompt as a list recorded it.
      own_ids: the expanded prompt as we build it.
      tokenizer: of the model.

    Returns:
      One line that names the first position at which they differ, with both tokens; None
      when they are the same.
    """
    expected, own = [int(i) for i in expected_ids], [int(i) for i in own_ids]
    if expected == own:
        return None
    pairs = zip(expected, own, strict=False)
    shorter = min(len(expected), len(own))
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), shorter)
    theirs, ours = (_token(ids, place, tokenizer) for ids in (expected, own))
    return (
        f"the recorded prompt of {len(expected)} tokens differs from ours of {len(own)} at "
        f"position {place}: it has {theirs}, ours {ours}"
    )


def _token(ids: Sequence[int], place: int, tokenizer: Tokenizer) -> str:
    if place >= len(ids):
        return "ended"
    if not 0 <= ids[place] < len(tokenizer):
        return f"{ids[place]}, which is no token of this model"
    return f"{ids[place]} {tokenizer.decode([ids[place]])!r}"
