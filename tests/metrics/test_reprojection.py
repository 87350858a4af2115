"""R-SAM, R-ERGAS, R-Q2n and D_rho against their definitions."""

import numpy as np
import pytest
from metric_scenes import OPTICS, SENSOR, scene

from rsfusion_jax import metrics
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23


@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_reprojection_is_perfect_where_ms_is_the_simulated_one(ratio):
    fused = scene(ratio=ratio, height=20)[0]
    blurred = mtf_filter(fused, SENSOR["mtf_ms"], ratio)
    for phase in range(ratio):
        options = {"sensor": SENSOR, "ratio": ratio, "precision": "float64"}
        if phase != ratio // 2:
            options["ms_phase"] = phase
        ms = blurred[phase::ratio, phase::ratio]
        assert metrics.r_ergas(fused, ms, **options) == pytest.approx(0, abs=1e-10)
        unblurred = decimate(fused, ratio, phase)
        assert metrics.r_ergas(fused, unblurred, **options) > 1
        if ratio == 4 and phase == 2:
            # Near 0 an arccos would lose half the digits; the metric does not.
            assert metrics.r_sam(fused, ms, **options) == pytest.approx(0, abs=1e-10)
            assert metrics.r_q2n(fused, ms, **options) == pytest.approx(1, abs=1e-10)


def blob(shift):
    """A Gaussian spot on a constant, shifted by a fraction of a pixel; (64, 64, 3)."""
    axis = np.arange(64) - 31.3
    spot = np.exp(-((axis[:, None] - shift) ** 2 + (axis - shift) ** 2) / (2 * 5.0**2))
    return 0.3 + spot[..., None] * np.array([0.2, 0.4, 0.6])


def test_reprojection_at_area_phase():
    fused = blob(0.0)
    # Content moved by -0.5 pixel shows at pixel 1 what the scene holds at 1.5.
    ms = decimate(mtf_filter(blob(-0.5), SENSOR["mtf_ms"], 4), 4, 1)
    optics = {**OPTICS, "precision": "float64"}
    assert metrics.r_ergas(fused, ms, ms_phase=1.5, **optics) < 1e-4
    for wrong in (1, 2):
        assert metrics.r_ergas(fused, ms, ms_phase=wrong, **optics) > 0.1


def test_r_metrics_are_the_metrics_of_the_reprojected_image():
    fused, ms, _ = scene()
    low = decimate(mtf_filter(fused, SENSOR["mtf_ms"], 4), 4)
    double = {"precision": "float64"}
    options = {**OPTICS, **double}
    sizes = {"block": 8, "shift": 8}
    assert metrics.r_sam(fused, ms, **options) == pytest.approx(
        metrics.sam(ms, low, **double), abs=1e-10
    )
    assert metrics.r_ergas(fused, ms, **options) == pytest.approx(
        metrics.ergas(ms, low, ratio=4, **double), abs=1e-10
    )
    assert metrics.r_q2n(fused, ms, **sizes, **options) == pytest.approx(
        metrics.q2n(ms, low, **sizes, **double), abs=1e-10
    )


@pytest.mark.parametrize("sigma", [None, 2, 5])
def test_d_rho_equals_its_definition(sigma):
    fused, _, pan = (part[:20, :17] for part in scene())
    fused[:9, :9, 1] = 0.25  # a flat band counts as uncorrelated
    pan[12:, 8:] = 0.75  # windows without any PAN detail are left out
    side = sigma or 4
    values = []
    for r in range(20 - side + 1):
        for c in range(17 - side + 1):
            window = np.s_[r : r + side, c : c + side]
            p = pan[window].ravel()
            if np.ptp(p) == 0:
                continue
            for band in np.moveaxis(fused[window], -1, 0):
                flat = np.ptp(band) == 0
                values.append(0 if flat else np.corrcoef(band.ravel(), p)[0, 1])
    found = metrics.d_rho(fused, pan, ratio=4, sigma=sigma, precision="float64")
    assert found == pytest.approx(1 - np.mean(values), abs=1e-10)


def test_d_rho_of_special_images():
    fused, ms, pan = scene(dtype=np.float32)
    copies = pan * np.array([0.5, 2, 7], np.float32) + 1
    assert metrics.d_rho(copies, pan, ratio=4) == pytest.approx(0, abs=1e-5)
    assert metrics.d_rho(-copies, pan, ratio=4) == pytest.approx(2, abs=1e-5)
    assert metrics.d_rho(np.full_like(fused, 0.4), pan, ratio=4) == 1
    assert np.isnan(metrics.d_rho(fused, np.full_like(pan, 0.4), ratio=4))
    lms = interp23(ms, 4)
    assert metrics.d_rho(fused, pan, ratio=4) < metrics.d_rho(lms, pan, ratio=4)
