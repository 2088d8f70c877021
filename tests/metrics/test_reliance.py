"""Reliance: the published formula, its range and its display scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eagle_jax.metrics.reliance import (
    WordReliance,
    perception_auroc,
    sentence_scale,
    token_reliance,
    word_reliance,
)


def test_reliance_by_hand():
    area = np.array([0, 0.25, 1], np.float32)
    curves = np.array([[0.1, 0.6], [0.9, 0.6], [0.9, 0.6]], np.float32)
    # First token: 0.25 * 0.5 + 0.75 * 0.9 - 0.1; the second does not depend on the image.
    np.testing.assert_allclose(token_reliance(area, curves), [0.7, 0.0], atol=1e-6)


def test_the_minimum_need_not_be_the_blank_image():
    area = np.array([0, 0.5, 1], np.float32)
    curve = np.array([[0.5], [0.1], [0.9]], np.float32)
    np.testing.assert_allclose(token_reliance(area, curve), [0.5 * 0.3 + 0.5 * 0.5 - 0.1])


@given(
    arrays(np.float32, (8, 3), elements=st.floats(0, 1, width=32)),
    arrays(np.float32, (7,), elements=st.floats(0.125, 1, width=32)),
)
def test_reliance_lies_between_zero_and_the_rise_of_the_curve(curves, sizes):
    area = np.append(0, np.cumsum(sizes) / sizes.sum(dtype=np.float64)).astype(np.float32)
    reliance = token_reliance(area, curves)
    assert (reliance >= 0).all()
    assert (reliance <= np.ptp(curves, axis=0) + 1e-6).all()


def test_sentence_scale_spans_zero_to_one():
    np.testing.assert_allclose(
        sentence_scale(np.array([0.2, 0.6, 0.4], np.float32)), [0, 1, 0.5], rtol=1e-6
    )


def test_equal_values_stand_for_themselves():
    for same in ([0.25, 0.25], [0.75], [0.0]):
        values = np.array(same, np.float32)
        np.testing.assert_array_equal(sentence_scale(values), values)


def test_a_word_has_the_evidence_of_its_strongest_token():
    tokens = ("A", " pel", "ican", " can", "'t", " swim", ".", "<|im_end|>")
    target = np.arange(8, dtype=np.int32)
    reliance = np.array([0.0, 0.8, 0.2, 0.1, 0.3, 0.4, 0.05, 0.0], np.float32)
    found = word_reliance(tokens, target, reliance)
    assert [(word.text, word.word_class) for word in found] == [
        ("A", "determiner"),
        ("pelican", "content"),
        ("can't", "auxiliary"),
        ("swim", "content"),
        (".", "punctuation"),
        ("<|im_end|>", "end"),
    ]
    np.testing.assert_allclose([w.highest for w in found], [0, 0.8, 0.3, 0.4, 0.05, 0])
    np.testing.assert_allclose([w.mean for w in found], [0, 0.5, 0.2, 0.4, 0.05, 0])
    np.testing.assert_allclose([w.scaled for w in found], [0, 1, 0.375, 0.5, 0.0625, 0])


def test_words_without_a_scored_token_are_left_out():
    tokens = ("A", " red", " car", ".")
    found = word_reliance(tokens, np.array([2], np.int32), np.array([0.5], np.float32))
    assert found == [("car", "content", 0.5, 0.5, 0.5)]
    assert word_reliance(tokens, np.array([], np.int32), np.array([], np.float32)) == []


def test_perception_against_prior_by_hand():
    def word(word_class, highest):
        return WordReliance("x", word_class, highest, 0.0, 0.0)

    found = [word("content", 0.9), word("colour", 0.4), word("number", 0.3)]
    found += [word("determiner", 0.1), word("end", 0.3), word("polarity", 0.0)]
    # Of six pairs five are in order and one is a tie; polarity takes no side.
    assert perception_auroc(found) == pytest.approx(5.5 / 6)
    assert np.isnan(perception_auroc(found[:3]))
