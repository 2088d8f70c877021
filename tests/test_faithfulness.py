"""Faithfulness numbers against hand-computed cases, sklearn-free loops, and batching."""

import jax.numpy as jnp
import numpy as np
import pytest

from eagle_jax.metrics.faithfulness import (
    deletion_auc,
    highest_confidence,
    insertion_auc,
    mean_over_tokens,
    sensitive_tokens,
)

AREA = np.array([0.0, 0.1, 0.4, 1.0])


def test_insertion_auc_by_hand():
    curve = np.array([0.2, 0.8, 0.6, 1.0])
    by_hand = 0.1 * 0.5 + 0.3 * 0.7 + 0.6 * 0.8
    assert insertion_auc(AREA, curve) == pytest.approx(by_hand, rel=1e-12)


def test_deletion_auc_is_the_area_under_the_curve_over_what_is_left():
    curve = np.array([0.9, 0.3, 0.2, 0.0])
    left = 1 - AREA
    published = abs(np.trapezoid(curve, left))
    assert deletion_auc(AREA, curve) == pytest.approx(published, rel=1e-12)
    assert published == pytest.approx(0.1 * 0.6 + 0.3 * 0.25 + 0.6 * 0.1, rel=1e-12)


@pytest.mark.parametrize("metric", [insertion_auc, deletion_auc])
def test_batches_equal_single_curves_for_numpy_and_jax(metric):
    rng = np.random.default_rng(0)
    area = np.sort(rng.random((2, 1, 9)), axis=-1).astype(np.float32)
    area[..., 0], area[..., -1] = 0, 1
    curves = rng.random((2, 3, 9), dtype=np.float32)
    batched = metric(area, curves)
    assert batched.shape == (2, 3)
    single = [[metric(area[i, 0], curves[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(batched, single, rtol=1e-6)
    on_device = metric(jnp.asarray(area), jnp.asarray(curves))
    assert isinstance(on_device, jnp.ndarray)
    np.testing.assert_allclose(on_device, batched, rtol=1e-6)


@pytest.mark.parametrize("metric", [insertion_auc, deletion_auc])
def test_padding_adds_nothing(metric):
    curve = np.array([0.2, 0.8, 0.6, 0.7])
    padded = metric(np.append(AREA, [1, 1]), np.append(curve, [0.7, 0.7]))
    assert padded == pytest.approx(metric(AREA, curve), rel=1e-12)


def test_highest_confidence_counts_the_blank_image():
    curves = np.array([[0.9, 0.1, 0.3], [0.0, 0.6, 0.5]])
    np.testing.assert_array_equal(highest_confidence(curves), [0.9, 0.6])


def test_sensitive_tokens_rise_by_more_than_the_threshold():
    full = np.array([0.5, 0.75, 0.1, 0.9])
    blank = np.array([0.25, 0.5, 0.0, 0.95])
    assert sensitive_tokens(full, blank).tolist() == [True, True, False, False]
    assert sensitive_tokens(full, blank, threshold=0.25).tolist() == [False] * 4


@pytest.mark.parametrize("xp", [np, jnp])
def test_mean_over_tokens_drops_samples_without_any(xp):
    curves = xp.asarray(np.random.default_rng(0).random((2, 4, 3), dtype=np.float32))
    tokens = xp.asarray(np.array([[True, False, True], [False, False, False]]))
    mean = mean_over_tokens(curves, tokens)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean[0], np.asarray(curves)[0][:, [0, 2]].mean(1), rtol=1e-6)
    assert np.isnan(mean[1]).all()
