"""The band-wise network: units, bands, constants, and that its scenes' tiles agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.models.bandwise import _GAINS, _blur, _gaussian, _window_mean
from rsfusion_jax.ops.resample import decimate, interp23


def _images(bands=3, ratio=4, side=8, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (1, ratio * side, ratio * side, 1), (1, side, side, bands)
    pan, ms = (rng.random(shape, np.float32) * 0.5 + 0.2 for shape in shapes)
    return pan, ms, np.repeat(np.repeat(ms, ratio, 1), ratio, 2)


def _network(bands=3, ratio=4):
    """With every weight in use: as it is initialised, the last layer is zero."""
    model = create_model("bandwise", num_bands=bands, ratio=ratio, width=8, blocks=1)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda p: 0.1 * rng.standard_normal(p.shape, np.float32), abstract_params(model)
    )
    return lambda *images: np.asarray(jax.jit(model.apply)({"params": params}, *images)["fused"])


def test_weights_fit_every_band_count_and_ratio():
    shapes = [
        jax.tree.map(lambda leaf: leaf.shape, abstract_params(create_model("bandwise", **fields)))
        for fields in ({"num_bands": 1}, {"num_bands": 16, "ratio": 6, "guide_bands": 2})
    ]
    assert shapes[0] == shapes[1]


def test_bands_may_come_in_any_order():
    fuse, (pan, ms, lms) = _network(), _images()
    order = [2, 0, 1]
    moved = fuse(pan, ms[..., order], lms[..., order])
    assert np.abs(moved - fuse(pan, ms, lms)[..., order]).max() < 1e-5


def test_repeated_bands_change_nothing():
    """What lets cameras of few bands train in samples of many."""
    pan, ms, lms = _images(2)
    twice = _network(4)(pan, np.tile(ms, 2), np.tile(lms, 2))
    assert np.abs(twice - np.tile(_network(2)(pan, ms, lms), 2)).max() < 1e-5


@pytest.mark.parametrize("factor", [0.1, 8.0])
def test_units_do_not_matter(factor):
    fuse, images = _network(), _images()
    scaled = fuse(*(np.float32(factor) * image for image in images))
    assert np.abs(scaled / factor - fuse(*images)).max() < 1e-3


def test_guide_of_other_units():
    """The guide may have its own scale: only its shape is seen."""
    fuse, (pan, ms, lms) = _network(), _images()
    assert np.abs(fuse(3 * pan, ms, lms) - fuse(pan, ms, lms)).max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_constant_images(value):
    """No detail: the band stays, and its gradient is finite."""
    model = create_model("bandwise", num_bands=2, width=8, blocks=1)
    params = init_params(model, jax.random.key(0))
    pan, ms, lms = (np.full_like(image, value) for image in _images(2))

    def total(params, lms):
        return jnp.square(model.apply({"params": params}, pan, ms, lms)["fused"]).sum()

    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(params, lms)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    fused = model.apply({"params": params}, pan, ms, lms)["fused"]
    assert np.abs(fused - value).max() < 1e-5


def test_starts_as_local_injection():
    """Bands that are multiples of PAN's blur get PAN's detail at that multiple."""
    model = create_model("bandwise", num_bands=2)
    params = init_params(model, jax.random.key(0))
    pan = _blur(jnp.asarray(_images(side=12)[0]), _gaussian(0.3, 2))
    ms = decimate(_blur(pan, _gaussian(_GAINS[0], 4)), 4)
    ms = jnp.concatenate([0.5 * ms, 2 * ms + 0.1], axis=-1)
    lms = interp23(ms, 4)
    fused = model.apply({"params": params}, pan, ms, lms)["fused"]
    truth = jnp.concatenate([0.5 * pan, 2 * pan + 0.1], axis=-1)
    assert jnp.abs(fused - truth).max() < 0.05 * jnp.abs(lms - truth).max()


def test_window_mean_at_the_border():
    image = np.arange(20, dtype=np.float32).reshape(1, 4, 5, 1)
    mean = _window_mean(image, 1)[0, ..., 0]
    assert mean[0, 0] == np.mean([0, 1, 5, 6]) and mean[2, 2] == 12
