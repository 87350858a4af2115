"""Convolutions of few channels or images, and their gradients, against the compiler's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.models.layers import Conv
from rsfusion_jax.ops.conv import conv


def _plain(x, kernel):
    reach = kernel.shape[0] // 2
    padding = ((reach, reach), (reach, reach))
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


FEW_CHANNELS = [((2, 5, width, 2), (size, 3)) for width in (24, 12, 7, 1) for size in (3, 7, 19)]
FEW_IMAGES = [((b, h, 6, 5), (size, 4)) for b in (1, 2, 3) for h in (16, 12, 7) for size in (3, 9)]


@pytest.mark.parametrize(("shape", "to"), FEW_CHANNELS + FEW_IMAGES)
def test_conv_and_its_gradients(shape, to):
    size, features = to
    rng = np.random.default_rng(size)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=shape))
        kernel = jnp.asarray(rng.normal(size=(size, size, shape[-1], features)))
        weights = jnp.asarray(rng.normal(size=(*shape[:3], features)))

        def results(convolution):
            def loss(*given):
                return (weights * convolution(*given)).sum()

            directions = jnp.cos(x), jnp.sin(kernel)
            return *jax.jvp(convolution, (x, kernel), directions), *jax.grad(loss, (0, 1))(
                x, kernel
            )

        for ours, expected in zip(results(conv), results(_plain), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-12 * size**2)


def test_a_following_step_is_multiplied_in():
    rng = np.random.default_rng(1)
    weights = {"kernel": rng.normal(size=(3, 3, 5, 4)), "bias": rng.normal(size=4)}

    def mean(kernel, bias):
        return kernel.mean(-1, keepdims=True), bias.mean(-1, keepdims=True)

    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(2, 6, 8, 5)))
        ours = Conv(4, then=mean).apply({"params": weights}, x)
        expected = Conv(4).apply({"params": weights}, x).mean(-1, keepdims=True)
        np.testing.assert_allclose(ours, expected, atol=1e-12)
