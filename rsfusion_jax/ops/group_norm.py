"""Group normalisation followed by an activation, with the gradient in closed form."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def group_norm(x, scale, bias, groups: int, epsilon: float, activation: Callable):
    """Normalise per image and group: activation((x - mean) / sqrt(var + epsilon) * scale + bias).

    The backward pass stores the image and two numbers per group; automatic differentiation would
    take twice the working memory. The variance is computed after the mean has been subtracted.

    Y. Wu, K. He, "Group Normalization", ECCV 2018.

    Args:
        x: (B, H, W, C).
        scale: (C,).
        bias: (C,).
        groups: number of groups of neighbouring channels; divides C.
        epsilon: added to the variance.
        activation: element-wise function.

    Returns:
        (B, H, W, C) in at least float32, the dtype of mean and variance.
    """
    return _forward(x, scale, bias, groups, epsilon, activation)[0]


def _forward(x, scale, bias, groups, epsilon, activation):
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = _of_groups(wide.mean((1, 2)), groups)
    variance = _of_groups(jnp.square(wide - mean).mean((1, 2)), groups)
    residuals = (x, mean, jax.lax.rsqrt(variance + epsilon), scale, bias)
    return activation(_normalised(*residuals[:3]) * scale + bias), residuals


def _backward(groups, epsilon, activation, residuals, gradient):
    x, mean, inverse, scale, bias = residuals
    normalised = _normalised(x, mean, inverse)
    gradient = jax.vjp(activation, normalised * scale + bias)[1](gradient)[0]
    d_bias, d_scale = gradient.sum((1, 2)), (gradient * normalised).sum((1, 2))  # (B, C)
    # The gradients that pass through the mean and through the variance.
    pixels = x.shape[1] * x.shape[2]
    of_mean, of_variance = (_of_groups(d * scale / pixels, groups) for d in (d_bias, d_scale))
    d_x = inverse * (gradient * scale - of_mean - normalised * of_variance)
    d_scale, d_bias = d_scale.sum(0).astype(scale.dtype), d_bias.sum(0).astype(bias.dtype)
    return d_x.astype(x.dtype), d_scale, d_bias


group_norm.defvjp(_forward, _backward)


def _normalised(x, mean, inverse):
    return (x.astype(mean.dtype) - mean) * inverse


def _of_groups(means, groups):
    """Means per channel (B, C) -> means of their groups, repeated per channel, (B, 1, 1, C)."""
    batch, channels = means.shape
    grouped = means.reshape(batch, groups, -1).mean(-1, keepdims=True)
    return jnp.broadcast_to(grouped, (batch, groups, channels // groups)).reshape(
        batch, 1, 1, channels
    )
