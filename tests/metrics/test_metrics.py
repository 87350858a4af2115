"""Pixelwise and block metrics of a pair against their definitions."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import metrics
from rsfusion_jax.errors import UserError

CALLS = {
    "ergas": lambda gt, fused, **kw: metrics.ergas(gt, fused, ratio=4, **kw),
    "mae": metrics.mae,
    "psnr": lambda gt, fused, **kw: metrics.psnr(gt, fused, data_range=1, **kw),
    "psnr_band_mean": lambda gt, fused, **kw: metrics.psnr_band_mean(gt, fused, data_range=1, **kw),
    "q2n": metrics.q2n,
    "sam": metrics.sam,
    "scc": metrics.scc,
    "ssim": lambda gt, fused, **kw: metrics.ssim(gt, fused, data_range=1, **kw),
    "ssim_toolbox": lambda gt, fused, **kw: metrics.ssim_toolbox(gt, fused, data_range=1, **kw),
}


def conjugate(x):
    return np.concatenate([x[..., :1], -x[..., 1:]], axis=-1)


def hypercomplex_product(x, y):
    """The toolbox's product of (..., N) by recursion on halves: the definition behind q2n."""
    half = x.shape[-1] // 2
    if half == 0:
        return x * y
    a, b = x[..., :half], conjugate(x[..., half:])
    c, d = y[..., :half], conjugate(y[..., half:])
    product = hypercomplex_product
    first = product(a, c) - product(d, conjugate(b))
    second = product(conjugate(a), d) + product(c, b)
    return np.concatenate([first, second], axis=-1)


def pair(*shape, seed=0):
    random = np.random.default_rng(seed)
    gt = random.random(shape)
    return gt.astype(np.float32), (gt + 0.1 * random.normal(size=shape)).astype(np.float32)


def test_sam_by_hand():
    gt = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [3.0, 0.0]]])
    fused = np.array([[[0.0, 2.0], [5.0, 5.0], [1.0, 1.0], [0.5, 0.0]]])
    # 90, 45 and 0 degrees; the black pixel is left out.
    assert metrics.sam(gt, fused, precision="float64") == pytest.approx(45, abs=1e-12)
    assert metrics.sam(gt, 7 * gt) == 0
    assert np.isnan(metrics.sam(0 * gt, fused))


def test_ergas_psnr_mae_by_hand():
    gt = np.stack([np.full((4, 5), 2.0), np.full((4, 5), 4.0)], axis=-1)
    fused = gt + np.array([1.0, -2.0])  # MSE 1 and 4
    assert metrics.ergas(gt, fused, ratio=4, precision="float64") == pytest.approx(12.5)
    assert metrics.ergas(gt, fused, ratio=2, precision="float64") == pytest.approx(25)
    assert metrics.mae(gt, fused, precision="float64") == pytest.approx(1.5)
    bands = metrics.psnr(gt, fused, data_range=10, per_band=True, precision="float64")
    np.testing.assert_allclose(bands, [20, 10 * np.log10(25)])
    overall = metrics.psnr(gt, fused, data_range=10, precision="float64")
    assert overall == pytest.approx(10 * np.log10(40))
    mean = metrics.psnr_band_mean(gt, fused, data_range=10, precision="float64")
    assert mean == pytest.approx(bands.mean()) and mean > overall


def test_scc_by_hand():
    # After the crop one pixel is left: zero padding makes its Sobel responses vanish.
    assert np.isnan(metrics.scc(np.ones((3, 3, 1)), np.ones((3, 3, 1))))
    gt, fused = pair(9, 8, 2)
    gradients, rows = [], []
    for image in (gt, fused):
        padded = np.pad(image[1:-1, 1:-1].astype(float), ((1, 1), (1, 1), (0, 0)))
        kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
        down, across = ((windows * k).sum(axis=(-2, -1)) for k in (kernel, kernel.T))
        gradients.append(np.hypot(down, across))
        rows.append(down)
    x, y = gradients
    expected = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
    assert metrics.scc(gt, fused, precision="float64") == pytest.approx(expected, abs=1e-12)
    # The first toolbox's: signed, across rows alone, of the whole image.
    first = metrics.scc(gt[1:-1, 1:-1], fused[1:-1, 1:-1], version="1.0", precision="float64")
    x, y = rows
    expected = (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())
    assert first == pytest.approx(expected, abs=1e-12)


