"""Minimal correction regions: how little of an image must go before a wrong answer turns right.

The search ranks the regions by their support for the *other* answer, so the last ones carry
the mistake. They are removed first, and the model is asked again with each prefix that is left.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

Label = Literal["Yes", "No"]
LABELS: tuple[Label, ...] = ("Yes", "No")
"""What an answer to a question of presence can say."""
OPPOSITE: dict[Label, Label] = {"Yes": "No", "No": "Yes"}

# The published share of the image that a correction may cost.
BUDGET = 0.10
# Areas are float32: a correction of exactly the budget may come out this much above it.
_ROUNDING = 1e-6

# The word ends there: "No," and "No-" do, "Not", "No-one" and "Nobody" do not.
_FIRST_WORD = re.compile(r"[\W_]*(yes|no)(?!['\u2019-]?[^\W_])", re.IGNORECASE)


def yes_or_no(text: str) -> Label | None:
    """What an answer says, by its first word in any case.

    Blanks, quotes, asterisks and other marks before the word do not matter; the word must end
    where "yes" or "no" does, so "Not at all", "None" and "Yesterday" say neither.

    Args:
      text: an answer of the model.

    Returns:
      "Yes", "No", or None when the first word is neither.
    """
    found = _FIRST_WORD.match(text)
    if found is None:
        return None
    return "Yes" if found[1].lower() == "yes" else "No"


def published_yes_or_no(text: str) -> Label | None:
    """What an answer says by the published rule: its first letters, with their case.

    "Not", "None" and "Nobody" count as No; "yes", " No" and "**Yes**" count as neither.

    Args:
      text: an answer of the model.

    Returns:
      "Yes", "No" or None.

    References:
      EAGLE, arXiv 2509.22496, evaluation on RePOPE.
    """
    if text.startswith("Yes"):
        return "Yes"
    return "No" if text.startswith("No") else None


def right_answers(
    answers: Sequence[str | None], label: Label, published: bool = False
) -> Bool[np.ndarray, "_"]:
    """Which answers say what is right; one that was not asked for is not right.

    Args:
      answers: text of each answer, None where there is none.
      label: the right one.
      published: parse by `published_yes_or_no` in place of `yes_or_no`.

    Returns:
      One truth value per answer.
    """
    says = published_yes_or_no if published else yes_or_no
    return np.array([text is not None and says(text) == label for text in answers], bool)


def minimal_correction(
    area: Float[np.ndarray, "k"], right: Bool[np.ndarray, "k"], blank: bool = True
) -> float:
    """Smallest share of the image whose removal makes the answer right.

    Regions go in the reverse of their order, starting from the full image, and the first
    right answer ends the scan: what happens further down does not matter.

    Args:
      area: share of the image in the first k regions, k = 0 to n.
      right: whether the answer is right with the first k regions visible.
      blank: also try the blank image, k = 0; the published scan stops at one region.

    Returns:
      A share of the image: 0 where the full image already gives the right answer, NaN where
      no prefix does.

    References:
      EAGLE, arXiv 2509.22496, minimal correction region.
    """
    corrected = np.flatnonzero(right if blank else right[1:])
    if not corrected.size:
        return float("nan")
    return 1.0 - float(area[corrected[-1] + (not blank)])


def average_minimal_correction(corrections: Float[np.ndarray, "items"]) -> float:
    """AMCR: mean minimal correction, an item that is never corrected counting 1.

    Args:
      corrections: of `minimal_correction`, NaN for the items that are never corrected.

    Returns:
      A share of the image, lower is better; NaN without items.

    References:
      EAGLE, arXiv 2509.22496, average minimal correction region.
    """
    if not corrections.size:
        return float("nan")
    return float(np.where(np.isnan(corrections), 1.0, corrections).mean())


def correction_success_rate(
    corrections: Float[np.ndarray, "items"], budget: float = BUDGET, published: bool = False
) -> float:
    """CSR: share of the items that are corrected by removing at most `budget` of the image.

    Args:
      corrections: of `minimal_correction`, NaN for the items that are never corrected.
      budget: largest share of the image that counts as success.
      published: leave items that are never corrected out of the denominator, which raises
        the rate; they count as failures otherwise.

    Returns:
      A rate, higher is better; NaN without items in the denominator.

    References:
      EAGLE, arXiv 2509.22496, correction success rate at 10 %.
    """
    unresolved = np.isnan(corrections)
    items = (~unresolved).sum() if published else corrections.size
    if not items:
        return float("nan")
    limit = budget if published else budget + _ROUNDING
    return float((corrections[~unresolved] <= limit).sum() / items)
