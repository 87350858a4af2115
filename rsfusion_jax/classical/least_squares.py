"""Least squares over the pixels of an image in memory."""

import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import products


def least_squares(regressors, targets):
    """(K, T) minimising |regressors @ x - targets|, the shortest where several do.

    Args:
        regressors: (H, W, K) images.
        targets: (H, W, T) images.
    """
    return jnp.linalg.lstsq(*triangle(regressors, targets))[0]


def triangle(regressors, targets):
    """(K, K) and (K, T) with the same least-squares problem as (H, W, K) and (H, W, T) images.

    A QR factorisation: the small triangle is all that an iterative or rank-revealing solver has
    to see, and it is as well conditioned as the images, which their normal equations are not.
    """
    q, r = jnp.linalg.qr(regressors.reshape(-1, regressors.shape[-1]))
    return r, products(q.reshape(regressors.shape), targets)
