"""How little has to go from an image until an answer is right: by scan or by bisection."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from eagle_jax.search.sets import prefixes


def correct_by_scan(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]], order: Int[np.ndarray, " n"]
) -> tuple[str, ...]:
    """The answer at every prefix of an order.

    Args:
      ask: from visible regions to answers, as `eagle_jax.scoring.answers.regenerate` gives
        them.
      order: region numbers, most important first.

    Returns:
      Answer k is given with the first k regions visible, k = 0 to n.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis; there without the blank image.
    """
    return tuple(ask(prefixes(order)))


def correct_by_bisection(
    ask: Callable[[Bool[np.ndarray, "b n"]], Sequence[str]],
    order: Int[np.ndarray, " n"],
    is_right: Callable[[str], bool],
    curve: Float[np.ndarray, "n+1"],
) -> tuple[str | None, ...]:
    """Looks for the fewest last regions whose removal makes an answer right, by halving.

    Asked first are the full image and the prefix at which the right answer is most probable.
    If the one is wrong and the other right, the gap between them is halved until neighbours
    are left: about log2(n) + 2 answers instead of n + 1. This finds what a scan finds where
    the answers between the two turn right once; where they turn more often, it finds one of
    the turns and may report more removed regions than were needed, never fewer. Where the
    most promising prefix is wrong, it reports no correction, though another may be right.

    Args:
      ask: from visible regions to answers, as `eagle_jax.scoring.answers.regenerate` gives
        them.
      order: region numbers, most important first.
      is_right: whether an answer is the right one.
      curve: probability of the right answer with the first k regions visible, k = 0 to n:
        the insertion curve of a search for it.

    Returns:
      As of `correct_by_scan`, with None where nothing was asked.
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
    # Of equal chances the one that hides least.
    best = len(order) - int(np.argmax(curve[::-1]))
    if best < wrong and right(best):
        while wrong - best > 1:
            middle = (wrong + best) // 2
            if right(middle):
                best = middle
            else:
                wrong = middle
    return tuple(answers)
