"""Consistency of a fused image with PAN and MS at full resolution: a loss that needs no truth.

M. Ciotola, S. Vitale, A. Mazza, G. Poggi, G. Scarpa, "Pansharpening by convolutional neural
networks in the full resolution framework", IEEE TGRS 60, 5408717, 2022 (arXiv:2111.08334), whose
two terms these are. Reprojection: degraded by the camera's MTF the image must give back MS.
Spatial: each band must follow PAN locally, but only where it follows PAN less than MS follows the
blurred PAN one scale above: what the bands do not share with PAN is not to be copied from it.

Differences from the paper: the reprojection is counted in units of each band's mean, as ERGAS
counts; correlations have a noise floor, without which a flat window decides the gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.metrics.reprojection import reprojected
from rsfusion_jax.metrics.windows import window_moments
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import interpolate_at
from rsfusion_jax.sensors import Sensor, mtf_gains

SPATIAL = 0.03
"""Weight of the spatial term beside the reprojection."""
_BORDER = 4
"""MS pixels at a patch's border that are not compared: enlargement and blur repeat the edge."""
_FLOOR = 2e-3
"""Share of the local mean below which a standard deviation means nothing."""


def enlarged(ms, ratio: int):
    """`lms` of a pair whose corners coincide, MS pixel 0 centred at PAN index (r - 1) / 2.

    Args:
        ms: (..., h, w, C), numpy or jax.
        ratio: r.

    Returns:
        (..., r h, r w, C); decimated at r // 2 it is the `ms` of a network of the field's phase.
    """
    places = ((np.arange(ratio * n) - (ratio - 1) / 2) / ratio for n in ms.shape[-3:-1])
    return interpolate_at(ms, *places)


def inconsistency(fused, pan, ms, lms, sensor: Sensor):
    """The two terms of a batch in [0, 1], both 0 for a consistent image.

    Args:
        fused: (B, r h, r w, C).
        pan: (B, r h, r w, 1).
        ms: (B, h, w, C); the corners of the pair coincide.
        lms: `enlarged(ms)`.
        sensor: whose MTF gains and ratio degrade it.

    Returns:
        Mean absolute difference between reprojection and `ms` in units of the bands' means, and
        the mean of `1 - rho` over the windows of r x r pixels whose correlation rho with PAN is
        below that of `lms` with PAN blurred alike (elsewhere 0).
    """
    ratio = sensor.ratio
    inside = _inner(_BORDER)
    low = reprojected(fused, sensor, ratio, (ratio - 1) / 2)
    level = ms.mean(axis=(-3, -2), keepdims=True) + 0.02  # as `objectives.relative`
    reprojection = (jnp.abs(low - ms) / level)[inside].mean()

    blur = float(np.mean(mtf_gains(sensor, ms.shape[-1])))
    inside = _inner(_BORDER * ratio)
    reached = _correlation(fused[inside], pan[inside], ratio)
    limit = _correlation(lms[inside], mtf_filter(pan, blur, ratio)[inside], ratio)
    return reprojection, jnp.where(reached < limit, 1 - reached, 0).mean()


def _inner(border: int):
    return np.s_[:, border:-border, border:-border]


def _correlation(image, pan, size: int):
    """Local correlation coefficients of (B, H, W, C) with (B, H, W, 1)."""
    moments = jax.vmap(lambda x, y: window_moments(x, y, size))(image, pan)
    mean, mean_pan, variance, variance_pan, covariance = moments
    noise, noise_pan = (jnp.square(_FLOOR * m) + 1e-12 for m in (mean, mean_pan))
    return covariance / jnp.sqrt((variance + noise) * (variance_pan + noise_pan))
