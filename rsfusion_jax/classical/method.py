"""What a classical method is, and the whole-image statistics that all of them are made of.

A method is two pure functions. `fit(pan, ms, lms, setting)` reads statistics of a whole scene and
returns a small NamedTuple; `apply(coefficients, pan, ms, lms, setting)` is local and returns the
fused image (H, W, C), unclipped. Both take pan (H, W, 1), ms (h, w, C) and lms (H, W, C) of one
float dtype, in counts or in [0, 1], and use what they need of them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

EPS = 2.0**-52  # what the toolbox adds to denominators
_ROUNDING = 32  # units in the last place that a chain of filters and sums may be off


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a PAN and an MS image relate, known before any pixel is.

    Attributes:
        ratio: PAN pixels per MS pixel along one axis.
        gains: MTF gain of each MS band at Nyquist; None for methods that do not filter with it.
        pan_gain: the same of PAN.
        wrap: periodic borders where the method itself enlarges with `interp23`.
    """

    ratio: int
    gains: tuple[float, ...] | None = None
    pan_gain: float | None = None
    wrap: bool = False


@dataclasses.dataclass(frozen=True)
class Method:
    """A named pair of fit and apply.

    Attributes:
        fit: statistics of a scene -> coefficients.
        apply: coefficients and images -> fused image.
        needs_sensor: whether the method filters with the MS bands' MTF.
        needs_pan_gain: whether it filters with PAN's MTF as well.
    """

    fit: Callable[..., Any]
    apply: Callable[..., Any]
    needs_sensor: bool = False
    needs_pan_gain: bool = False


def mean(image):
    """(C,) mean over rows and columns of (H, W, C); two short sums keep float32 digits."""
    return image.mean(axis=1).mean(axis=0)


def difference(image, level):
    """image - level, exactly 0 where it is no more than the rounding of the level.

    A constant image then has no spread at all, instead of one made of rounding errors whose ratio
    to another such spread could be anything.
    """
    values = image - level
    rounding = _ROUNDING * jnp.finfo(values.dtype).eps * jnp.abs(level)
    return jnp.where(jnp.abs(values) <= rounding, 0, values)


def centred(image):
    """(H, W, C) minus the mean of each band."""
    return difference(image, mean(image))


def covariance(x, y):
    """(C,) sample covariance over pixels of two images (H, W, C) or (H, W, 1)."""
    count = x.shape[0] * x.shape[1]
    return mean(centred(x) * centred(y)) * (count / (count - 1))


def deviation(image):
    """(C,) sample standard deviation over pixels of (H, W, C)."""
    return jnp.sqrt(covariance(image, image))


def correlation(x, y):
    """(C,) Pearson correlation over pixels of two images; 0 where one of them is flat."""
    return quotient(covariance(x, y), deviation(x) * deviation(y))


def quotient(numerator, denominator):
    """numerator / denominator, and 0 where the denominator is 0: a flat image has no detail."""
    flat = denominator == 0
    return jnp.where(flat, 0, numerator / jnp.where(flat, 1, denominator))


def weighted_sum(image, weights):
    """(H, W, 1) sum over bands of (H, W, C) times (C,), in full precision on every device."""
    return mix(image, weights[:, None])


def mix(image, weights):
    """(H, W, T) combinations of the bands of (H, W, K) with weights (K, T), in full precision."""
    return jnp.matmul(image, weights, precision="highest")


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


def products(x, y):
    """(K, T) sums over pixels of (H, W, K) times (H, W, T); row by row keeps float32 digits."""
    return jnp.einsum("hwk,hwt->hkt", x, y, precision="highest").sum(axis=0)
