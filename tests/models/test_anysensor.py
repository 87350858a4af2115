"""The network of the packaged weights: any bands, guides and ratio, units, constants, and parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from noise import noise_like

from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.ops.gaussian import blur, gaussian
from rsfusion_jax.ops.resample import decimate, interp23

SMALL = {"width": 8, "blocks": 1, "fine_width": 8}


def _images(bands=3, ratio=4, side=12, guides=1, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (1, ratio * side, ratio * side, guides), (1, side, side, bands)
    pan, ms = (rng.random(shape, np.float32) * 0.5 + 0.2 for shape in shapes)
    return pan, ms, np.repeat(np.repeat(ms, ratio, 1), ratio, 2)


def _network(bands=3, ratio=4, guides=1):
    """With every weight in use: as it is initialised, the last layer is zero."""
    fields = {"num_bands": bands, "ratio": ratio, "guide_bands": guides}
    model = create_model("anysensor", **fields, **SMALL)
    params = {"params": noise_like(abstract_params(model), np.random.default_rng(1))}
    return model, jax.jit(lambda *images, **inner: model.apply(params, *images, **inner)["fused"])


def test_weights_fit_every_band_count_guide_and_ratio():
    shapes = [
        jax.tree.map(lambda leaf: leaf.shape, abstract_params(create_model("anysensor", **fields)))
        for fields in ({"num_bands": 1}, {"num_bands": 16, "ratio": 6, "guide_bands": 4})
    ]
    assert shapes[0] == shapes[1]
    count = sum(
        leaf.size
        for leaf in jax.tree.leaves(abstract_params(create_model("anysensor", num_bands=1)))
    )
    assert count < 150_000


def test_bands_may_come_in_any_order_and_units_do_not_matter():
    (_, fuse), (pan, ms, lms) = _network(), _images()
    fused, order = fuse(pan, ms, lms), [2, 0, 1]
    moved = fuse(pan, ms[..., order], lms[..., order])
    scale = np.abs(fused - lms).max()
    assert np.abs(moved - fused[..., order]).max() < 1e-4 * scale
    for factor in (0.1, 8.0):
        scaled = fuse(*(np.float32(factor) * image for image in (pan, ms, lms)))
        assert np.abs(scaled / factor - fused).max() < 1e-2 * scale
    # The guide may have its own scale: only its shape is seen.
    assert np.abs(fuse(3 * pan, ms, lms) - fused).max() < 1e-2 * scale


def test_guides_may_come_in_any_order():
    (_, fuse), (pan, ms, lms) = _network(2, 2, 3), _images(2, 2, guides=3)
    fused = fuse(pan, ms, lms)
    scale = np.abs(fused - lms).max()
    assert np.abs(fuse(pan[..., [2, 0, 1]], ms, lms) - fused).max() < 1e-2 * scale


def test_constant_images():
    """No detail: the band stays, and its gradient is finite."""
    model = create_model("anysensor", num_bands=2, guide_bands=2, **SMALL)
    params = init_params(model, jax.random.key(0))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def run(params, lms, pan, ms):
        fused = model.apply({"params": params}, pan, ms, lms)["fused"]
        return jnp.square(fused).sum(), fused

    for value in (0.0, 0.4):
        pan, ms, lms = (np.full_like(image, value) for image in _images(2, guides=2))
        gradients, fused = run(params, lms, pan, ms)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        assert np.abs(fused - value).max() < 1e-5


@pytest.mark.parametrize(("ratio", "guides"), [(4, 1), (3, 2)])
def test_starts_as_local_injection(ratio, guides):
    """Bands that are combinations of the blurred guides get those of the guides' detail."""
    model = create_model("anysensor", num_bands=2, guide_bands=guides, ratio=ratio)
    params = init_params(model, jax.random.key(0))

    @jax.jit
    def run(noise):
        pan = blur(noise, gaussian(0.3, 2))
        ms = decimate(blur(pan, gaussian(0.3, ratio)), ratio)
        mixed = [
            jnp.stack([0.5 * x[..., 0], 2 * x[..., -1] + 0.3 * x[..., 0] + 0.1], axis=-1)
            for x in (ms, pan)
        ]
        lms = interp23(mixed[0], ratio)
        fused = model.apply({"params": params}, pan, mixed[0], lms)["fused"]
        return jnp.abs(fused - mixed[1]).max(), jnp.abs(lms - mixed[1]).max()

    error, error_of_exp = run(_images(side=16, ratio=ratio, guides=guides)[0])
    assert error < 0.35 * error_of_exp


@pytest.mark.parametrize(("ratio", "guides"), [(4, 1), (3, 2)])
def test_a_part_is_that_of_the_whole(ratio, guides):
    """But for the pixels at its border that the fine network sees beyond."""
    pan, ms, lms = (np.repeat(x, 2, axis=0) for x in _images(2, ratio, 24, guides))
    pan[1], ms[1], lms[1] = pan[1, ::-1], ms[1, ::-1], lms[1, ::-1]
    model, fuse = _network(2, ratio, guides)
    high, wide = 7 * ratio + 1, 9 * ratio
    rows = np.stack([np.arange(5, 5 + high), np.arange(23, 23 + high)]).astype(np.int32)
    columns = np.stack([np.arange(wide), np.arange(24 * ratio - wide, 24 * ratio)]).astype(np.int32)
    whole, part = fuse(pan, ms, lms), fuse(pan, ms, lms, inner=(rows, columns))
    reach = model.inner_reach
    for image, fused, r, c in zip(whole, part, rows, columns, strict=True):
        inside = np.s_[reach:-reach, reach:-reach]
        error = np.abs(image[np.ix_(r, c)] - fused)
        assert error[inside].max() < 1e-5 * np.abs(image).max()
        assert error.max() > error[inside].max()


def test_nothing_outside_the_receptive_field_matters():
    model, fuse = _network(1)
    side = (model.receptive_field // 2 + 8) // 4 * 2
    pan, ms, lms = _images(1, side=side)
    before = fuse(pan, ms, lms)
    middle, reach = 2 * side, model.receptive_field // 2
    far = np.abs(np.arange(4 * side) - middle) > reach
    assert far.any()
    pan[:, far], lms[:, far] = 0.9, 0.1
    ms[:, far[2::4]] = 0.1
    after = fuse(pan, ms, lms)
    change = np.abs(after - before).max(axis=(0, 2, 3))
    assert change[middle] < 1e-5 < 1e-3 < change[far].min()
