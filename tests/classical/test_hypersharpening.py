"""Guides of several bands: the guide that explains a band best."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from rsfusion_jax import classical
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import atrous_lowpass, mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23

SENSOR = {"bands": 3, "mtf_ms": [0.22, 0.34, 0.34]}
WEIGHTS = np.array([[0.7, -0.4, 0.1], [0.2, 0.9, 0.3], [0.0, 0.5, -0.6]])


@pytest.fixture(scope="module")
def scene():
    """Guides (96, 96, 3), and bands that are mixtures of them: sharp, and of a third as sharp."""
    random = np.random.default_rng(3)
    guides = np.stack(
        [
            sum(
                width * scipy.ndimage.gaussian_filter(random.standard_normal((96, 96)), width)
                for width in (0.8, 2, 7)
            )
            for _ in range(3)
        ],
        axis=-1,
    )
    sharp = 500 + 100 * guides @ WEIGHTS
    small = np.stack(
        [
            decimate(mtf_filter(sharp[..., [band]], gain, 3), 3)[..., 0]
            for band, gain in enumerate(SENSOR["mtf_ms"])
        ],
        axis=-1,
    )
    return 300 + 100 * guides, sharp, small


@pytest.mark.parametrize("name", ["hyper_glp", "hyper_gsa"])
def test_mixtures_of_guides_are_recovered(scene, name):
    guides, sharp, small = scene
    inside = np.s_[18:-18, 18:-18]
    fused = classical.fuse(name, guides, small, sensor=SENSOR)
    error = np.abs(fused - sharp)[inside].max()
    assert (
        error
        < (0.02 if name == "hyper_glp" else 0.4) * np.abs(interp23(small, 3) - sharp)[inside].max()
    )
    one = classical.fuse("mtf_glp_cbd", guides.mean(-1, keepdims=True), small, sensor=SENSOR)
    assert error < 0.5 * np.abs(one - sharp)[inside].max()


def regression(regressors, target):
    """Weights of the columns, beside a constant."""
    columns = np.concatenate([regressors, np.ones((len(regressors), 1))], axis=1)
    return np.linalg.lstsq(columns, target, rcond=None)[0][:-1]


def test_outputs_equal_the_definitions(scene):
    guides, _, small = scene
    lms = interp23(small, 3)
    flat = small.reshape(-1, 3)
    glp, gsa = np.empty_like(lms), np.empty_like(lms)
    reduced = decimate(atrous_lowpass(guides, 3), 3).reshape(-1, 3)
    for band, gain in enumerate(SENSOR["mtf_ms"]):
        seen = decimate(mtf_filter(guides, gain, 3), 3)
        guide = guides @ regression(seen.reshape(-1, 3), flat[:, band])
        low = interp23(decimate(mtf_filter(guide[..., None], gain, 3), 3), 3)[..., 0]
        glp[..., band] = lms[..., band] + guide - low
        weights = regression(reduced, flat[:, band])
        guide = (guides - guides.mean((0, 1))) @ weights
        mixture = regression(flat, reduced @ weights)
        intensity = (lms - lms.mean((0, 1))) @ mixture
        centred = lms[..., band] - lms[..., band].mean()
        gain = (intensity * centred).mean() / intensity.var()
        gsa[..., band] = lms[..., band] + gain * (guide - intensity)
    expected = {"hyper_glp": glp, "hyper_gsa": gsa}
    with jax.enable_x64(True):
        for name, image in expected.items():
            fused = classical.fuse(name, guides, small, sensor=SENSOR)
            np.testing.assert_allclose(fused, image, rtol=1e-9)


def test_other_methods_take_one_guide(scene):
    with pytest.raises(UserError, match="choose exp or hyper_glp or hyper_gsa"):
        classical.fuse("gsa", scene[0], scene[2], sensor=SENSOR)
