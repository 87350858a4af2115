"""Windowed attention and adaptive convolution against the plain formulas with unfolded windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.ops.adaptive_conv import adaptive_conv
from rsfusion_jax.ops.local_attention import local_attention


def _unfolded_attention(query, key, value, window):
    reach, (height, width) = window // 2, query.shape[1:3]
    pad = ((0, 0), (reach, reach), (reach, reach), (0, 0), (0, 0))

    def windows(x):
        x = jnp.pad(x, pad, mode="reflect")
        rows, columns = range(window), range(window)
        return jnp.stack([x[:, i : i + height, j : j + width] for i in rows for j in columns], -1)

    weights = jax.nn.softmax((query[..., None] * windows(key)).sum(-2), axis=-1)
    return (weights[..., None, :] * windows(value)).sum(-1)


@pytest.mark.parametrize("scale", [1.0, 30.0])  # 30: exponentials that overflow without care
def test_local_attention_is_the_unfolded_one(scale):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        arrays = [jnp.asarray(rng.normal(size=(2, 8, 9, 2, 3))) for _ in range(4)]
        query, key, value, weight = arrays

        def both(function):
            def loss(query, key, value):
                out = function(scale * query, key, value, 5)
                return (out * weight).sum(), out

            grad = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
            return jax.tree.leaves(jax.jit(grad)(query, key, value))

        for ours, plain in zip(both(local_attention), both(_unfolded_attention), strict=True):
            np.testing.assert_allclose(ours, plain, atol=1e-12 * scale)


def test_memory_does_not_grow_with_the_window():
    def held(window):
        x = jax.ShapeDtypeStruct((1, 64, 64, 3, 3), jnp.float32)
        gradient = jax.grad(lambda q, k, v: local_attention(q, k, v, window).sum(), (0, 1, 2))
        return jax.jit(gradient).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

    assert held(9) < 1.5 * held(3)


@pytest.mark.parametrize("per_pixel", [True, False])
def test_adaptive_conv_is_the_sum_over_taps(per_pixel):
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 5, 6, 3)), rng.normal(size=(3, 3, 3, 4))
    weights = rng.normal(size=(2, 5, 6, 9) if per_pixel else (2, 1, 1, 9))
    expected = np.zeros((2, 5, 6, 4))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row in range(5):
        for column in range(6):
            window = padded[:, row : row + 3, column : column + 3]
            at = weights[:, row, column] if per_pixel else weights[:, 0, 0]
            weighted = window * at.reshape(2, 3, 3, 1)
            expected[:, row, column] = np.einsum("bijn,ijnm->bm", weighted, kernel)
    with jax.enable_x64(True):
        ours = adaptive_conv(jnp.asarray(x), jnp.asarray(kernel), jnp.asarray(weights))
        np.testing.assert_allclose(ours, expected, atol=1e-12)
