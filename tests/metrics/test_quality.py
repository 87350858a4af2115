"""Q, CC and RMSE against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_scenes import plain_q, scene

from rsfusion_jax import metrics
from rsfusion_jax.metrics.windows import window_moments


@pytest.mark.parametrize("window", [1, 2, 5, 7, 8, 12])
def test_window_moments_equal_their_definition(window):
    random = np.random.default_rng(0)
    x, y = 1000 + random.normal(size=(2, 12, 15, 2))
    views = [
        np.lib.stride_tricks.sliding_window_view(z, (window, window), axis=(0, 1)) for z in (x, y)
    ]
    means = [view.mean(axis=(-2, -1)) for view in views]
    rest = [view - mean[..., None, None] for view, mean in zip(views, means, strict=True)]
    products = (rest[0] ** 2, rest[1] ** 2, rest[0] * rest[1])
    expected = [*means, *(product.mean(axis=(-2, -1)) for product in products)]
    with jax.enable_x64(True):
        found = window_moments(jnp.asarray(x), jnp.asarray(y), window)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_q_by_hand():
    gt, fused = scene()[0][:10, :12], scene(seed=1)[0][:10, :12]
    expected = [
        [
            plain_q(gt[r : r + 8, c : c + 8, b], fused[r : r + 8, c : c + 8, b])
            for r in range(3)
            for c in range(5)
        ]
        for b in range(3)
    ]
    bands = metrics.q(gt, fused, window=8, per_band=True, precision="float64")
    np.testing.assert_allclose(bands, np.mean(expected, axis=1), atol=1e-12)
    value = metrics.q(gt, fused, window=8, precision="float64")
    assert value == pytest.approx(np.mean(expected), abs=1e-12)
    scaled = metrics.q(300 * gt, 300 * fused, window=8, precision="float64")
    assert scaled == pytest.approx(value, abs=1e-12)


def test_q_of_flat_windows():
    textured = scene(dtype=np.float32)[0]
    flat, brighter = np.full_like(textured, 0.2), np.full_like(textured, 0.6)
    for image in (textured, flat, 0 * flat):
        assert metrics.q(image, image) == pytest.approx(1, abs=1e-6)
    assert metrics.q(flat, brighter) == pytest.approx(2 * 0.12 / 0.4, abs=1e-6)
    assert metrics.q(flat, 0 * flat) == 0
    assert metrics.q(flat, textured) == pytest.approx(0, abs=1e-6)
    # A constant is recognised after filters that leave it with a ripple of rounding errors.
    rippled = brighter * (1 + 1e-7 * np.random.default_rng(0).normal(size=flat.shape))
    assert metrics.q(flat, rippled, precision="float64") == pytest.approx(0.6, abs=1e-6)


def test_cc_and_rmse_by_hand():
    gt, fused = scene()[0], scene(seed=1)[0]
    expected = [np.corrcoef(gt[..., b].ravel(), fused[..., b].ravel())[0, 1] for b in range(3)]
    bands = metrics.cc(gt, fused, per_band=True, precision="float64")
    np.testing.assert_allclose(bands, expected, atol=1e-12)
    assert metrics.cc(gt, fused, precision="float64") == pytest.approx(np.mean(expected), abs=1e-12)
    assert metrics.cc(gt, 5 - 2 * gt) == pytest.approx(-1, abs=1e-6)
    assert metrics.cc(gt, gt) == pytest.approx(1, abs=1e-6)
    constant = np.full_like(gt, 0.37)
    assert np.isnan(metrics.cc(gt, constant)) and np.isnan(metrics.cc(constant, constant))
    bands = metrics.rmse(gt, gt + np.array([0.1, 0.2, -0.3]), per_band=True, precision="float64")
    np.testing.assert_allclose(bands, [0.1, 0.2, 0.3], atol=1e-12)
    value = metrics.rmse(gt, gt + np.array([0.1, 0.2, -0.3]), precision="float64")
    assert value == pytest.approx(np.sqrt(0.14 / 3), abs=1e-12)
    assert metrics.rmse(constant, constant) == 0
