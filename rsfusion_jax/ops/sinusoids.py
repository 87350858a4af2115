"""Sines and cosines as features of a network: of a timestep, and of an image."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np


def time_embedding(t, features: int, dtype=jnp.float32):
    """Sines, then cosines of t / 10000 ** (k / K), k = 0 .. K - 1, K = features / 2.

    Args:
        t: (B,) timesteps.
        features: length of the embedding, even.
        dtype: dtype of the result; the computation is in at least float32.

    Returns:
        (B, features).
    """
    half = features // 2
    wide = jnp.promote_types(dtype, jnp.float32)
    frequencies = jnp.asarray(np.exp(-math.log(1e4) * np.arange(half) / half), wide)
    angles = jnp.asarray(t).astype(wide)[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).astype(dtype)


def fourier_features(x, exponents: Sequence[int]):
    """Appends sin(2 pi 2**f x) of all channels and exponents, then the cosines.

    Args:
        x: (B, H, W, c).
        exponents: n values f.

    Returns:
        (B, H, W, c (1 + 2 n)).
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    factors = jnp.asarray([2 * math.pi * 2.0**f for f in exponents], wide)
    angles = (x.astype(wide)[..., None] * factors).reshape(*x.shape[:-1], -1)
    return jnp.concatenate(
        [x, jnp.sin(angles).astype(x.dtype), jnp.cos(angles).astype(x.dtype)], axis=-1
    )