def test_ssim_of_constants_and_down_sampling():
    dark, bright = np.full((12, 13, 2), 0.2), np.full((12, 13, 2), 0.6)
    expected = (2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4)
    value = metrics.ssim(dark, bright, data_range=1, precision="float64")
    assert value == pytest.approx(expected, abs=1e-12)
    gt, fused = pair(24, 20, 3)
    np.testing.assert_allclose(  # below 384 pixels the toolbox's file does not down-sample
        metrics.ssim_toolbox(gt, fused, data_range=1), metrics.ssim(gt, fused, data_range=1)
    )


@pytest.mark.parametrize("name", CALLS)
def test_identical_images(name):
    best = {"ergas": 0, "mae": 0, "sam": 0, "psnr": np.inf, "psnr_band_mean": np.inf}
    textured = pair(32, 32, 4)[0]
    for gt in (textured, np.full_like(textured, 0.37)):
        np.testing.assert_allclose(CALLS[name](gt, gt), best.get(name, 1), rtol=1e-6)
    undefined = {"ergas", "sam", "scc"}  # relative to a mean, a norm or an edge that is zero
    black = np.zeros_like(textured)
    expected = np.nan if name in undefined else best.get(name, 1)
    np.testing.assert_equal(float(CALLS[name](black, black)), expected)


@pytest.mark.parametrize("name", CALLS)
def test_batch_under_vmap_and_jit_equals_the_loop(name):
    gt, fused = pair(3, 40, 36, 3)
    together = jax.jit(jax.vmap(CALLS[name]))(jnp.asarray(gt), jnp.asarray(fused))
    alone = [CALLS[name](x, y) for x, y in zip(gt, fused, strict=True)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=2e-6)


@pytest.mark.parametrize("name", CALLS)
def test_precision(name):
    gt, fused = pair(40, 36, 3)
    double = CALLS[name](gt, fused, precision="float64")
    assert type(double) is float
    single = CALLS[name](gt, fused)
    assert single.dtype == jnp.float32
    assert single == pytest.approx(double, rel=1e-5)
    with pytest.raises(UserError, match="cannot be traced"):
        jax.jit(lambda x, y: CALLS[name](x, y, precision="float64"))(gt, fused)
    with pytest.raises(UserError, match="float16"):
        CALLS[name](gt, fused, precision="float16")


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_hypercomplex_norms_multiply(size):
    x, y = np.random.default_rng(size).normal(size=(2, 50, size))
    norms = [np.linalg.norm(z, axis=-1) for z in (x, y, hypercomplex_product(x, y))]
    np.testing.assert_allclose(norms[0] * norms[1], norms[2])
    # x conj(x) is |x|^2 in the first component.
    square = hypercomplex_product(x, conjugate(x))
    np.testing.assert_allclose(square, norms[0][:, None] ** 2 * np.eye(size)[0], atol=1e-12)


def test_hypercomplex_product_loses_its_laws():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 2))
    as_complex = complex(*x) * complex(*y)
    np.testing.assert_allclose(hypercomplex_product(x, y), [as_complex.real, as_complex.imag])
    x, y = random.normal(size=(2, 4))
    assert np.abs(hypercomplex_product(x, y) - hypercomplex_product(y, x)).max() > 0.1
    x, y = random.normal(size=(2, 16))
    product = np.linalg.norm(hypercomplex_product(x, y))
    assert abs(product - np.linalg.norm(x) * np.linalg.norm(y)) > 0.1


def q2n_of_block(x, y):
    """Section by section as the index is defined, pixel products and all; x, y (pixels, C)."""
    count, bands = x.shape
    size = 1 << (bands - 1).bit_length()
    mean, spread = x.mean(axis=0), x.std(axis=0, ddof=1)
    missing = np.ones((count, size - bands))
    x = np.concatenate([(x - mean) / spread + 1, missing], axis=1)
    y = conjugate(np.concatenate([(y - mean) / spread + 1, missing], axis=1))
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    power_x, power_y = (mean_x**2).sum(), (mean_y**2).sum()
    scale = count / (count - 1)
    total = scale * ((x**2).sum(axis=1).mean() + (y**2).sum(axis=1).mean() - power_x - power_y)
    bias = 2 * np.sqrt(power_x * power_y) / (power_x + power_y)
    moment = hypercomplex_product(x, y).mean(axis=0) - hypercomplex_product(mean_x, mean_y)
    return np.linalg.norm(scale * moment * bias * 2 / total)


