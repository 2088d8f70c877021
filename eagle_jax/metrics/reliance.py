"""Reliance: how far each token and word depends on the image, not on the language prior."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.metrics.faithfulness import FLOOR, insertion_auc
from eagle_jax.metrics.statistics import Interval, auroc, bootstrap_interval
from eagle_jax.metrics.word_classes import PERCEPTION, PRIOR, WordClass, words


class WordReliance(NamedTuple):
    """How much the image raises the probability of a word.

    Attributes:
      text: the word.
      word_class: class of the word.
      highest: largest reliance of the word's tokens. Later tokens of a word follow from the
        first with or without the image, so the largest value represents the word.
      mean: mean reliance of the word's tokens, which later tokens lower.
      scaled: `highest` on the scale of the answer, from 0 to 1 (`sentence_scale`).
    """

    text: str
    word_class: WordClass
    highest: float
    mean: float
    scaled: float


@checked
def token_reliance(
    area: Float[np.ndarray, "k"], insertion: Float[np.ndarray, "k t"]
) -> Float32[np.ndarray, "t"]:
    """Reliance of each token on the image: AUC of its insertion curve minus its minimum.

    Near 0 the token is as likely without the image as with it, so the language prior decides
    it. Near 1 a small fraction of the image makes the token certain.

    Args:
      area: visible fraction of the image at each point, rising from 0 to 1.
      insertion: probability of each token at each point; row 0 is the blank image.

    Returns:
      A value in [0, 1) for each token, comparable between answers.

    References:
      EAGLE, arXiv 2509.22496, section 3 (modality-aware analysis); computed as in the
      published code, as the area-weighted mean rise above the minimum.
    """
    auc = insertion_auc(area.astype(np.float64), insertion.T.astype(np.float64))
    # A flat curve may come out a rounding error below zero.
    return np.maximum(auc - insertion.min(axis=0), 0).astype(np.float32)


@checked
def sentence_range(reliance: Float[np.ndarray, "t"]) -> tuple[float, float]:
    """The values of reliance that an answer's scale draws as 0 and 1.

    Args:
      reliance: values from `token_reliance`.

    Returns:
      The smallest and the largest value; 0 and 1 if all values are equal.
    """
    if not reliance.size:
        raise InputError("reliance is empty; an answer has at least one token")
    low, high = float(reliance.min()), float(reliance.max())
    return (low, high) if high > low else (0.0, 1.0)


@checked
def sentence_scale(reliance: Float[np.ndarray, "t"]) -> Float32[np.ndarray, "t"]:
    """Stretches the reliance of one answer to [0, 1] for display.

    The scale is relative: even if no token of an answer relies on the image, one token is
    at 1. Compare answers by the values of `token_reliance` instead.

    Args:
      reliance: values from `token_reliance`.

    Returns:
      0 for the smallest and 1 for the largest value; equal values stay unchanged.
    """
    low, high = sentence_range(reliance)
    return ((reliance - low) / (high - low)).astype(np.float32)


@checked
def word_reliance(
    answer_tokens: tuple[str, ...],
    positions: Int32[np.ndarray, "t"],
    reliance: Float[np.ndarray, "t"],
) -> list[WordReliance]:
    """Reliance of each word of an answer, from the tokens that were scored.

    Args:
      answer_tokens: texts of all tokens of the answer.
      positions: positions that were scored with the answer's own token.
      reliance: values from `token_reliance`, in the same order.

    Returns:
      An entry for each word, mark or end of answer that has a scored token.
    """
    if not positions.size:
        return []
    scaled = sentence_scale(reliance)
    index = {int(position): i for i, position in enumerate(positions)}
    records = []
    for word in words(answer_tokens):
        scored = [index[position] for position in word.tokens if position in index]
        if scored:
            values = reliance[scored].astype(np.float64)
            records.append(
                WordReliance(
                    text=word.text,
                    word_class=word.word_class,
                    highest=float(values.max()),
                    mean=float(values.mean()),
                    scaled=float(scaled[scored].max()),
                )
            )
    return records


@checked
@checked
def image_share(
    answer_tokens: tuple[str, ...],
    positions: Int32[np.ndarray, "t"],
    full: Float[np.ndarray, "t"],
    blank: Float[np.ndarray, "t"],
) -> Interval:
    """Fraction of an answer's words that rest on the image and not on the language prior.

    A word counts as ``1 - p(word | blank image) / p(word | full image)``, at least 0: 0 if the
    word is as likely without the image, 1 if it is impossible without the image. The
    probability of a word is the product over its tokens.

    Args:
      answer_tokens: texts of all tokens of the answer.
      positions: positions that were scored with the answer's own token.
      full: probability of each of these tokens for the full image.
      blank: probability of each of these tokens for the blank image.

    Returns:
      The mean over the words, without marks and the end of the answer, and its bootstrap
      interval over the words.
    """
    row = {int(position): i for i, position in enumerate(positions)}
    shares = []
    for word in words(answer_tokens):
        scored = [row[position] for position in word.tokens if position in row]
        if scored and word.word_class not in ("punctuation", "end"):
            with_image, without = full[scored].prod(), blank[scored].prod()
            shares.append(max(0.0, 1 - float(without) / max(float(with_image), FLOOR)))
    return bootstrap_interval(np.array(shares))


@checked
def perception_auroc(answer_words: Sequence[WordReliance]) -> float:
    """How well reliance separates words about the image from function words.

    Args:
      answer_words: words of one or more answers.

    Returns:
      AUROC of content words, colours and numbers against closed-class words and marks, by
      their `highest`; NaN if one of the two groups is empty.
    """
    perception, prior = (
        np.array([word.highest for word in answer_words if word.word_class in group])
        for group in (PERCEPTION, PRIOR)
    )
    return auroc(perception, prior)
