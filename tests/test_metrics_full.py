"""Q, CC, RMSE and the full-resolution indices against every golden and against definitions."""

import inspect
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import metrics
from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.windows import window_moments
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23
from rsfusion_jax.sensors import get_sensor

# Absolute, relative above 1. Largest measured in float64: 3.4e-12 (one band's CC), 1.5e-15 for
# the full-resolution indices.
FLOAT64 = 1e-10
# Largest measured in float32: 1.0e-6 (D_lambda_K, whose Q2n rounds counts that the float32 filter
# moves across .5) and 2.2e-7 for all others. No exceptions.
FLOAT32 = 3e-6

# Sorted by shape, so that each worker compiles for few shapes.
PAIRS = [
    *(f"wv2_128_{kind}" for kind in ("exp", "noisy", "self", "black_both", "black_ref")),
    *(f"wv2_128_{kind}" for kind in ("black_fused", "const_ref", "const_both", "3band", "1band")),
    "ge1_128_exp",
    "ik_128_outofrange",
    *("ik_256_exp", "ik_256_noisy", "ik_256_self"),
    *("hs31_64_01", "hs31_64_counts"),
    *("wv3_32_exp", "wv2_100x77_exp", "ik_200x150_exp", "ik_pan400_1band"),
]
SCENES = {"wv2": "wv2", "wv3": "wv3", "ge1": "ge1", "ik": "ikonos"}

SENSOR = {"bands": ("a", "b", "c"), "mtf_ms": (0.2, 0.3, 0.4)}
OPTICS = {"sensor": SENSOR, "ratio": 4}
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


def scene(bands=3, height=16, width=24, ratio=4, seed=0, dtype=np.float64):
    """A smooth textured (fused, ms, pan) in [0, 1]; `fused` degraded is nearly `ms`."""
    random = np.random.default_rng(seed)
    texture = mtf_filter(random.normal(size=(ratio * height, ratio * width, bands + 1)), 0.4, 2)
    image = 0.5 + 0.3 * texture / np.abs(texture).max()
    fused = 0.6 * image[..., :bands] + 0.4 * image[..., bands:]
    ms = decimate(mtf_filter(fused, 0.3, ratio), ratio) + 0.01 * random.normal(
        size=(height, width, bands)
    )
    pan = fused.mean(axis=-1, keepdims=True) + 0.05 * image[..., bands:]
    return tuple(part.astype(dtype) for part in (fused, ms, pan))


def compare(found, expected, tolerance, label):
    found, expected = (np.asarray(value, dtype=float) for value in (found, expected))
    assert found.shape == expected.shape, label
    error = np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)))
    assert error <= tolerance, f"{label}: off by {error}"  # false for NaN too


# --- goldens -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAIRS)
def test_q_cc_rmse_of_every_reduced_resolution_case(shared, name):
    folder = shared / "metrics"
    table = json.loads((folder / "values.json").read_text())["rr_metrics"]
    assert set(table) == set(PAIRS)
    entry, arrays = table[name], np.load(folder / f"case_{name}.npz")
    gt = arrays["ref"]
    fused = arrays.get("fus", gt)  # left out where it is the reference itself
    gt, fused = (image if image.ndim == 3 else image[..., None] for image in (gt, fused))
    octave = entry["plain_octave"]
    for precision, tolerance in (("float64", FLOAT64), ("float32", FLOAT32)):
        for variant, values in entry["toolbox_indexes_evaluation(block32,dim_cut21)"].items():
            if precision == "float32" and "cut1" in variant:
                continue  # another shape to compile for, with nothing new in it
            cut = 21 if "cut1" in variant else 0
            x, y = (metrics.cut_border(image, cut) for image in (gt, fused))
            y = np.clip(y, 0, 2.0 ** int(arrays["L"])) if "th1" in variant else y
            bands = metrics.q(x, y, per_band=True, precision=precision)
            compare(np.mean(bands), values["Q_avg"], tolerance, f"{variant} {precision}")
            if variant == "cut0_th0":
                compare(bands, np.atleast_1d(arrays["q_band"]), tolerance, f"bands {precision}")
        bands = metrics.cc(gt, fused, per_band=True, precision=precision)
        compare(bands, octave["CC_per_band"], tolerance, f"cc {precision}")
        compare(np.mean(bands), octave["CC_mean_over_bands(corr2)"], tolerance, f"cc {precision}")
        bands = metrics.rmse(gt, fused, per_band=True, precision=precision)
        compare(bands, octave["RMSE_per_band"], tolerance, f"rmse {precision}")
        value = np.sqrt(np.mean(np.square(bands)))  # the metric itself: test_cc_and_rmse_by_hand
        compare(value, octave["RMSE_all_samples"], tolerance, f"rmse {precision}")


