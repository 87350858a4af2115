"""QNR and HQNR against their definitions, and how every metric of a scene may be called."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metric_scenes import OPTICS, SENSOR, plain_q, scene

from rsfusion_jax import metrics
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import filter_replicate, mtf_filter, mtf_kernel
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import get_sensor

# Calls on one scene (fused, ms, pan).
CALLS = {
    "d_lambda": lambda f, m, p, **kw: metrics.d_lambda(f, m, ratio=4, **kw),
    "d_s": lambda f, m, p, **kw: metrics.d_s(f, m, p, ratio=4, **kw),
    "qnr": lambda f, m, p, **kw: metrics.qnr(f, m, p, ratio=4, **kw),
    "d_lambda_k": lambda f, m, p, **kw: metrics.d_lambda_k(f, m, **OPTICS, **kw),
    "hqnr": lambda f, m, p, **kw: metrics.hqnr(f, m, p, **OPTICS, **kw),
    "r_sam": lambda f, m, p, **kw: metrics.r_sam(f, m, **OPTICS, **kw),
    "r_ergas": lambda f, m, p, **kw: metrics.r_ergas(f, m, **OPTICS, **kw),
    "r_q2n": lambda f, m, p, **kw: metrics.r_q2n(f, m, **OPTICS, **kw),
    "d_rho": lambda f, m, p, **kw: metrics.d_rho(f, p, ratio=4, **kw),
    "q": lambda f, m, p, **kw: metrics.q(interp23(m, 4), f, **kw),
    "cc": lambda f, m, p, **kw: metrics.cc(interp23(m, 4), f, **kw),
    "rmse": lambda f, m, p, **kw: metrics.rmse(interp23(m, 4), f, **kw),
}


def mean_q(x, y, block):
    """Q of two bands over whole blocks side by side."""
    return np.mean(
        [
            plain_q(x[r : r + block, c : c + block], y[r : r + block, c : c + block])
            for r in range(0, x.shape[0] - block + 1, block)
            for c in range(0, x.shape[1] - block + 1, block)
        ]
    )


@pytest.mark.parametrize("original", [False, True])
def test_distortions_equal_their_definition(original):
    fused, ms, pan = scene()
    lms, low_pan = interp23(ms, 4), imresize(pan, ms.shape[:2])
    low, block = (ms, 5) if original else (lms, 20)  # 20 leaves rows and columns over
    low_pan = low_pan if original else interp23(low_pan, 4)
    pairs = [(0, 1), (0, 2), (1, 2)]
    spectral = [
        mean_q(fused[..., i], fused[..., j], 20) - mean_q(low[..., i], low[..., j], block)
        for i, j in pairs
    ]
    spatial = [
        mean_q(fused[..., b], pan[..., 0], 20) - mean_q(low[..., b], low_pan[..., 0], block)
        for b in range(3)
    ]
    options = {"ratio": 4, "block": 20, "original": original, "precision": "float64"}
    expected = [np.mean(np.abs(change) ** 3) ** (1 / 3) for change in (spectral, spatial)]
    found = [
        metrics.d_lambda(fused, ms, p=3, **options),
        metrics.d_s(fused, ms, pan, q=3, **options),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    together = metrics.qnr(fused, ms, pan, p=3, q=3, alpha=2, beta=0.5, **options)
    assert together == pytest.approx((1 - expected[0]) ** 2 * (1 - expected[1]) ** 0.5, abs=1e-12)


def test_khan_and_hybrid_equal_their_definition():
    fused, ms, pan = scene()
    double = {"precision": "float64"}
    blurred = mtf_filter(fused, SENSOR["mtf_ms"], 4)
    expected = 1 - metrics.q2n(interp23(ms, 4), blurred, **double)
    spectral = metrics.d_lambda_k(fused, ms, **OPTICS, **double)
    assert spectral == pytest.approx(expected, abs=1e-12)
    spatial = metrics.d_s(fused, ms, pan, ratio=4, q=2, **double)
    value = metrics.hqnr(fused, ms, pan, q=2, alpha=3, beta=2, **OPTICS, **double)
    assert value == pytest.approx((1 - spectral) ** 3 * (1 - spatial) ** 2, abs=1e-12)
    # Counts are rounded, which moves the value; data in [0, 1] are not.
    rounded = [np.floor(200 * image + 0.5) for image in (interp23(ms, 4), blurred)]
    expected = 1 - metrics.q2n(*rounded, **double)
    assert abs(expected - spectral) > 1e-4
    counts = metrics.d_lambda_k(200 * fused, 200 * ms, **OPTICS, **double)
    assert counts == pytest.approx(expected, abs=1e-12)
    kept = metrics.d_lambda_k(200 * fused, 200 * ms, quantise=False, **OPTICS, **double)
    assert kept == pytest.approx(spectral, abs=1e-12)


def test_first_version_blurs_pan_and_keeps_its_pixels():
    fused, ms, pan = scene()
    lms, blurred = interp23(ms, 4), filter_replicate(pan, mtf_kernel(0.15, 4, width=41))
    changes = [
        mean_q(fused[..., b], pan[..., 0], 32) - mean_q(lms[..., b], blurred[..., 0], 32)
        for b in range(3)
    ]
    options = {"version": "1.0", "precision": "float64", **OPTICS}
    spatial = metrics.d_s(fused, ms, pan, **options)
    assert spatial == pytest.approx(np.mean(np.abs(changes)), abs=1e-12)
    spectral = metrics.d_lambda(fused, ms, ratio=4, precision="float64")
    value = metrics.qnr(fused, ms, pan, **options)
    assert value == pytest.approx((1 - spectral) * (1 - spatial), abs=1e-12)


def test_own_lms_replaces_the_default():
    fused, ms, _ = scene()
    options = {**OPTICS, "precision": "float64"}
    made = {}
    for wrap in (False, True):
        lms = interp23(ms, 4, wrap=wrap)
        given = metrics.d_lambda_k(fused, ms, lms=lms, **options)
        made[wrap] = metrics.d_lambda_k(fused, ms, wrap=wrap, **options)
        assert given == pytest.approx(made[wrap], abs=1e-12)
    assert abs(made[True] - made[False]) > 1e-4
    shifted = metrics.d_lambda_k(fused, ms, lms=np.roll(lms, 1, axis=0), **options)
    assert abs(shifted - made[True]) > 1e-3
    assert metrics.d_lambda(lms, ms, ratio=4, lms=lms) == 0


def test_flat_blocks_do_not_poison_the_index():
    fused, ms, pan = scene()
    double = {"precision": "float64"}
    for image, side in ((fused, 64), (ms, 16), (pan, 64)):
        image[:, : side * 3 // 4] = 0  # whole blocks of 32 without data
    with np.errstate(invalid="ignore"):  # the toolbox's formula
        assert np.isnan(plain_q(fused[:32, :32, 0], pan[:32, :32, 0]))
    for name in ("d_lambda", "d_s", "hqnr"):
        assert 0 <= CALLS[name](fused, ms, pan, **double) <= 1
    constant = [np.full_like(image, level) for image, level in ((fused, 0.3), (ms, 0.3), (pan, 1))]
    for name in ("d_lambda", "d_s"):
        assert CALLS[name](*constant, **double) == pytest.approx(0, abs=1e-7)
    zero = [0 * image for image in constant]
    assert CALLS["hqnr"](*zero, **double) == pytest.approx(1, abs=1e-12)
    assert CALLS["hqnr"](*constant, **double) < 1e-4  # as documented of d_lambda_k


# --- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
def test_precision_jit_and_vmap(name):
    images = [scene(seed=seed, dtype=np.float32) for seed in (0, 1)]
    double = [CALLS[name](*image, precision="float64") for image in images]
    assert type(double[0]) is float and double[0] != double[1]
    stacked = [jnp.asarray(np.stack(parts)) for parts in zip(*images, strict=True)]
    together = jax.jit(jax.vmap(CALLS[name]))(*stacked)
    assert together.dtype == jnp.float32 and together.shape == (2,)
    np.testing.assert_allclose(together, double, rtol=1e-5, atol=1e-6)
    with pytest.raises(UserError, match="cannot be traced"):
        jax.jit(lambda f, m, p: CALLS[name](f, m, p, precision="float64"))(*images[0])
    with pytest.raises(UserError, match="float16"):
        CALLS[name](*images[0], precision="float16")


def test_sensor_by_name_mapping_and_record():
    fused, ms, _ = scene(bands=4)
    values = [
        metrics.r_ergas(fused, ms, sensor=sensor, ratio=4)
        for sensor in (
            "ikonos",
            get_sensor("ikonos"),
            {"bands": tuple("abcd"), "mtf_ms": list(get_sensor("ikonos").mtf_ms)},
        )
    ]
    assert values[0] == values[1] == values[2]
    assert metrics.r_ergas(fused, ms, sensor="qb", ratio=4) != values[0]


def test_signatures():
    for name in ("d_lambda", "d_s", "qnr", "d_lambda_k", "hqnr", "r_sam", "d_rho", "q", "cc"):
        function = getattr(metrics, name)
        assert inspect.getdoc(function) and name in metrics.__all__
        parameters = inspect.signature(function).parameters
        assert "precision" in parameters
        if name not in ("q", "cc"):
            assert parameters["ratio"].default is inspect.Parameter.empty
    with pytest.raises(TypeError, match="ratio"):
        metrics.d_lambda(*scene()[:2])
    with pytest.raises(TypeError, match="sensor"):
        metrics.hqnr(*scene(), ratio=4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda f, m, p: metrics.d_lambda(f, m, ratio=2), "ms must have 1/2"),
        (lambda f, m, p: metrics.d_lambda(f, m[..., :2], ratio=4), "ms is .* and fused"),
        (lambda f, m, p: metrics.d_lambda(f, m, ratio=4, lms=m), "lms its shape"),
        (lambda f, m, p: metrics.d_lambda(f[..., :1], m[..., :1], ratio=4), "1 band"),
        (lambda f, m, p: metrics.d_lambda(f, m, ratio=4, block=80), "not one block of 80x80"),
        (lambda f, m, p: metrics.d_lambda(f, m, ratio=4, block=30, original=True), "block 30"),
        (lambda f, m, p: metrics.d_s(f, m, f, ratio=4), "pan one band"),
        (lambda f, m, p: metrics.d_s(f, m, p[..., 0], ratio=4), r"panchromatic one as \(H, W, 1\)"),
        (lambda f, m, p: metrics.d_s(f, m, p, ratio=4, version="2"), "version '2' is unknown"),
        (lambda f, m, p: metrics.d_s(f, m, p, ratio=4, version="1.0"), "name it with sensor="),
        (lambda f, m, p: metrics.qnr(f, m, p, version="1.0", original=True, **OPTICS), "two def"),
        (lambda f, m, p: metrics.qnr(f[None], m[None], p[None], ratio=4), "vmap over a batch"),
        (lambda f, m, p: metrics.hqnr(f, m, p, sensor="wv3", ratio=4), "has 8 bands"),
        (lambda f, m, p: metrics.hqnr(f, m, p, sensor="wv9", ratio=4), "wv9"),
        (lambda f, m, p: metrics.r_sam(f, m, **OPTICS, ms_phase=1.25), "multiple of 0.5"),
        (lambda f, m, p: metrics.r_sam(f, m, **OPTICS, ms_phase=4), "between 0 and 3"),
        (lambda f, m, p: metrics.d_rho(f, p, ratio=4, sigma=1), "sigma 1"),
        (lambda f, m, p: metrics.d_rho(f, p, ratio=1.5), "ratio 1.5"),
        (lambda f, m, p: metrics.q(m, m), "32x32 window does not fit an image of 16x24"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(UserError, match=words):
        call(*scene())
