"""Minimal correction region: how little of an image to remove until a wrong answer turns right.

The search orders the regions by their support for the opposite answer, so the last regions
cause the mistake. They are removed first, and the model answers again after each removal.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from eagle_jax.argument_types import checked
from eagle_jax.metrics.thoughts import answer_part

Label = Literal["Yes", "No"]
LABELS: tuple[Label, ...] = ("Yes", "No")
"""Possible answers to a question about presence."""
OPPOSITE: dict[Label, Label] = {"Yes": "No", "No": "Yes"}

# Published limit on the fraction of the image that a correction may remove.
BUDGET = 0.10
# Areas are float32: a correction of exactly the budget may exceed it by this much.
_ROUNDING = 1e-6

# The word must end there: "No," and "No-" match; "Not", "No-one" and "Nobody" do not.
_FIRST_WORD = re.compile(r"[\W_]*(yes|no)(?!['\u2019-]?[^\W_])", re.IGNORECASE)


@checked
def yes_or_no(text: str) -> Label | None:
    """The label that an answer begins with, in any case.

    The thought of a model that thinks first is no part of its answer. Blanks and marks before
    the first word are ignored. "Not at all", "None" and "Yesterday"
    are neither Yes nor No.

    Args:
      text: an answer of the model.

    Returns:
      "Yes", "No", or None if the first word is neither, or the text ends inside a thought.
    """
    match = _FIRST_WORD.match(answer_part(text))
    if match is None:
        return None
    return "Yes" if match[1].lower() == "yes" else "No"


@checked
def published_yes_or_no(text: str) -> Label | None:
    """The label of an answer by the published rule: its first letters, with their case.

    "Not", "None" and "Nobody" count as No; "yes", " No" and "**Yes**" count as neither.

    Args:
      text: an answer of the model.

    Returns:
      "Yes", "No", or None if the answer begins with neither.

    References:
      EAGLE, arXiv 2509.22496, evaluation on RePOPE.
    """
    if text.startswith("Yes"):
        return "Yes"
    return "No" if text.startswith("No") else None


@checked
def right_answers(
    answers: Sequence[str | None], label: Label, published: bool = False
) -> Bool[np.ndarray, "_"]:
    """Tells which answers are right.

    Args:
      answers: texts of the answers; None for an answer that was not asked for.
      label: the right answer.
      published: True to read answers by `published_yes_or_no` instead of `yes_or_no`.

    Returns:
      True for each right answer; False where there is no answer.
    """
    label_of = published_yes_or_no if published else yes_or_no
    return np.array([text is not None and label_of(text) == label for text in answers], bool)


@checked
def minimal_correction(
    area: Float[np.ndarray, "points"], right: Bool[np.ndarray, "points"], blank: bool = True
) -> float:
    """Smallest fraction of the image whose removal makes the answer right.

    Regions are removed from the full image in reverse order until the answer is right for the
    first time; later answers do not count.

    Args:
      area: fraction of the image in the first i regions of the order, i = 0 to n.
      right: True where the answer is right with only these regions visible.
      blank: True to try the blank image (i = 0) too; the published scan ends at i = 1.

    Returns:
      A fraction of the image: 0 if the answer to the full image is right, NaN if no removal
      makes it right.

    References:
      EAGLE, arXiv 2509.22496, minimal correction region.
    """
    kept = kept_regions(right if blank else right[1:])
    return float("nan") if kept is None else 1.0 - float(area[kept + (not blank)])


@checked
def kept_regions(right: Bool[np.ndarray, "points"]) -> int | None:
    """Largest number of leading regions with which the answer is right; None if it never is.

    Args:
      right: whether the answer with the first k regions visible is right, for k = 0 to n.
    """
    corrected = np.flatnonzero(right)
    return int(corrected[-1]) if corrected.size else None


@checked
def average_minimal_correction(corrections: Float[np.ndarray, "items"]) -> float:
    """AMCR: mean minimal correction, where an item that is never corrected counts as 1.

    Args:
      corrections: results of `minimal_correction`, NaN for items that are never corrected.

    Returns:
      A fraction of the image, lower is better; NaN without items.

    References:
      EAGLE, arXiv 2509.22496, average minimal correction region.
    """
    if not corrections.size:
        return float("nan")
    return float(np.where(np.isnan(corrections), 1.0, corrections).mean())


@checked
def correction_success_rate(
    corrections: Float[np.ndarray, "items"], budget: float = BUDGET, published: bool = False
) -> float:
    """CSR: fraction of the items that are corrected within a budget.

    Args:
      corrections: results of `minimal_correction`, NaN for items that are never corrected.
      budget: largest fraction of the image that may be removed.
      published: True to omit items that are never corrected, which raises the rate;
        otherwise they count as failures.

    Returns:
      A rate in [0, 1], higher is better; NaN if no item counts.

    References:
      EAGLE, arXiv 2509.22496, correction success rate at 10 %.
    """
    unresolved = np.isnan(corrections)
    items = (~unresolved).sum() if published else corrections.size
    if not items:
        return float("nan")
    limit = budget if published else budget + _ROUNDING
    return float((corrections[~unresolved] <= limit).sum() / items)
