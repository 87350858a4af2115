"""OneSensor: where it starts, and that parts of images agree with the whole."""

import jax
import numpy as np
from noise import noise_like

from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.models.anysensor import AnySensor
from rsfusion_jax.ops.resample import interp23


def _images(side):
    draw = np.random.default_rng(3)
    ms = draw.random((1, side, side, 2), np.float32)
    return draw.random((1, 4 * side, 4 * side, 1), np.float32), ms, np.asarray(interp23(ms, 4))


def test_untrained_it_equals_anysensor():
    model, images = create_model("onesensor", num_bands=2), _images(10)
    params = init_params(model, jax.random.key(1))
    params["first"] = noise_like(params["first"], np.random.default_rng(1))
    fused, expected = (
        jax.jit(network.apply)({"params": weights}, *images)["fused"]
        for network, weights in ((model, params), (AnySensor(num_bands=2), params["first"]))
    )
    assert np.array_equal(fused, expected) and np.abs(fused - images[2]).max() > 0.1


def test_a_part_is_that_of_the_whole():
    model, images = create_model("onesensor", num_bands=2), _images(24)
    params = noise_like(init_params(model, jax.random.key(1)), np.random.default_rng(2))
    apply = jax.jit(model.apply)
    inner = np.arange(3, 48)[None], np.arange(20, 86)[None]
    whole = np.asarray(apply({"params": params}, *images)["fused"])[0]
    part = np.asarray(apply({"params": params}, *images, inner=inner)["fused"])[0]
    error, reach = np.abs(whole[3:48, 20:86] - part), model.inner_reach
    inside = error[reach:-reach, reach:-reach].max()
    assert inside < 1e-5 * np.abs(whole).max() and error.max() > 100 * inside
