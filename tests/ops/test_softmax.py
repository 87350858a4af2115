"""The softmax of images against jax's, differentiated operation by operation there."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax import compilation
from rsfusion_jax.ops.softmax import softmax


def _image(dtype=np.float32, shape=(2, 5, 4, 6)):
    return jnp.asarray(3 * np.random.default_rng(0).standard_normal(shape), dtype)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_value_and_gradient(axis):
    with jax.enable_x64(True):
        x = _image(np.float64)
        weights = np.random.default_rng(1).standard_normal(x.shape)
        derive = [
            jax.value_and_grad(lambda x, f=function: (f(x, axis) * weights).sum())
            for function in (softmax, jax.nn.softmax)
        ]
        both = jax.jit(lambda x: [derived(x) for derived in derive])(x)
        (value, gradient), (expected, expected_gradient) = both
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-14)


def test_half_precision_is_summed_in_float32():
    x = _image(jnp.bfloat16, (1, 600, 2, 3))
    value, pull = jax.vjp(lambda x: softmax(x, 1), x)
    exact, exact_pull = jax.vjp(lambda x: jax.nn.softmax(x, 1), x.astype(np.float32))
    assert value.dtype == jnp.bfloat16
    np.testing.assert_allclose(value.astype(np.float32), exact, rtol=2**-8)
    gradient = pull(x)[0]
    assert gradient.dtype == jnp.bfloat16
    expected = exact_pull(x.astype(np.float32))[0]
    error = np.linalg.norm(gradient.astype(np.float32) - expected)
    assert error < 2**-8 * np.linalg.norm(expected)


def test_the_backward_pass_keeps_the_result_alone():
    x = _image()
    _, pull = jax.vjp(lambda x: softmax(x, 1), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(pull)) == x.size


def test_one_image_is_not_slower_than_two():
    """Time of the gradient through a product of matrices; by jax's softmax 50 times as long."""

    def seconds(batch):
        x = _image(shape=(batch, 128, 128, 64))
        matrix = _image(shape=(batch, 64, 32))

        def energy(x):
            return jnp.square(jnp.einsum("bhwd,bdf->bhwf", softmax(x, 1), matrix)).sum()

        function = compilation.jit(jax.grad(energy))
        function(x).block_until_ready()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function(x).block_until_ready()
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(1) < 5 * seconds(2)
