"""Tiles that are denoised together must not show."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.diffusion.samplers import ddim, dpm_solver
from rsfusion_jax.diffusion.sampling import sample
from rsfusion_jax.diffusion.schedules import make_schedule, respace
from rsfusion_jax.diffusion.tiles import tiled
from rsfusion_jax.errors import UserError


def pointwise(x_t, t, pan, lms, x_self):
    """A network that sees one pixel: tiles must not show at all."""
    t = t[:, None, None, None] / 500
    own = 0 if x_self is None else 0.3 * x_self
    return jnp.tanh(x_t * (1 - t) + pan - 0.5 * lms + own)


@pytest.mark.parametrize("size", [(40, 52), (16, 70), (9, 13)])
@pytest.mark.parametrize("x_self", ["none", "x0"])
def test_tiles_of_a_pointwise_network_do_not_show(size, x_self):
    keys = jax.random.split(jax.random.key(0), 4)
    pan = jax.random.uniform(keys[0], (2, *size, 1))
    lms, x = (jax.random.normal(key, (2, *size, 3)) for key in keys[1:3])
    sampler = ddim(respace(make_schedule("cosine", 500), 4), 0.5)
    run = functools.partial(sample, sampler=sampler, x_init=x, key=keys[3], self_condition=x_self)
    whole = run(lambda x_t, t, own: pointwise(x_t, t, pan, lms, own))
    by_tiles = run(tiled(pointwise, pan, lms, tile=16, overlap=6, batch_size=5))
    np.testing.assert_allclose(by_tiles, whole, atol=2e-6)


def local_mean(x_t, t, pan, lms, x_self):
    """A network that sees all of its tile: the blend shows."""
    return x_t - x_t.mean(axis=(1, 2), keepdims=True) + pan.mean(axis=(1, 2), keepdims=True) + lms


def test_tiles_do_not_depend_on_the_batch():
    keys = jax.random.split(jax.random.key(0), 3)
    pan = jax.random.uniform(keys[0], (1, 44, 36, 1))
    lms, x = (jax.random.normal(key, (1, 44, 36, 3)) for key in keys[1:])
    sampler = dpm_solver(respace(make_schedule("cosine", 500), 5))
    drawn = [
        sample(tiled(local_mean, pan, lms, tile=16, overlap=8, batch_size=size), sampler, x)
        for size in (1, 3, 7, 100)
    ]
    for other in drawn[1:]:
        np.testing.assert_allclose(drawn[0], other, rtol=1e-5, atol=1e-5)
    whole = sample(lambda x_t, t, own: local_mean(x_t, t, pan, lms, own), sampler, x)
    assert np.abs(whole - drawn[0]).max() > 1e-2


def test_blend_is_smooth_and_aligned():
    """Each tile answers with the number of its place; neighbours must not meet in an edge."""
    place = jnp.arange(64.0)[None, None, :, None] * jnp.ones((1, 64, 1, 1))

    def corner(x_t, t, pan, lms, x_self):
        return jnp.broadcast_to(pan[:, :1, :1], x_t.shape)

    run = tiled(corner, place, place, tile=24, overlap=12, batch_size=4)
    row = np.asarray(run(jnp.zeros_like(place), jnp.zeros(1, int), None))[0, 32, :, 0]
    np.testing.assert_allclose(row[[0, -1]], [0, 40], atol=1e-5)
    assert -1e-5 < np.diff(row).min() and np.diff(row).max() < 2.5

    def nan_unless_aligned(x_t, t, pan, lms, x_self):
        return jnp.where(pan[:, :1, :1] % 4 == 0, x_t, jnp.nan)

    run = tiled(nan_unless_aligned, place, place, tile=24, overlap=7, batch_size=4)
    assert np.isfinite(run(place, jnp.zeros(1, int), None)).all()


def test_tiles_refuse():
    image = jnp.zeros((1, 32, 32, 1))
    for options, words in (
        ({"tile": 16, "overlap": 13, "batch_size": 1}, "overlap=13"),
        ({"tile": 16, "overlap": 8, "batch_size": 0}, "batch_size=0"),
    ):
        with pytest.raises(UserError, match=words):
            tiled(pointwise, image, image, **options)
