"""The published prompts, and where a recorded prompt differs from the prompt built here."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from eagle_jax.argument_types import checked
from eagle_jax.inputs.tokenizer import Tokenizer, require_tokenizer

CAPTION = (
    "Describe the image in one factual English sentence of no more than 20 words. "
    "Do not include information that is not clearly visible."
)
"""The published prompt for captions, and for objects named in captions."""

# The blanks before the first two line ends are tokens.
_YES_NO = (
    "You are asked a visual question answering task. \n"
    'First, answer strictly with "Yes" or "No". \n'
    "Then, provide a short explanation if necessary.\n"
    "\n"
    "Question: {}\n"
    "Answer:"
)


@checked
def yes_no_prompt(question: str) -> str:
    """The published prompt of a RePOPE question.

    References:
      EAGLE, arXiv 2509.22496, experiments on hallucination.
    """
    return _YES_NO.format(question)


@checked
def prompt_difference(
    recorded_ids: Sequence[int] | Int[np.ndarray, " s"],
    built_ids: Sequence[int] | Int[np.ndarray, " s"],
    tokenizer: Tokenizer,
) -> str | None:
    """Describes the first difference between a recorded prompt and the prompt built here.

    Args:
      recorded_ids: token ids of the whole prompt, as a list recorded them.
      built_ids: token ids of the whole prompt, as this package builds them.
      tokenizer: the model's tokenizer.

    Returns:
      One line with the first position that differs and both tokens; None for equal prompts.
    """
    require_tokenizer(tokenizer)
    recorded, built = [int(i) for i in recorded_ids], [int(i) for i in built_ids]
    if recorded == built:
        return None
    pairs = zip(recorded, built, strict=False)
    shorter = min(len(recorded), len(built))
    position = next((n for n, (a, b) in enumerate(pairs) if a != b), shorter)
    token, built_token = (_token(ids, position, tokenizer) for ids in (recorded, built))
    return (
        f"the recorded prompt of {len(recorded)} tokens differs from the {len(built)} tokens "
        f"built here at position {position}: recorded {token}, built {built_token}"
    )


def _token(ids: Sequence[int], position: int, tokenizer: Tokenizer) -> str:
    if position >= len(ids):
        return "no token"
    if not 0 <= ids[position] < len(tokenizer):
        return f"{ids[position]}, which is not a token of this model"
    return f"{ids[position]} {tokenizer.decode([ids[position]])!r}"
