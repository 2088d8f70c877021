"""Faithfulness numbers: closed forms, an independent NumPy version, batching."""

import jax.numpy as jnp
import numpy as np
import pytest

from eagle_jax.metrics.faithfulness import (
    deletion_auc,
    highest_confidence,
    insertion_auc,
    log_probability,
    mean_over_tokens,
    normalised_auc,
    sensitive_tokens,
)

AREA = np.array([0.0, 0.1, 0.4, 1.0])


def test_insertion_auc_by_hand():
    curve = np.array([0.2, 0.8, 0.6, 1.0])
    by_hand = 0.1 * 0.5 + 0.3 * 0.7 + 0.6 * 0.8
    assert insertion_auc(AREA, curve) == pytest.approx(by_hand, rel=1e-12)


def test_deletion_auc_is_the_area_under_the_curve_over_the_remaining_area():
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


def test_closed_forms():
    area = np.linspace(0, 1, 401) ** 2
    for power in (1, 2, 3):
        # The integral of a^m over [0, 1]; the trapezoid rule is exact for straight lines.
        exact = 1 / (power + 1)
        assert insertion_auc(area, area**power) == pytest.approx(exact, abs=2e-5)
        assert deletion_auc(area, 1 - area**power) == pytest.approx(1 - exact, abs=2e-5)
    assert insertion_auc(area, area) == pytest.approx(0.5, rel=1e-12)
    for constant in (0.0, 0.3, 1.0):
        flat = np.full(401, constant)
        assert insertion_auc(area, flat) == pytest.approx(constant, rel=1e-12)
        assert deletion_auc(area, flat) == pytest.approx(constant, rel=1e-12)
    # log(exp(-a)) = -a, whose integral is -1/2.
    assert insertion_auc(area, log_probability(np.exp(-area))) == pytest.approx(-0.5)


def test_a_thousand_random_curves_equal_an_independent_version():
    rng = np.random.default_rng(0)
    samples, n, t = 1000, 24, 5
    sizes = rng.integers(1, 50, (samples, n))
    area = np.cumsum(np.pad(sizes, ((0, 0), (1, 0))), axis=1) / sizes.sum(1, keepdims=True)
    insertion = rng.random((samples, n + 1, t))
    insertion[:, 0] *= rng.random((samples, t))
    deletion = rng.random((samples, n + 1, t))
    deletion[:, 0], deletion[:, -1] = insertion[:, -1], insertion[:, 0]
    insertion[::9, -1] = insertion[::9, 0]  # no token of these is sensitive
    sensitive = sensitive_tokens(insertion[:, -1], insertion[:, 0])
    curves = insertion.mean(2), deletion.mean(2)
    logs = log_probability(insertion).mean(2)
    chosen = mean_over_tokens(insertion, sensitive), mean_over_tokens(deletion, sensitive)
    auc = insertion_auc(area, curves[0])
    ours = {
        "insertion": auc,
        "deletion": deletion_auc(area, curves[1]),
        "highest": highest_confidence(curves[0]),
        "sensitive insertion": insertion_auc(area, chosen[0]),
        "sensitive deletion": deletion_auc(area, chosen[1]),
        "sensitive highest": highest_confidence(chosen[0]),
        "log": insertion_auc(area, logs),
        "normalised": normalised_auc(auc, curves[0][:, -1], curves[0][:, 0]),
    }
    for i in range(samples):
        x, ins, dele = area[i], insertion[i], deletion[i]
        y, z = ins.sum(1) / t, dele.sum(1) / t
        raised = [j for j in range(t) if insertion[i, -1, j] - insertion[i, 0, j] > 0.2]
        span = y[-1] - y[0]
        theirs = {
            "insertion": np.trapezoid(y, x),
            "deletion": -np.trapezoid(z, 1 - x),
            "highest": max(y),
            "log": np.trapezoid(np.log(ins.clip(1e-6)).sum(1) / t, x),
            "normalised": np.trapezoid(y - y[0], x) / span if abs(span) > 0.05 else np.nan,
            "sensitive insertion": np.nan,
            "sensitive deletion": np.nan,
            "sensitive highest": np.nan,
        }
        if raised:
            y, z = ins[:, raised].mean(1), dele[:, raised].mean(1)
            theirs |= {
                "sensitive insertion": np.trapezoid(y, x),
                "sensitive deletion": -np.trapezoid(z, 1 - x),
                "sensitive highest": max(y),
            }
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name][i], value, atol=1e-9, err_msg=name)
    assert 100 < np.isnan(ours["sensitive insertion"]).sum() < 500
    assert np.isnan(ours["normalised"]).sum() > 100


@pytest.mark.parametrize("xp", [np, jnp])
def test_logarithms_have_a_floor(xp):
    curve = xp.asarray(np.array([0, 1e-30, 1e-6, 0.5, 1], np.float32))
    logs = log_probability(curve)
    assert logs.dtype == np.float32 and isinstance(logs, type(curve))
    np.testing.assert_allclose(logs, np.log([1e-6, 1e-6, 1e-6, 0.5, 1]), rtol=1e-6)
    assert log_probability(curve, floor=0.25).min() == pytest.approx(np.log(0.25))


@pytest.mark.parametrize("xp", [np, jnp])
def test_normalised_auc_is_guarded(xp):
    auc, full, blank = (
        xp.asarray(np.array(values, np.float32))
        for values in ([0.6, 0.9, 0.3, 0.3], [0.8, 0.8, 0.1, 0.32], [0.4, 0.4, 0.5, 0.3])
    )
    found = normalised_auc(auc, full, blank)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0.5, 1.25, 0.5, np.nan], rtol=1e-6)
    assert not np.isnan(normalised_auc(auc, full, blank, least=0.01)).any()
