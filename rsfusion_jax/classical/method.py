"""What a classical method is, and the whole-image statistics that all of them are made of.

A method is two pure functions. `fit(pan, ms, lms, *, ratio, gains)` reads statistics of a whole
scene and returns a small NamedTuple; `apply(coefficients, pan, ms, lms, *, ratio, gains)` is local
and returns the fused image (H, W, C), unclipped. Both take pan (H, W, 1), ms (h, w, C) and lms
(H, W, C) of one float dtype, in counts or in [0, 1]; `gains` are the MS bands' MTF gains, None for
methods that do not use them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

EPS = 2.0**-52  # what the toolbox adds to denominators


@dataclasses.dataclass(frozen=True)
class Method:
    """A named pair of fit and apply.

    Attributes:
        fit: statistics of a scene -> coefficients.
        apply: coefficients and images -> fused image.
        needs_sensor: whether the method filters with the sensor's MTF.
    """

    fit: Callable[..., Any]
    apply: Callable[..., Any]
    needs_sensor: bool = False


def mean(image):
    """(C,) mean over rows and columns of (H, W, C); two short sums keep float32 digits."""
    return image.mean(axis=1).mean(axis=0)


def covariance(x, y):
    """(C,) sample covariance over pixels of two images (H, W, C) or (H, W, 1)."""
    count = x.shape[0] * x.shape[1]
    return mean((x - mean(x)) * (y - mean(y))) * (count / (count - 1))


def deviation(image):
    """(C,) sample standard deviation over pixels of (H, W, C)."""
    return jnp.sqrt(covariance(image, image))


def quotient(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0: a flat image has no detail."""
    flat = denominator == 0
    return jnp.where(flat, 0, numerator / jnp.where(flat, 1, denominator))


def weighted_sum(image, weights):
    """(H, W, 1) sum over bands of (H, W, C) times (C,), in full precision on every device."""
    return (image * weights).sum(axis=-1, keepdims=True)


def least_squares(regressors, target):
    """(K,) minimising |regressors @ x - target|, the shortest where several do.

    Args:
        regressors: (H, W, K) images.
        target: (H, W, 1) image.
    """
    matrix = regressors.reshape(-1, regressors.shape[-1])
    # QR first: the small triangle is all that the rank-revealing solver has to see.
    q, r = jnp.linalg.qr(matrix)
    projected = jnp.matmul(q.T, target.reshape(-1), precision="highest")
    return jnp.linalg.lstsq(r, projected)[0]
