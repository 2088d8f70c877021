"""Reliance: the published formula, its range and its display scale."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eagle_jax.reliance import sentence_scale, token_reliance


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
    np.testing.assert_array_equal(sentence_scale(np.array([0.3, 0.3], np.float32)), [0.5, 0.5])
    np.testing.assert_array_equal(sentence_scale(np.array([0.3], np.float32)), [0.5])
