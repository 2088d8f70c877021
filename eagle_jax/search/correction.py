"""Finds how few regions have to be hidden until an answer is right: by scan or by bisection."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from eagle_jax.search.sets import prefixes


def correct_by_scan(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]], order: Int[np.ndarray, " n"]
) -> tuple[str, ...]:
    """The answer at every prefix of an order.

    Args:
      ask: function from sets of visible regions to answers, see
        `eagle_jax.scoring.answers.regenerate`.
      order: region numbers, most important first.

    Returns:
      The answers with the first k regions visible, for k = 0 to n.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis, which leaves out the blank image.
    """
    return tuple(ask(prefixes(order)))


def correct_by_bisection(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]],
    order: Int[np.ndarray, " n"],
    is_right: Callable[[str], bool],
    curve: Float[np.ndarray, "n+1"],
) -> tuple[str | None, ...]:
    """Finds the fewest last regions whose removal makes an answer right, by bisection.

    The first two answers are those for the full image and for the prefix at which the right
    answer is most probable. If the first is wrong and the second right, the interval between
    both is halved until neighbours are left: about log2(n) + 2 answers instead of n + 1. If the
    answers in the interval become right once, the result is that of a scan. If they change more
    often, the result is one of the changes: it may report more removed regions than necessary,
    but never fewer. If the most promising prefix gives a wrong answer, the result is no
    correction, although another prefix may give the right answer.

    Args:
      ask: function from sets of visible regions to answers, see
        `eagle_jax.scoring.answers.regenerate`.
      order: region numbers, most important first.
      is_right: function that returns True for the right answer.
      curve: probability of the right answer with the first k regions visible, for k = 0 to n:
        the insertion curve of a search for the right answer.

    Returns:
      The answers with the first k regions visible, for k = 0 to n; None where it was not asked.
    """
    sets = prefixes(order)
    answers: list[str | None] = [None] * len(sets)

    def right(visible: int) -> bool:
        (answer,) = ask(sets[visible : visible + 1])
        answers[visible] = answer
        return is_right(answer)

    wrong = len(order)
    if right(wrong):
        return tuple(answers)
    # Among equal probabilities the prefix that hides least.
    best = len(order) - int(np.argmax(curve[::-1]))
    if best < wrong and right(best):
        while wrong - best > 1:
            middle = (wrong + best) // 2
            if right(middle):
                best = middle
            else:
                wrong = middle
    return tuple(answers)
