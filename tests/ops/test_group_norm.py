"""Group normalisation against flax's, differentiated operation by operation there."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.ops.group_norm import group_norm


def _arguments(dtype=np.float32, mean=3.0):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 5, 4, 6)) + mean).astype(dtype)
    return x, *(1 + 0.1 * rng.standard_normal((2, 6))).astype(dtype)


def _flax(x, scale, bias, groups, activation):
    norm = nn.GroupNorm(groups, epsilon=1e-5, use_fast_variance=False)
    return activation(norm.apply({"params": {"scale": scale, "bias": bias}}, x))


@pytest.mark.parametrize("activation", [nn.silu, lambda x: x], ids=["silu", "none"])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_value_and_gradients(groups, activation):
    with jax.enable_x64(True):
        weights = np.random.default_rng(1).standard_normal((2, 5, 4, 6))

        def ours(*args):
            return (group_norm(*args, groups, 1e-5, activation) * weights).sum()

        def flax(*args):
            return (_flax(*args, groups, activation) * weights).sum()

        args = tuple(map(jnp.asarray, _arguments(np.float64)))
        derive = [jax.value_and_grad(function, (0, 1, 2)) for function in (ours, flax)]
        both = jax.jit(lambda *args: [derived(*args) for derived in derive])(*args)
        (value, gradients), (expected, expected_gradients) = both
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for ours, expected in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_mean_far_above_the_deviation():
    """The mean is taken off first: float32 keeps what little is left."""
    x, scale, bias = _arguments(mean=1000.0)
    exact = (x - x.astype(np.float64).mean((1, 2, 3), keepdims=True)) / x.astype(np.float64).std(
        (1, 2, 3), keepdims=True
    )
    np.testing.assert_allclose(
        group_norm(x, scale, bias, 1, 1e-5, lambda x: x), exact * scale + bias, atol=2e-3
    )


def test_half_precision_is_normalised_in_float32():
    x, scale, bias = _arguments(jnp.bfloat16)
    value, pull = jax.vjp(lambda *args: group_norm(*args, 2, 1e-5, nn.silu), x, scale, bias)
    assert value.dtype == jnp.float32
    wide = tuple(a.astype(np.float32) for a in (x, scale, bias))
    np.testing.assert_allclose(value, group_norm(*wide, 2, 1e-5, nn.silu), atol=1e-6)
    assert [g.dtype for g in pull(value)] == [jnp.bfloat16] * 3


def test_the_backward_pass_keeps_the_image_alone():
    x = jnp.asarray(_arguments()[0])
    _, pull = jax.vjp(lambda x: group_norm(x, jnp.ones(6), jnp.zeros(6), 1, 1e-5, nn.silu), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(pull)) < 2 * x.size
