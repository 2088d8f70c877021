"""Answers of a model as regions that speak against the right answer are removed."""

import functools

import numpy as np
from jaxtyping import Int32

from eagle_jax.errors import InputError
from eagle_jax.metrics.hallucination import yes_or_no
from eagle_jax.metrics.thoughts import answer_begin
from eagle_jax.scoring.answers import DEFAULT_MAX_NEW_TOKENS, regenerate
from eagle_jax.scoring.case import Case
from eagle_jax.search import Limits
from eagle_jax.search.correction import correct_by_bisection, correct_by_scan
from eagle_jax.search.sets import Curves


def require_all_regions(
    order: Int32[np.ndarray, "k"], regions: int, limits: Limits, purpose: str
) -> None:
    """Raises where a search ended before its order had all regions.

    Args:
      order: the order that a search found.
      regions: number of regions of the image.
      limits: limits of the search.
      purpose: what needs all regions, for the message.

    Raises:
      InputError: the order is shorter than the number of regions.
    """
    if order.size < regions:
        given = [f"{name} {value}" for name, value in vars(limits).items() if value is not None]
        raise InputError(
            f"the search ended after {order.size} of {regions} regions "
            f"({', '.join(given) or 'interrupted'}), and {purpose} all of them: raise or "
            "omit the limit, or choose the search surrogate"
        )


def removal_answers(
    case: Case,
    curves: Curves,
    label: str,
    *,
    bisect: bool = False,
    batch_size: int | None = None,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    progress: bool = False,
) -> tuple[str | None, ...]:
    """Answers of the model as the last regions of an order are removed, one more each time.

    Args:
      case: the question.
      curves: an order of all regions, and the curves along it.
      label: the right answer, "Yes" or "No".
      bisect: ask only what a search by halves for the first right answer needs, see
        `eagle_jax.search.correction.correct_by_bisection`.
      batch_size: answers that are decoded at once; None chooses.
      max_new_tokens: largest number of tokens of an answer of a model that thinks first; other
        answers need no more than a few tokens.
      progress: show a progress bar.

    Returns:
      Answer k is given with the first k regions visible, k = 0 (blank image) to n; None for a
      k that was not asked.

    Raises:
      InputError: every answer ends inside its thought.
    """
    answer = functools.partial(
        regenerate,
        case.model,
        case.image,
        case.labels,
        case.prompt,
        fill=case.fill,
        batch_size=batch_size,
        system=case.dialogue.system,
        thinking=case.dialogue.thinking,
        progress=progress,
    )
    if case.thinks:
        answer = functools.partial(answer, max_new_tokens=max_new_tokens)
    if not bisect:
        answers: tuple[str | None, ...] = correct_by_scan(answer, curves.order)
    else:
        answers = correct_by_bisection(
            answer,
            curves.order,
            lambda text: yes_or_no(text) == label,
            curves.insertion.mean(axis=1),
        )
    if case.thinks and all(answer_begin(text) is None for text in answers if text is not None):
        raise InputError(
            f"every answer ends inside its thought after {max_new_tokens} tokens: raise "
            "max_new_tokens, or switch thoughts off"
        )
    return answers
