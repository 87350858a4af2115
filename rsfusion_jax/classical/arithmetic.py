"""Arithmetic of band images that the classical methods share."""

import jax.numpy as jnp

EPS = 2.0**-52  # what the toolbox adds to denominators
ROUNDING = 32  # units in the last place by which a chain of filters and sums may be off


def quotient(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0: a flat image has no detail.

    Takes numpy or jax arrays and returns the same kind.
    """
    xp = denominator.__array_namespace__()
    flat = denominator == 0
    return xp.where(flat, 0, numerator / xp.where(flat, 1, denominator))


def difference(image, level):
    """image - level, exactly 0 where it is no more than the rounding of the level.

    A constant image then has no spread at all, instead of one made of rounding errors whose ratio
    to another such spread could be anything.
    """
    values = image - level
    rounding = ROUNDING * jnp.finfo(values.dtype).eps * jnp.abs(level)
    return jnp.where(jnp.abs(values) <= rounding, 0, values)


def weighted_sum(image, weights):
    """(H, W, 1) sum over bands of (H, W, C) times (C,), in full precision on every device."""
    return mix(image, weights[:, None])


def mix(image, weights):
    """(H, W, T) combinations of the bands of (H, W, K) with weights (K, T), in full precision."""
    return jnp.matmul(image, weights, precision="highest")


def products(x, y):
    """(K, T) sums over pixels of (H, W, K) times (H, W, T); row by row keeps float32 digits."""
    return jnp.einsum("hwk,hwt->hkt", x, y, precision="highest").sum(axis=0)