@pytest.mark.parametrize("bands", [1, 3, 8, 13])
def test_q2n_equals_its_definition(bands):
    gt, fused = pair(16, 24, bands)
    blocks = [
        q2n_of_block(*(image[r : r + 8, c : c + 8].reshape(64, -1) for image in (gt, fused)))
        for gt, fused in [(gt.astype(float), fused.astype(float))]
        for r in range(0, 16, 8)
        for c in range(0, 24, 8)
    ]
    value = metrics.q2n(gt, fused, block=8, shift=8, precision="float64")
    assert value == pytest.approx(np.mean(blocks), abs=1e-12)


def test_q2n_rounds_counts_and_leaves_unit_data():
    gt, fused = pair(32, 32, 4)
    unit = metrics.q2n(gt, fused, quantise=False)
    np.testing.assert_allclose(metrics.q2n(gt, fused), unit, rtol=1e-6)
    np.testing.assert_allclose(metrics.q2n(50 * gt, 50 * fused, quantise=False), unit, rtol=1e-5)
    assert metrics.q2n(gt, fused, quantise=True) < unit - 0.1
    rounded = [np.clip(np.floor(50 * image + 0.5), 0, None) for image in (gt, fused)]
    expected = metrics.q2n(*rounded, quantise=False)
    assert abs(expected - unit) > 1e-5
    np.testing.assert_allclose(metrics.q2n(50 * gt, 50 * fused), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(metrics.q2n)(50 * gt, 50 * fused), expected, rtol=1e-6)
    counts = [image.astype(np.uint16) for image in rounded]
    np.testing.assert_allclose(metrics.q2n(*counts), expected, rtol=1e-6)


def test_q2n_flat_blocks():
    gt, fused = pair(32, 32, 4)
    flat = np.full_like(gt, 0.3)
    assert metrics.q2n(flat, fused) < 1e-5
    assert metrics.q2n(flat, flat + 0.1) < 1e-5
    assert metrics.q2n(np.full_like(gt, 300), np.full_like(gt, 300)) == 1
    # One saturated band in both images takes no part.
    gt[..., 1] = fused[..., 1] = 1
    assert 0.5 < metrics.q2n(gt, fused) < 1


def test_cut_border_is_asymmetric():
    image = np.arange(10 * 12).reshape(10, 12, 1)
    np.testing.assert_array_equal(metrics.cut_border(image, 3), image[2:7, 2:9])
    assert metrics.cut_border(image, 0) is image
    assert metrics.cut_border(image, 5).shape == (1, 3, 1)
    with pytest.raises(UserError, match="leaves nothing"):
        metrics.cut_border(image, 6)


def test_options_are_documented():
    for name in metrics.__all__:
        assert inspect.getdoc(getattr(metrics, name))
    with pytest.raises(UserError, match=r"version '2\.0'"):
        metrics.scc(*pair(8, 8, 2), version="2.0")
    assert list(inspect.signature(metrics.ergas).parameters) == [
        "gt",
        "fused",
        "ratio",
        "where",
        "precision",
    ]
    with pytest.raises(TypeError, match="ratio"):
        metrics.ergas(*pair(8, 8, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.sam(np.ones((8, 8, 3)), np.ones((8, 8, 4))), "one shape"),
        (lambda: metrics.mae(np.ones((8, 8)), np.ones((8, 8))), "give one image"),
        (lambda: metrics.mae(np.ones((2, 8, 8, 1)), np.ones((2, 8, 8, 1))), "vmap"),
        (lambda: metrics.ssim(*pair(10, 12, 1), data_range=1), "11x11"),
        (lambda: metrics.ssim(*pair(16, 12, 1), data_range=0), "data_range 0"),
        (lambda: metrics.psnr(*pair(8, 8, 1), data_range=-1), "data_range -1"),
        (lambda: metrics.scc(*pair(2, 8, 1)), "3x3"),
        (lambda: metrics.q2n(*pair(15, 40, 1)), "block of 32"),
        (lambda: metrics.q2n(*pair(15, 40, 1), block=1), "block 1"),
        (lambda: metrics.ergas(*pair(8, 8, 1), ratio=0.25), "ratio 0.25"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(UserError, match=words):
        call()
