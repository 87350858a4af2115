"""The Fuser: units, sizes, batches, tiles; published weights against the authors' numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card

WEIGHTS = "parity/u2net/trained_wv3/200000_iter.pth"


@pytest.fixture(scope="module")
def published(shared):
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    return rsf.load_torch("u2net", shared / WEIGHTS, num_bands=8, sensor="wv3")


@pytest.fixture(scope="module")
def tiny():
    model = rsf.create_model("u2net", num_bands=4, dim=8, dim_head=4)
    return rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")


def _scene(rng, size=8, bands=4):
    pan = rng.integers(0, 2047, (4 * size, 4 * size, 1), dtype=np.uint16)
    return pan, rng.integers(0, 2047, (size, size, bands), dtype=np.uint16)


def test_published_tiles(shared, published):
    io = np.load(shared / "parity" / "u2net" / "trained_tiled_96x112" / "io.npz")
    pan, ms = (np.moveaxis(io[key][0], 0, -1) * 2047 for key in ("pan", "ms"))
    whole = np.moveaxis(io["whole_NCHW_unit"][0], 0, -1)
    assert np.abs(published(pan, ms) / 2047 - np.clip(whole, 0, 1)).max() < 1e-4
    assert np.abs(published(pan, ms, tile=64) - io["tiled_HWC_dn"]).max() / 2047 < 1e-4


def test_published_scores_on_worldview2(shared, published):
    scene = np.load(shared / "metrics" / "rr_wv2_128.npz")
    gt = scene["MS"].astype(np.float64)
    exp = np.load(shared / "metrics" / "case_wv2_128_exp.npz")["fus"].astype(np.float64)
    fused = published(scene["PAN_LR"], scene["MS_LR"]).astype(np.float64)
    expected = {"fused": (7.0124, 5.3458, 28.024, 28.591), "exp": (7.6937, 7.9551, 24.475, 25.226)}
    for name, image in (("fused", fused), ("exp", exp)):
        args = {"precision": "float64"}
        measured = (
            rsf.metrics.sam(gt, image, **args),
            rsf.metrics.ergas(gt, image, ratio=4, **args),
            rsf.metrics.psnr(gt, image, data_range=2047, **args),
            rsf.metrics.psnr_band_mean(gt, image, data_range=2047, **args),
        )
        assert np.abs(np.subtract(measured, expected[name])).max() < 6e-4, (name, measured)


def test_units_and_batches(tiny):
    rng = np.random.default_rng(0)
    pan, ms = _scene(rng)
    fused = tiny(pan, ms)
    assert fused.shape == (32, 32, 4) and fused.dtype == np.float32
    assert fused.min() >= 0 and fused.max() <= 2047 and fused.max() > 2
    assert np.allclose(tiny(pan[..., 0], ms), fused)
    both = tiny(np.stack([pan, pan]), np.stack([ms, ms]))
    assert np.abs(both - fused).max() < 1e-2


@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("size", [(13, 17), (1, 5)])
def test_any_size_and_ratio(ratio, size):
    model = rsf.create_model("u2net", num_bands=3, guide_bands=2, ratio=ratio, dim=8, dim_head=4)
    pan = jax.ShapeDtypeStruct((1, ratio * size[0], ratio * size[1], 2), jnp.float32)
    ms = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    params = jax.eval_shape(lambda key: init_params(model, key), jax.random.key(0))
    fused = jax.eval_shape(model.apply, {"params": params}, pan, ms)["fused"]
    assert fused.shape == (1, ratio * size[0], ratio * size[1], 3)


def test_odd_size_is_finite(tiny):
    rng = np.random.default_rng(1)
    pan, ms = _scene(rng, size=9)
    assert np.isfinite(tiny(pan, ms)).all()


def test_authors_initialisation():
    """PyTorch's default, uniform(+-1/sqrt(fan_in)): std = bound / sqrt(3), no value beyond."""
    params = init_params(rsf.create_model("u2net", num_bands=8), jax.random.key(0))
    for kernel, fan_in in (
        (params["upsample"]["kernel"], 8 * 9),
        (params["down0"]["depthwise"]["kernel"], 9),
        (params["up0"]["expand"]["kernel"], 64 * 4),
        (params["s2block2"]["attention"]["sa1"]["kernel"], 128),
        (params["to_hrms0"]["bias"], 32 * 9),
    ):
        bound = fan_in**-0.5
        assert np.abs(kernel).max() <= bound
        assert abs(np.std(kernel) / (bound / 3**0.5) - 1) < 4 / np.sqrt(kernel.size)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 642_008 - 105_760  # the authors' file less what they never use


BAD_INPUTS = {
    "counts without a scale": (dict(scale=None), "pass sensor= or max_value="),
    "[0, 1] with a scale": (dict(unit=True), "max_value=1"),
    "wrong bands": (dict(bands=3), "ms has 3 bands"),
    "ratio 3.5": (dict(pan_rows=28), "at ratio 4 pan must be 32x32"),
    "NaN": (dict(nan=True), "NaN"),
    "wrong lms": (dict(lms=True), "lms is"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_named(tiny, case):
    options, message = BAD_INPUTS[case]
    pan, ms = _scene(np.random.default_rng(0), bands=options.get("bands", 4))
    fuser = rsf.Fuser(tiny.model, tiny.variables) if "scale" in options else tiny
    pan, ms = pan.astype(np.float32), ms.astype(np.float32)
    if "unit" in options:
        pan, ms = pan / 2047, ms / 2047
    if "nan" in options:
        ms[0, 0, 0] = np.nan
    lms = np.zeros((4, 4, 4)) if "lms" in options else None
    with pytest.raises(rsf.UserError, match=message.replace("[", r"\[")):
        fuser(pan[: options.get("pan_rows", 32)], ms, lms)


def test_stored_card_equals_one_that_is_made():
    """Fields that are tuples come back from JSON as lists: resuming compares the two."""
    fields = {"name": "ramsf", "mlp_dim": (16, 8)}
    model = rsf.create_model(num_bands=4, **fields)
    card = network_card(model, fields, sensor=None, max_value=1.0, ms_phase=2.0)
    assert json.loads(json.dumps(card)) == card


def test_traced_images_are_refused_and_fuse_unit_is_named():
    fuser = rsf.load_default(num_bands=4, sensor="qb")
    pan, ms = (image.astype(np.float32) for image in _scene(np.random.default_rng(1)))
    for function in (jax.jit(fuser), jax.grad(lambda p, m: fuser(p, m).sum())):
        with pytest.raises(rsf.UserError, match=r"call fuser\.fuse_unit\(pan, ms, lms\)"):
            function(jax.numpy.asarray(pan), jax.numpy.asarray(ms))
