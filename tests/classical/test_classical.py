"""Classical methods against the toolbox's outputs and against their own definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from quick_compilation import jit_as_users

from rsfusion_jax import classical
from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.nnls import non_negative_least_squares
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_kernel
from rsfusion_jax.ops.resample import interp23

GOLDENS = {
    "awlp": "out_AWLP",
    "bdsd": "out_BDSD_global",
    "bdsd_pc": "out_BDSD_PC",
    "brovey": "out_Brovey",
    "bt_h": "out_BT_H",
    "c_gsa": "out_C_GSA",
    "exp": "lms",
    "gs": "out_GS",
    "gsa": "out_GSA",
    "hpf": "out_HPF",
    "ihs": "out_IHS",
    "mf_hg": "out_MF_HG",
    "mtf_glp": "out_MTF_GLP",
    "mtf_glp_cbd": "out_GS2_GLP",
    "mtf_glp_fs": "out_MTF_GLP_FS",
    "mtf_glp_hpm": "out_MTF_GLP_HPM",
    "mtf_glp_hpm_r": "out_MTF_GLP_HPM_R",
    "pca": "out_PCA",
    "pracs": "out_PRACS",
    "sfim": "out_SFIM",
}
NAMES = classical.list_methods()
# Pixelwise once fitted: component substitution and the regressions on bands and PAN.
PIXELWISE = "bdsd bdsd_pc brovey bt_h c_gsa gs gsa ihs pca pracs".split()
# Largest error of the float32 path in counts of 2047; measured 0.0065 (BDSD, whose nine regressors
# are nearly dependent), 0.0025 (BDSD-PC) and below 0.001 otherwise.
FLOAT32_COUNTS = 0.01


def scene(height=11, width=14, bands=4, ratio=6, seed=0):
    """PAN, MS and lms of correlated bands, float32."""
    random = np.random.default_rng(seed)
    base = random.random((height, width, 1))
    ms = (0.2 + 0.5 * base + 0.2 * random.random((height, width, bands))).astype(np.float32)
    lms = interp23(ms, ratio)
    pan = lms.mean(axis=-1, keepdims=True) + 0.05 * random.random((*lms.shape[:2], 1))
    return pan.astype(np.float32), ms, lms


def sensor(bands):
    """A declared sensor of any number of bands; its gains take three values."""
    gains = [(0.25, 0.3, 0.35)[band % 3] for band in range(bands)]
    return {"bands": [f"band{band}" for band in range(bands)], "mtf_ms": gains}


def fuse(name, pan, ms, lms=None):
    return classical.fuse(name, pan, ms, lms=lms, sensor=sensor(ms.shape[-1]))


def test_every_method_has_a_reference():
    # The toolbox has no hypersharpening: test_hypersharpening.py defines it again.
    assert set(NAMES) == {*GOLDENS, "weighted_brovey", "hyper_glp", "hyper_gsa"}


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize(("images", "camera"), [("wv2_96", "wv2"), ("ik_128", "ikonos")])
def test_output_equals_the_toolbox(shared, images, camera, name):
    golden = np.load(shared / "metrics" / f"methods_{images}.npz")
    inputs = {"pan": golden["PAN"][..., None], "ms": golden["MS_LR"], "lms": golden["lms"]}
    expected = golden[GOLDENS[name]]
    with jax.enable_x64(True):
        fused = classical.fuse(name, **inputs, sensor=camera, wrap=True)
    assert fused.dtype == np.float64
    # Outputs are stored as float32: half a unit in the last place is 1.2e-4 counts above 2048.
    np.testing.assert_allclose(fused.astype(expected.dtype), expected, rtol=0, atol=2.5e-4)
    if images == "wv2_96":  # the worse conditioned of the two
        inputs = {key: image.astype(np.float32) for key, image in inputs.items()}
        single = jit_as_users(lambda i: classical.fuse(name, **i, sensor=camera, wrap=True))(inputs)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, rtol=0, atol=FLOAT32_COUNTS)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_weighted_brovey_equals_gdal(tmp_path, dtype):
    import rasterio
    from rasterio.transform import from_origin

    pan, ms, _ = scene(9, 11, 3, 4)
    images = {"pan": (2000 * pan).astype(dtype), "ms": (2000 * ms).astype(dtype)}
    for name, image in images.items():
        profile = {"driver": "GTiff", "count": image.shape[2], "dtype": dtype, "crs": "EPSG:32631"}
        pixel = 2 if name == "pan" else 8
        transform = from_origin(0, 0, pixel, pixel)
        size = {"height": image.shape[0], "width": image.shape[1], "transform": transform}
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile, **size) as file:
            file.write(np.moveaxis(image, -1, 0))

    def source(name, band):
        return f'<SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>' + (
            f"<SourceBand>{band}</SourceBand>"
        )

    bands = "".join(
        f'<SpectralBand dstBand="{band}">{source("ms", band)}</SpectralBand>' for band in (1, 2, 3)
    )
    (tmp_path / "fused.vrt").write_text(
        '<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>'
        "<Algorithm>WeightedBrovey</Algorithm><Resampling>Cubic</Resampling>"
        f"<PanchroBand>{source('pan', 1)}</PanchroBand>{bands}"
        "</PansharpeningOptions></VRTDataset>"
    )
    with rasterio.open(tmp_path / "fused.vrt") as file:
        expected = np.moveaxis(file.read(), 0, -1).astype(np.float32)
    fused = classical.fuse("weighted_brovey", **images)
    # GDAL rounds the enlarged bands and the result to integers where the files hold integers.
    np.testing.assert_allclose(fused, expected, atol=1.5 if dtype == "uint16" else 2e-3)
    no_light = classical.fuse("weighted_brovey", images["pan"], np.zeros_like(images["ms"]))
    np.testing.assert_array_equal(no_light, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(7, 9, 1, 2), (12, 11, 101, 3)])
def test_any_ratio_size_and_band_count(name, shape):
    """Also ratio 6, in the tests below, and 4, in the goldens."""
    pan, ms, lms = scene(*shape)
    fused = fuse(name, pan, ms)
    assert fused.shape == lms.shape
    assert isinstance(fused, np.ndarray) and np.isfinite(fused).all()
    if name != "exp":
        assert np.abs(fused - lms).max() > 1e-3  # something of PAN went in


@pytest.mark.parametrize("name", NAMES)
def test_units_do_not_matter(name):
    pan, ms, _ = scene()
    np.testing.assert_allclose(
        fuse(name, 2047 * pan, 2047 * ms) / 2047, fuse(name, pan, ms), atol=2e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_vmap_equals_the_loop(name):
    batch = [np.stack(images) for images in zip(scene(seed=1), scene(seed=2), strict=True)]
    together = jax.vmap(lambda pan, ms, lms: fuse(name, pan, ms, lms))(*map(jnp.asarray, batch))
    for index in range(2):
        single = fuse(name, *(images[index] for images in batch))
        np.testing.assert_allclose(together[index], single, atol=2e-5)


@pytest.mark.parametrize("name", PIXELWISE)
def test_fit_on_one_scene_applies_to_a_part_of_it(name):
    """Coefficients are statistics of the scene; applying them is local."""
    pan, ms, lms = map(jnp.asarray, scene())
    method = classical.get_method(name)
    setting = Setting(6, tuple(sensor(4)["mtf_ms"]), 0.15)
    coefficients = jax.jit(lambda *images: method.fit(*images, setting))(pan, ms, lms)
    apply = jax.jit(lambda *images: method.apply(coefficients, *images, setting))
    part = apply(pan[:36], ms[:6], lms[:36])
    np.testing.assert_allclose(part, fuse(name, pan, ms, lms)[:36], atol=5e-6)


@pytest.mark.parametrize("name", NAMES)
def test_flat_images(name):
    pan, ms, _ = scene()
    assert np.isfinite(fuse(name, np.full_like(pan, 0.5), ms)).all()
    assert np.isfinite(fuse(name, pan, np.full_like(ms, 0.5))).all()
    dead_band = ms * np.asarray([1, 1, 1, 0], np.float32)
    assert np.isfinite(fuse(name, pan, dead_band)).all()
    # A constant pair stays constant, and at its value where the method filters with no MTF: those
    # kernels sum to a little less than one, and what is missing looks like detail.
    flat = np.broadcast_to(np.asarray([0.2, 0.3, 0.4, 0.5], np.float32), ms.shape)
    fused = fuse(name, np.full_like(pan, 0.35), flat)
    np.testing.assert_allclose(fused - fused[:1, :1], 0, atol=2e-6)
    least = min(mtf_kernel(gain, 6).sum() for gain in (*sensor(4)["mtf_ms"], 0.15))
    rtol = 1.01 * (1 / least - 1) if classical.get_method(name).needs_sensor else 1e-5
    np.testing.assert_allclose(fused, np.broadcast_to(flat[0, 0], fused.shape), rtol=rtol)


def test_definitions():
    pan, ms, lms = scene()
    np.testing.assert_allclose(classical.fuse("exp", pan, ms), lms, atol=1e-6)
    # IHS: the mean over bands becomes PAN matched to the intensity.
    intensity = lms.mean(axis=-1, keepdims=True)
    matched = (pan - pan.mean()) * intensity.std(ddof=1) / pan.std(ddof=1) + intensity.mean()
    ihs = classical.fuse("ihs", pan, ms)
    np.testing.assert_allclose(ihs.mean(axis=-1, keepdims=True), matched, atol=1e-5)
    # Brovey: the same, and ratios of bands are those of lms.
    brovey = classical.fuse("brovey", pan, ms)
    np.testing.assert_allclose(brovey.mean(axis=-1, keepdims=True), matched, atol=1e-5)
    np.testing.assert_allclose(
        brovey[..., 0] / brovey[..., 1], lms[..., 0] / lms[..., 1], rtol=1e-4
    )
    # PCA: only the first component changes, and it becomes PAN matched to it.
    pixels = (lms - lms.mean((0, 1))).reshape(-1, 4)
    axes = np.linalg.svd(pixels, full_matrices=False)[2]
    before, after = pixels @ axes.T, (fuse("pca", pan, ms) - lms.mean((0, 1))).reshape(-1, 4)
    after = after @ axes.T
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-5)
    sharp = np.sign(axes[0].sum()) * (pan - pan.mean()).ravel() / pan.std()
    np.testing.assert_allclose(after[:, 0], sharp * before[:, 0].std(), atol=1e-5)


def test_bdsd_pc_obeys_its_constraints():
    pan, ms, lms = map(jnp.asarray, scene())
    setting = Setting(6, tuple(sensor(4)["mtf_ms"]), 0.15)
    bounded = jax.jit(classical.get_method("bdsd_pc").fit, static_argnums=3)(pan, ms, lms, setting)
    assert bounded.shape == (5, 4)
    assert (bounded[-1] >= 0).all() and (bounded[:-1] <= 0).all()
    assert (bounded == 0).any()  # some constraint is active: the test is not void


def test_non_negative_least_squares_is_exact():
    random = np.random.default_rng(0)
    smooth = random.random((6, 8, 1)) + 0.01 * random.standard_normal((6, 8, 13))  # nearly equal
    plain = random.standard_normal((6, 8, 13))
    special = np.concatenate([plain[..., :10], plain[..., :2], np.zeros((6, 8, 1))], axis=-1)
    targets = random.standard_normal((6, 8, 7)) + random.standard_normal(7)
    targets[..., 0] = 0
    with jax.enable_x64(True):
        solve = jax.jit(non_negative_least_squares)
        for regressors in (smooth, plain, -np.abs(plain), special):
            found = np.asarray(solve(jnp.asarray(regressors), jnp.asarray(targets)))
            assert (found >= 0).all()
            matrix = regressors.reshape(-1, regressors.shape[-1])
            for column, target in zip(found.T, targets.reshape(-1, 7).T, strict=True):
                best = scipy.optimize.nnls(matrix, target)[1]
                reached = np.linalg.norm(matrix @ column - target)
                assert reached <= best * (1 + 1e-12) + 1e-12


def test_counts_as_integers():
    pan, ms, _ = scene()
    counts = [np.round(2047 * image).astype(np.uint16) for image in (pan, ms)]
    fused = classical.fuse("gsa", *counts)
    expected = classical.fuse("gsa", *(image.astype(np.float32) for image in counts))
    np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "gram"}, "brovey, bt_h, c_gsa, exp, gs, gsa, hpf"),
        ({"pan": np.zeros((30, 32, 1))}, "integer ratio times ms"),
        ({"pan": np.zeros((32, 32, 2))}, "2 channels"),
        ({"pan": np.zeros((32, 32))}, "pan has shape"),
        ({"ratio": 2}, "ratio 2 16x16"),
        ({"lms": np.zeros((32, 32, 3))}, r"expected \(32, 32, 4\)"),
        ({"name": "mtf_glp"}, "name it with sensor="),
        ({"name": "mtf_glp", "sensor": "wv3"}, "has 8 bands, the image has 4"),
        ({"name": "bdsd", "sensor": "gf2"}, "'gf2' has no PAN gain"),
        (
            {
                "name": "bdsd_pc",
                "sensor": sensor(70),
                "ms": np.zeros((8, 8, 70)),
            },
            "71 weights to each band, but ms has only 64 valid pixels",
        ),
    ],
)
def test_mistakes_are_named(changes, words):
    arguments = {"name": "gsa", "pan": np.zeros((32, 32, 1)), "ms": np.zeros((8, 8, 4))}
    with pytest.raises(UserError, match=words):
        classical.fuse(**{**arguments, **changes})


def test_a_method_without_gradient_says_so():
    rng = np.random.default_rng(9)
    pan, ms = (jnp.asarray(rng.uniform(100, 900, s)) for s in ((24, 24, 1), (6, 6, 4)))
    total = {
        name: jax.grad(lambda p, name=name: classical.fuse(name, p, ms, sensor="qb").sum())
        for name in ("bdsd_pc", "brovey")
    }
    assert jnp.isfinite(total["brovey"](pan)).all()
    with pytest.raises(UserError, match="a search that has no derivative; differentiate another"):
        total["bdsd_pc"](pan)