def toolbox_values(fused, ms, pan, lms, sensor):
    """Every value that the toolbox prints of one fused image, under its golden's key."""
    common = {"ratio": 4, "lms": lms, "wrap": True}  # as the goldens have them
    exponents = {"p": 2, "q": 2}
    return {
        "D_lambda": metrics.d_lambda(fused, ms, **common),
        "D_lambda_p2": metrics.d_lambda(fused, ms, p=2, **common),
        "D_S": metrics.d_s(fused, ms, pan, **common),
        "D_S_q2": metrics.d_s(fused, ms, pan, q=2, **common),
        "QNR": metrics.qnr(fused, ms, pan, **common),
        "QNR_p2q2": metrics.qnr(fused, ms, pan, **exponents, **common),
        "D_lambda_K": metrics.d_lambda_k(fused, ms, sensor=sensor, **common),
        "HQNR": metrics.hqnr(fused, ms, pan, sensor=sensor, **common),
        "paper_D_lambda": metrics.d_lambda(fused, ms, original=True, **common),
        "paper_D_S": metrics.d_s(fused, ms, pan, original=True, **common),
    }


@pytest.mark.parametrize("name", SCENES)
def test_every_full_resolution_value(shared, name):
    folder = shared / "metrics"
    table = json.loads((folder / "values.json").read_text())["fr_metrics"]
    assert set(table) == set(SCENES)
    arrays = np.load(folder / f"fr_{name}.npz")
    ms, pan, lms = arrays["MS"], arrays["PAN"][..., None], arrays["EXP"]
    results = {k: v["toolbox"] for k, v in table[name].items() if "toolbox" in v}
    assert {"EXP", "GSA"} <= set(results)
    compiled = jax.jit(toolbox_values, static_argnames="sensor")
    for method, expected in results.items():
        fused = arrays[method]
        # The T1 values filter PAN with the first toolbox's kernel, which nothing else uses.
        keys = {key for key in expected if not key.startswith("T1_")}
        single = compiled(fused, ms, pan, lms, sensor=SCENES[name])
        with jax.enable_x64(True):  # what precision="float64" does, compiled once for all keys
            images = [jnp.asarray(image, jnp.float64) for image in (fused, ms, pan, lms)]
            double = jax.device_get(compiled(*images, sensor=SCENES[name]))
        assert keys == set(double) and double["HQNR"].dtype == np.float64
        for key in keys:
            compare(double[key], expected[key], FLOAT64, f"{method} {key}")
            compare(single[key], expected[key], FLOAT32, f"{method} {key}")
    if name == "wv3":  # the keyword itself, once
        options = {"sensor": "wv3", "ratio": 4, "lms": lms, "wrap": True}
        value = metrics.hqnr(fused, ms, pan, precision="float64", **options)
        compare(value, expected["HQNR"], FLOAT64, f"{method} HQNR by precision=")


def test_reprojection_ranks_real_images(shared):
    arrays = np.load(shared / "metrics" / "fr_ge1.npz")
    pan, optics = arrays["PAN"][..., None], {"sensor": "ge1", "ratio": 4}
    rho, reprojected = {}, {}
    for method in ("EXP", "GSA", "BT_H", "MTF_GLP_FS"):
        rho[method] = metrics.d_rho(arrays[method], pan, ratio=4)
        reprojected[method] = metrics.r_ergas(arrays[method], arrays["MS"], **optics)
    # EXP shows no detail at all; detail of the right band consistent with the sensor's MTF is what
    # GLP injects; BT-H follows PAN closest.
    assert max(rho, key=rho.get) == "EXP" and min(rho, key=rho.get) == "BT_H"
    assert min(reprojected, key=reprojected.get) == "MTF_GLP_FS"


# --- Q, CC, RMSE ---------------------------------------------------------------------------------


def plain_q(x, y):
    """Q of one window or block of one band, as the definition reads."""
    c = np.mean((x - x.mean()) * (y - y.mean()))
    mean_x, mean_y = x.mean(), y.mean()
    return 4 * c * mean_x * mean_y / ((x.var() + y.var()) * (mean_x**2 + mean_y**2))


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


# --- QNR and HQNR --------------------------------------------------------------------------------


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


# --- reprojection --------------------------------------------------------------------------------


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
