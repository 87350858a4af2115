"""Classical methods against the toolbox's outputs and against their own definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import classical
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interp23

GOLDENS = {
    "brovey": "out_Brovey",
    "bt_h": "out_BT_H",
    "exp": "lms",
    "gs": "out_GS",
    "gsa": "out_GSA",
    "ihs": "out_IHS",
    "sfim": "out_SFIM",
}
# Largest error of the float32 path in counts of 2047; measured 0.0037 (BT-H, whose regression is
# ill-conditioned) and below 0.0008 otherwise.
FLOAT32_COUNTS = 0.01


def scene(height=16, width=20, bands=4, ratio=4, seed=0):
    """PAN, MS and lms of correlated bands, float32."""
    random = np.random.default_rng(seed)
    base = random.random((height, width, 1))
    ms = (0.2 + 0.5 * base + 0.2 * random.random((height, width, bands))).astype(np.float32)
    lms = interp23(ms, ratio)
    pan = lms.mean(axis=-1, keepdims=True) + 0.05 * random.random((*lms.shape[:2], 1))
    return pan.astype(np.float32), ms, lms


def test_every_method_has_a_golden():
    assert set(GOLDENS) == set(classical.list_methods())


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize("images", ["wv2_96", "ik_128"])
def test_output_equals_the_toolbox(shared, images, name):
    golden = np.load(shared / "metrics" / f"methods_{images}.npz")
    pan, ms, lms = golden["PAN"][..., None], golden["MS_LR"], golden["lms"]
    expected = golden[GOLDENS[name]]
    with jax.enable_x64(True):
        fused = classical.fuse(name, pan, ms, lms=lms)
    assert fused.dtype == np.float64
    # Outputs are stored as float32 (half a unit in the last place is 6e-5 counts).
    np.testing.assert_allclose(fused.astype(expected.dtype), expected, rtol=0, atol=1e-4)
    single = classical.fuse(name, *(x.astype(np.float32) for x in (pan, ms)), lms=lms)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=FLOAT32_COUNTS)


@pytest.mark.parametrize("name", GOLDENS)
def test_any_ratio_size_and_band_count(name):
    for height, width, bands, ratio in ((7, 9, 1, 2), (5, 6, 31, 3)):
        pan, ms, lms = scene(height, width, bands, ratio)
        fused = classical.fuse(name, pan, ms)
        assert fused.shape == lms.shape
        assert isinstance(fused, np.ndarray) and np.isfinite(fused).all()


@pytest.mark.parametrize("name", GOLDENS)
def test_units_do_not_matter(name):
    pan, ms, _ = scene()
    unit = classical.fuse(name, pan, ms)
    counts = classical.fuse(name, 2047 * pan, 2047 * ms)
    np.testing.assert_allclose(counts / 2047, unit, atol=2e-5)


@pytest.mark.parametrize("name", GOLDENS)
def test_vmap_equals_the_loop(name):
    batch = [np.stack(images) for images in zip(scene(seed=1), scene(seed=2), strict=True)]
    together = jax.vmap(lambda pan, ms, lms: classical.fuse(name, pan, ms, lms=lms))(
        *map(jnp.asarray, batch)
    )
    for index in range(2):
        pan, ms, lms = (images[index] for images in batch)
        single = classical.fuse(name, pan, ms, lms=lms)
        np.testing.assert_allclose(together[index], single, atol=2e-5)


@pytest.mark.parametrize("name", ["brovey", "bt_h", "gs", "gsa", "ihs"])
def test_fit_on_one_scene_applies_to_a_part_of_it(name):
    """Coefficients are statistics of the scene; applying them is local."""
    pan, ms, lms = map(jnp.asarray, scene())
    method = classical.get_method(name)
    coefficients = jax.jit(lambda *images: method.fit(*images, ratio=4))(pan, ms, lms)
    apply = jax.jit(lambda *images: method.apply(coefficients, *images, ratio=4))
    part = apply(pan[:32], ms[:8], lms[:32])
    np.testing.assert_allclose(part, classical.fuse(name, pan, ms, lms=lms)[:32], atol=2e-6)


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


@pytest.mark.parametrize("name", ["brovey", "gs", "gsa", "ihs", "sfim"])
def test_flat_images_stay_finite(name):
    pan, ms, _ = scene()
    assert np.isfinite(classical.fuse(name, np.full_like(pan, 0.5), ms)).all()
    assert np.isfinite(classical.fuse(name, pan, np.full_like(ms, 0.5))).all()
    flat_band = np.concatenate([ms, np.zeros_like(ms[..., :1])], axis=-1)
    assert np.isfinite(classical.fuse(name, pan, flat_band)).all()
    if name in ("gs", "ihs"):  # no detail in PAN and no spread to match it to: nothing is added
        flat = np.full_like(ms, 0.5)
        np.testing.assert_allclose(classical.fuse(name, pan, flat), 0.5, atol=1e-5)


def test_counts_as_integers():
    pan, ms, _ = scene()
    counts = [np.round(2047 * image).astype(np.uint16) for image in (pan, ms)]
    fused = classical.fuse("gsa", *counts)
    expected = classical.fuse("gsa", *(image.astype(np.float32) for image in counts))
    np.testing.assert_array_equal(fused, expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "gram"}, "brovey, bt_h, exp, gs, gsa, ihs, sfim"),
        ({"pan": np.zeros((30, 32, 1))}, "integer ratio times ms"),
        ({"pan": np.zeros((32, 32, 2))}, "2 channels"),
        ({"pan": np.zeros((32, 32))}, "pan has shape"),
        ({"ratio": 2}, "ratio 2 16x16"),
        ({"lms": np.zeros((32, 32, 3))}, r"expected \(32, 32, 4\)"),
    ],
)
def test_mistakes_are_named(changes, words):
    arguments = {"name": "gsa", "pan": np.zeros((32, 32, 1)), "ms": np.zeros((8, 8, 4))}
    with pytest.raises(UserError, match=words):
        classical.fuse(**{**arguments, **changes})
