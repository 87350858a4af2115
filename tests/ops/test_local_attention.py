"""Windowed attention against the plain formula with unfolded windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_memory_grows_with_the_side_of_the_window_not_its_area():
    def held(window):
        x = jax.ShapeDtypeStruct((1, 64, 64, 3, 3), jnp.float32)
        gradient = jax.grad(lambda q, k, v: local_attention(q, k, v, window).sum(), (0, 1, 2))
        return jax.jit(gradient).lower(x, x, x).compile().memory_analysis().temp_size_in_bytes

    more_numbers_per_pixel = (held(15) - held(7)) / (64 * 64 * 3 * 4)
    assert more_numbers_per_pixel < 6 * (15 - 7)  # 15^2 - 7^2 = 176 for the logits alone
