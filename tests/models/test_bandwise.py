"""The band-wise network: units, bands, constants, and that its scenes' tiles agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from noise import noise_like

from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.models.bandwise import _GAINS
from rsfusion_jax.ops.gaussian import blur, gaussian
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.ops.windows import window_mean


def _images(bands=3, ratio=4, side=8, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (1, ratio * side, ratio * side, 1), (1, side, side, bands)
    pan, ms = (rng.random(shape, np.float32) * 0.5 + 0.2 for shape in shapes)
    return pan, ms, np.repeat(np.repeat(ms, ratio, 1), ratio, 2)


def _network(bands=3, ratio=4):
    """With every weight in use: as it is initialised, the last layer is zero."""
    model = create_model("bandwise", num_bands=bands, ratio=ratio, width=8, blocks=1)
    params = noise_like(abstract_params(model), np.random.default_rng(1))
    fuse = jax.jit(lambda *images: model.apply({"params": params}, *images)["fused"])
    return lambda *images: np.asarray(fuse(*images))


def test_weights_fit_every_band_count_and_ratio():
    shapes = [
        jax.tree.map(lambda leaf: leaf.shape, abstract_params(create_model("bandwise", **fields)))
        for fields in ({"num_bands": 1}, {"num_bands": 16, "ratio": 6, "guide_bands": 2})
    ]
    assert shapes[0] == shapes[1]


def test_repeated_bands_change_nothing():
    """What lets cameras of few bands train in samples of many."""
    pan, ms, lms = _images(2)
    twice = _network(4)(pan, np.tile(ms, 2), np.tile(lms, 2))
    assert np.abs(twice - np.tile(_network(2)(pan, ms, lms), 2)).max() < 1e-5


def test_bands_may_come_in_any_order_and_units_do_not_matter():
    fuse, (pan, ms, lms) = _network(), _images()
    fused, order = fuse(pan, ms, lms), [2, 0, 1]
    moved = fuse(pan, ms[..., order], lms[..., order])
    assert np.abs(moved - fused[..., order]).max() < 1e-5
    for factor in (0.1, 8.0):
        scaled = fuse(*(np.float32(factor) * image for image in (pan, ms, lms)))
        assert np.abs(scaled / factor - fused).max() < 1e-3
    # The guide may have its own scale: only its shape is seen.
    assert np.abs(fuse(3 * pan, ms, lms) - fused).max() < 1e-3


def test_constant_images():
    """No detail: the band stays, and its gradient is finite."""
    model = create_model("bandwise", num_bands=2, width=8, blocks=1)
    params = init_params(model, jax.random.key(0))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
    def run(params, lms, pan, ms):
        fused = model.apply({"params": params}, pan, ms, lms)["fused"]
        return jnp.square(fused).sum(), fused

    for value in (0.0, 0.4):
        pan, ms, lms = (np.full_like(image, value) for image in _images(2))
        gradients, fused = run(params, lms, pan, ms)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
        assert np.abs(fused - value).max() < 1e-5


def test_starts_as_local_injection():
    """Bands that are multiples of PAN's blur get PAN's detail at that multiple."""
    model = create_model("bandwise", num_bands=2)
    params = init_params(model, jax.random.key(0))

    @jax.jit
    def run(noise):
        pan = blur(noise, gaussian(0.3, 2))
        ms = decimate(blur(pan, gaussian(_GAINS[0], 4)), 4)
        ms = jnp.concatenate([0.5 * ms, 2 * ms + 0.1], axis=-1)
        lms = interp23(ms, 4)
        fused = model.apply({"params": params}, pan, ms, lms)["fused"]
        truth = jnp.concatenate([0.5 * pan, 2 * pan + 0.1], axis=-1)
        return jnp.abs(fused - truth).max(), jnp.abs(lms - truth).max()

    error, error_of_exp = run(_images(side=12)[0])
    assert error < 0.05 * error_of_exp


def test_window_mean_at_the_border():
    image = np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)
    mean = window_mean(image, 1)[0, ..., 0]
    assert mean[0, 0] == np.mean([0, 1, 5, 6]) and mean[2, 2] == 12


def test_a_part_is_that_of_the_whole():
    """But for the pixels at its border that the convolutions see beyond."""
    pan, ms, lms = (np.repeat(image, 2, axis=0) for image in _images(3, side=12))
    pan[1], lms[1] = pan[1, ::-1], lms[1, ::-1]
    model = create_model("bandwise", num_bands=3, width=8, blocks=1)
    params = {"params": noise_like(abstract_params(model), np.random.default_rng(1))}
    fuse = jax.jit(lambda *images, **inner: model.apply(params, *images, **inner)["fused"])
    rows = np.stack([np.arange(5, 30), np.arange(20, 45)]).astype(np.int32)
    columns = np.stack([np.arange(30), np.arange(18, 48)]).astype(np.int32)
    whole, part = fuse(pan, ms, lms), fuse(pan, ms, lms, inner=(rows, columns))
    reach = model.inner_reach
    for image, fused, r, c in zip(whole, part, rows, columns, strict=True):
        inside = np.s_[reach:-reach, reach:-reach]
        assert np.abs(image[np.ix_(r, c)] - fused)[inside].max() < 1e-5
