"""Loss at full resolution: consistency of the fused image with PAN and MS, without ground truth.

Reference: M. Ciotola, S. Vitale, A. Mazza, G. Poggi, G. Scarpa, "Pansharpening by convolutional
neural networks in the full resolution framework", IEEE TGRS 60, 5408717, 2022 (arXiv:2111.08334).
The loss has the two terms of that paper:

* Reprojection: the fused image, degraded by the camera's MTF, must equal MS.
* Spatial: each band must correlate locally with PAN. A window counts only where this correlation is
  lower than that of the upsampled MS with the blurred PAN, so that detail of PAN which a band does
  not have is not copied into it.

Differences from the paper: the reprojection error is divided by the mean of each band, as in ERGAS;
the correlations have a noise floor, without which flat windows dominate the gradient.
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
"""Weight of the spatial term; the reprojection term has weight 1."""
_BORDER = 4
"""Width in MS pixels of the border that is not compared, since upsampling and blur pad it."""
_FLOOR = 2e-3
"""Noise floor: standard deviations below this fraction of the local mean are taken as noise."""


def enlarged(ms, ratio: int):
    """Upsample MS to the grid of a PAN image whose outer corners coincide with those of MS.

    With this registration the centre of MS pixel 0 lies at PAN index (r - 1) / 2.

    Args:
        ms: (..., h, w, C), a NumPy or JAX array.
        ratio: PAN pixels per MS pixel, r.

    Returns:
        The upsampled MS, (..., r h, r w, C). Decimated from index r // 2 on, it is an `ms` with the
        registration of the public data sets, on which the networks are trained.
    """
    places = ((np.arange(ratio * n) - (ratio - 1) / 2) / ratio for n in ms.shape[-3:-1])
    return interpolate_at(ms, *places)


def inconsistency(fused, pan, ms, lms, sensor: Sensor):
    """Compute the two terms of the loss, both 0 for a consistent image.

    Args:
        fused: fused images, (B, r h, r w, C), in [0, 1].
        pan: PAN images, (B, r h, r w, 1), in [0, 1].
        ms: MS images, (B, h, w, C), in [0, 1], whose outer corners coincide with those of `pan`.
        lms: `enlarged(ms)`, (B, r h, r w, C).
        sensor: sensor with the MTF gains and the ratio r for the degradation.

    Returns:
        Two scalars: the mean absolute difference between the degraded `fused` and `ms`, divided by
        the mean of each band; and the mean over r x r windows of `1 - rho`, where rho is the
        correlation of `fused` with `pan`, counted as 0 in windows where rho is not below the
        correlation of `lms` with the blurred `pan`.
    """
    ratio = sensor.ratio
    inside = _inner(_BORDER)
    low = reprojected(fused, sensor, ratio, (ratio - 1) / 2)
    # The same offset as in `distances.relative`.
    level = ms.mean(axis=(-3, -2), keepdims=True) + 0.02
    reprojection = (jnp.abs(low - ms) / level)[inside].mean()

    blur = float(np.mean(mtf_gains(sensor, ms.shape[-1])))
    inside = _inner(_BORDER * ratio)
    correlation = _correlation(fused[inside], pan[inside], ratio)
    limit = _correlation(lms[inside], mtf_filter(pan, blur, ratio)[inside], ratio)
    return reprojection, jnp.where(correlation < limit, 1 - correlation, 0).mean()


def _inner(border: int):
    return np.s_[:, border:-border, border:-border]


def _correlation(image, pan, size: int):
    """Compute local correlation coefficients of (B, H, W, C) with (B, H, W, 1)."""
    moments = jax.vmap(lambda x, y: window_moments(x, y, size))(image, pan)
    mean, mean_pan, variance, variance_pan, covariance = moments
    noise, noise_pan = (jnp.square(_FLOOR * m) + 1e-12 for m in (mean, mean_pan))
    return covariance / jnp.sqrt((variance + noise) * (variance_pan + noise_pan))
