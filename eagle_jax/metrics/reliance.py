"""Language prior against perceptual evidence, token by token and word by word."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from eagle_jax.metrics.faithfulness import insertion_auc
from eagle_jax.metrics.statistics import auroc
from eagle_jax.metrics.word_classes import PERCEPTION, PRIOR, WordClass, words


class WordReliance(NamedTuple):
    """How much the image raises a word.

    Attributes:
      text: the word.
      kind: its class.
      highest: largest raw value of its tokens. A word's later pieces follow from the first
        with or without the image, so this is what the image did for the word.
      mean: mean raw value of its tokens, which such pieces dilute.
      scaled: `highest` on the scale of its answer, 0 to 1.
    """

    text: str
    kind: WordClass
    highest: float
    mean: float
    scaled: float


def token_reliance(
    area: Float[np.ndarray, "k"], insertion: Float[np.ndarray, "k t"]
) -> Float32[np.ndarray, "t"]:
    """How much the image raises each token: I_t = AUC of its insertion curve - its minimum.

    Near 0 the token is as likely without the image as with it, so the language prior
    carries it; a token that a small part of the image makes certain comes close to 1.

    Args:
      area: share of the image that is visible at each of the k = n + 1 points, from 0 to 1.
      insertion: probability of each token at each point; row 0 is the blank image.

    Returns:
      One raw value in [0, 1) per token, comparable between answers.

    References:
      EAGLE, arXiv 2509.22496, section 3 (modality-aware analysis): the published code takes
      the lift above the minimum as an area-weighted mean, and so does this.
    """
    auc = insertion_auc(area.astype(np.float64), insertion.T.astype(np.float64))
    # A flat curve may come out a rounding error below zero.
    return np.maximum(auc - insertion.min(axis=0), 0).astype(np.float32)


def sentence_range(reliance: Float[np.ndarray, "t"]) -> tuple[float, float]:
    """The raw values that are drawn as all prior and all perception within one answer.

    Args:
      reliance: raw values of `token_reliance`.

    Returns:
      The smallest and the largest value; 0 and 1 where all are equal, because nothing is
      relative then and the raw value speaks for itself.
    """
    low, high = float(reliance.min()), float(reliance.max())
    return (low, high) if high > low else (0.0, 1.0)


def sentence_scale(reliance: Float[np.ndarray, "t"]) -> Float32[np.ndarray, "t"]:
    """Stretch the reliance of one answer to [0, 1] for display.

    The scale is relative: an answer that is all language prior still shows a token at 1.
    Compare answers by the raw values.

    Args:
      reliance: raw values of `token_reliance`.

    Returns:
      0 for the least, 1 for the most image-driven token; the raw values when all are equal.
    """
    low, high = sentence_range(reliance)
    return ((reliance - low) / (high - low)).astype(np.float32)


def word_reliance(
    answer_tokens: tuple[str, ...],
    target: Int32[np.ndarray, "t"],
    reliance: Float[np.ndarray, "t"],
) -> list[WordReliance]:
    """Reliance of the words of an answer, as far as their tokens were scored.

    Args:
      answer_tokens: texts of all tokens of the answer.
      target: positions of the scored ones, each its own token and not one in its place.
      reliance: raw values of `token_reliance`.

    Returns:
      One record for each word, mark or end of answer that has a scored token.
    """
    if not target.size:
        return []
    scaled = sentence_scale(reliance)
    index = {int(position): i for i, position in enumerate(target)}
    found = []
    for word in words(answer_tokens):
        scored = [index[position] for position in word.tokens if position in index]
        if scored:
            raw = reliance[scored].astype(np.float64)
            top = float(scaled[scored].max())
            record = WordReliance(
                word.text, word.kind, float(raw.max()), float(raw.mean()), top
            )
            found.append(record)
    return found


def perception_auroc(found: Sequence[WordReliance]) -> float:
    """How well raw reliance separates words that name what is seen from function words.

    Args:
      found: words of one or many answers.

    Returns:
      AUROC of content words, colours and numbers against closed-class words and marks, by
      their highest values; NaN when one of the groups is missing.
    """
    perception, prior = (
        np.array([word.highest for word in found if word.kind in side], np.float64)
        for side in (PERCEPTION, PRIOR)
    )
    return auroc(perception, prior)
