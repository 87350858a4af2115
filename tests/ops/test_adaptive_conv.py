"""Kernels that change from pixel to pixel, against sums written out pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.ops.adaptive_conv import adaptive_conv, predicted_kernels, shared_kernels

SHAPE = (2, 5, 6, 3)


def _windows(x, size):
    """(B, H, W, k k, C): what every pixel sees, zeros beyond the border."""
    reach = size // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    shifted = [padded[:, i : i + height, j : j + width] for i in range(size) for j in range(size)]
    return np.stack(shifted, axis=-2)


@pytest.mark.parametrize("per_pixel", [True, False])
def test_adaptive_conv(per_pixel):
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=SHAPE), rng.normal(size=(3, 3, 3, 4))
    weights = rng.normal(size=(2, 5, 6, 9) if per_pixel else (2, 1, 1, 9))
    weighted = _windows(x, 3) * weights[..., None]
    expected = np.einsum("bhwon,onm->bhwm", weighted, kernel.reshape(9, 3, 4))
    with jax.enable_x64(True):
        ours = adaptive_conv(jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(weights))
        np.testing.assert_allclose(ours, expected, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_shared_kernels(size):
    rng = np.random.default_rng(2)
    x, kernels = rng.normal(size=SHAPE), rng.normal(size=(2, 5, 6, size**2))
    expected = np.einsum("bhwoc,bhwo->bhwc", _windows(x, size), kernels)
    with jax.enable_x64(True):
        ours = shared_kernels(jnp.asarray(x), jnp.asarray(kernels))
        np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_predicted_kernels_and_their_gradients():
    rng = np.random.default_rng(3)
    x, source = rng.normal(size=SHAPE), rng.normal(size=(2, 5, 6, 4))
    weights, biases = rng.normal(size=(9, 4, 3)), rng.normal(size=(9, 3))
    with jax.enable_x64(True):
        arguments = [jnp.asarray(a) for a in (x, source, weights, biases)]

        def plain(x, source, weights, biases):
            kernels = jnp.einsum("bhwn,onc->bhwoc", source, weights) + biases
            padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            windows = [padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)]
            return (kernels * jnp.stack(windows, axis=-2)).sum(-2)

        def both(function):
            def loss(*arguments):
                out = function(*arguments)
                return jnp.sin(out).sum(), out

            gradient = jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True)
            return jax.tree.leaves(jax.jit(gradient)(*arguments))

        for ours, expected in zip(both(predicted_kernels), both(plain), strict=True):
            np.testing.assert_allclose(ours, expected, atol=1e-12)
