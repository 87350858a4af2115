"""Resampling and filtering against the toolbox's arrays and against what they must satisfy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import (
    atrous_lowpass,
    filter_replicate,
    gauss_lowpass,
    mtf_filter,
    mtf_kernel,
)
from rsfusion_jax.ops.resample import decimate, imresize, interp23
from rsfusion_jax.sensors import get_sensor

TOOLBOX_NAMES = {
    "QB": "qb",
    "IKONOS": "ikonos",
    "GeoEye1": "ge1",
    "WV4": "wv4",
    "WV2": "wv2",
    "WV3": "wv3",
}


def random_image(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).random(shape).astype(dtype)


def toolbox_kernels():
    """(key, ours) of every kernel of the goldens."""
    sensors = {theirs: get_sensor(ours) for theirs, ours in TOOLBOX_NAMES.items()}
    gains = {theirs: (sensor.mtf_ms, sensor.mtf_pan) for theirs, sensor in sensors.items()}
    gains["none"] = (0.3,) * 4, 0.15  # what the toolbox takes for a sensor it does not know
    for theirs, (ms, pan) in gains.items():
        for ratio in (2, 4, 8):
            yield f"ms_{theirs}_r{ratio}", np.stack([mtf_kernel(g, ratio) for g in ms], axis=-1)
            yield f"pan_{theirs}_r{ratio}", mtf_kernel(pan, ratio)
    for theirs in ("QB", "IKONOS", "GeoEye1", "WV2"):  # all that its first version has
        ms, pan = gains[theirs]
        first = [mtf_kernel(gain, 4, width=41) for gain in (*ms, pan)]
        yield f"T1_ms_{theirs}_r4", np.stack(first[:-1], axis=-1)
        yield f"T1_pan_{theirs}_r4", first[-1]
    impulse = np.zeros((81, 81, 1))
    impulse[40, 40] = 1
    for ratio in (2, 4, 8):
        yield f"lpgauss_r{ratio}", gauss_lowpass(impulse, ratio)[20:61, 20:61, 0]
    for ratio in (2, 4):
        yield f"lpfilter_impulse_r{ratio}", atrous_lowpass(impulse, ratio)[20:61, 20:61, 0]
    yield "interp23_taps23", interp23(impulse, 2)[81, 70:93, 0]


def test_every_kernel_equals_the_toolbox(shared):
    golden = np.load(shared / "metrics" / "kernels.npz")
    compared = dict(toolbox_kernels())
    assert set(compared) == set(golden)
    for key, ours in compared.items():
        np.testing.assert_allclose(ours, golden[key], rtol=0, atol=1e-15, err_msg=key)


@pytest.mark.parametrize("name", ["ik_128", "ik_256", "wv2_128", "wv3_32", "ge1_128", "qbsim_64"])
def test_filters_and_enlargements_equal_the_toolbox(shared, name):
    golden = np.load(shared / "metrics" / f"rr_{name}.npz")
    pan = golden["PAN"][..., None].astype(float)
    low, pan_low = golden["MS_LR"], golden["PAN_LR"][..., None]
    sensor = get_sensor(TOOLBOX_NAMES[str(golden["sensor"])])
    size = golden["MS"].shape[:2]
    results = {
        "PAN_LR": imresize(pan, size),
        "PAN_MTF_D": decimate(mtf_filter(pan, sensor.mtf_pan, 4), 4),
        "PAN_LPG": gauss_lowpass(pan_low, 4),
        "PAN_LPW": atrous_lowpass(pan_low, 4),
        "PAN_LPWD": decimate(atrous_lowpass(pan_low, 4), 4),
        "lms": interp23(low, 4, wrap=True),
        "lms_x2": interp23(low, 2, wrap=True),
        "lms_bicubic": imresize(low, size),
    }
    compared = set(results) & set(golden)
    assert {"PAN_LR", "PAN_MTF_D", "PAN_LPWD", "lms"} <= compared
    for key in compared:
        expected = golden[key].reshape(results[key].shape)
        # Some sets store float32: then our value is compared as float32 stores it.
        ours = results[key].astype(expected.dtype)
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=2e-8, err_msg=key)


@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 5, 6, 8])
def test_interp23_interpolates_exactly_at_its_phase(ratio):
    image = random_image(9, 13, 3)
    for wrap in (False, True):
        large = interp23(image, ratio, wrap=wrap)
        assert large.shape == (9 * ratio, 13 * ratio, 3)
        np.testing.assert_array_equal(decimate(large, ratio), image)


@pytest.mark.parametrize("ratio", [2, 3, 4, 6, 8])
def test_interp23_follows_a_smooth_scene(ratio):
    # Two waves below 0.15 cycles per input sample; borders (8 samples) are extrapolation.
    def scene(rows, columns):
        wave = np.sin(2 * np.pi * 0.12 * rows)[:, None] + np.cos(2 * np.pi * 0.15 * columns + 1)
        return wave[..., None] / 4 + 0.5

    count = 40
    fine = (np.arange(count * ratio) - ratio // 2) / ratio
    error = interp23(scene(np.arange(count), np.arange(count)), ratio) - scene(fine, fine)
    inner = slice(8 * ratio, -8 * ratio)
    assert np.abs(error[inner, inner]).max() < 5e-5


@pytest.mark.parametrize("ratio", [3, 5, 6])
def test_interp23_of_other_ratios_is_exact_for_polynomials(ratio):
    count = 24
    fine = (np.arange(count * ratio) - ratio // 2) / ratio
    coefficients = np.random.default_rng(0).normal(size=12)  # degree 11 takes all twelve points
    image = np.polyval(coefficients, np.arange(count) / count)[:, None, None]
    expected = np.polyval(coefficients, fine / count)
    large = interp23(image, ratio)[:, 0, 0]
    np.testing.assert_allclose(large[6 * ratio : -6 * ratio], expected[6 * ratio : -6 * ratio])


def test_interp23_borders():
    ramp = np.arange(16.0)[:, None, None] * np.ones((1, 16, 1))
    edge, wrapped = interp23(ramp, 4), interp23(ramp, 4, wrap=True)
    # Periodic borders see the other end of the ramp, replicated ones do not.
    assert abs(edge[0, 0, 0] - 0) < 0.6
    assert wrapped[0, 0, 0] > 5
    np.testing.assert_allclose(interp23(np.full((5, 4, 2), 7.0), 4), 7.0, rtol=1e-8)


def test_imresize_equals_matlabs_documented_example():
    table = np.arange(16.0).reshape(4, 4, 1)
    result = imresize(table, (3, 3))[..., 0]
    np.testing.assert_allclose(result[0], [0.7506, 2.1004, 3.4503], atol=5e-5)


def test_imresize_methods():
    image = random_image(12, 18, 2)
    np.testing.assert_array_equal(imresize(image, (3, 3), method="nearest")[:, 0], image[2::4, 3])
    np.testing.assert_array_equal(imresize(image, (12, 18)), image)
    linear = imresize(image, (24, 18), method="bilinear")
    np.testing.assert_allclose(linear[1], 0.75 * image[0] + 0.25 * image[1], rtol=1e-12)
    np.testing.assert_allclose(linear[0], image[0], rtol=1e-12)
    box = imresize(image, (6, 9), method="bilinear", antialias=False)
    expected = (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4
    np.testing.assert_allclose(box, expected, rtol=1e-12)


def test_filter_replicate_equals_a_spatial_correlation():
    image = random_image(30, 23, 3)
    kernels = random_image(41, 41, 3, seed=1)  # not symmetric: tells correlation from convolution
    result = filter_replicate(image, kernels)
    for band in range(3):
        expected = ndimage.correlate(image[..., band], kernels[..., band], mode="nearest")
        np.testing.assert_allclose(result[..., band], expected, rtol=1e-12)
    one = filter_replicate(image, kernels[..., 1])
    np.testing.assert_allclose(one[..., 1], result[..., 1], rtol=1e-12)


def test_lowpass_gain_at_nyquist():
    # A wave of one cycle per two coarse pixels.
    wave = np.cos(np.pi * np.arange(160) / 4)[:, None, None] * np.ones((1, 160, 2))
    np.testing.assert_allclose(gauss_lowpass(wave, 4)[80, 80], 0.3, atol=1e-3)
    # The toolbox sets the width of its MTF kernels with 40 samples where the spectrum has 41.
    expected = np.array([0.3, 0.2]) ** (41 / 40) ** 2
    np.testing.assert_allclose(mtf_filter(wave, (0.3, 0.2), 4)[80, 80], expected, atol=1e-3)


OPERATIONS = {
    "interp23_4": lambda image: interp23(image, 4),
    "interp23_3": lambda image: interp23(image, 3),
    "decimate": lambda image: decimate(image, 4),
    "imresize": lambda image: imresize(image, (5, 7)),
    "mtf_filter": lambda image: mtf_filter(image, (0.3, 0.2), 4),
    "gauss_lowpass": lambda image: gauss_lowpass(image, 4),
    "atrous_lowpass": lambda image: atrous_lowpass(image, 4),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_numpy_and_jax_agree_and_keep_the_dtype(name):
    operation = OPERATIONS[name]
    batch = random_image(2, 12, 16, 2)
    expected = operation(batch)
    assert isinstance(expected, np.ndarray) and expected.dtype == np.float64
    np.testing.assert_allclose(expected[1], operation(batch[1]), rtol=1e-12)
    single = operation(batch.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=2e-6)
    traced = jax.jit(operation)(jnp.asarray(batch, jnp.float32))
    assert isinstance(traced, jax.Array) and traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, expected, atol=2e-6)
    with jax.enable_x64(True):
        double = operation(jnp.asarray(batch))
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: decimate(np.zeros((10, 8, 1)), 4), "multiples of 4"),
        (lambda: decimate(np.zeros((8, 8, 1)), 4, phase=4), "outside 0..3"),
        (lambda: interp23(np.zeros((8, 8)), 4), "channel axis"),
        (lambda: interp23(np.zeros((8, 8, 1), np.uint16), 4), "uint16"),
        (lambda: interp23(np.zeros((8, 8, 1)), 0), "ratio 0"),
        (lambda: imresize(np.zeros((8, 8, 1)), (2, 2), method="lanczos"), "lanczos"),
        (lambda: mtf_kernel(1.2, 4), "between 0 and 1"),
        (lambda: mtf_filter(np.zeros((8, 8, 3)), (0.3, 0.3), 4), "2 kernels"),
        (lambda: filter_replicate(np.zeros((8, 8, 3)), np.ones((4, 4))), "odd sizes"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(UserError, match=words):
        call()
