"""Consistency of a fused image with its two inputs, at full resolution and without ground truth.

Scarpa, Ciotola, "Full-resolution quality assessment for pansharpening", Remote Sensing 14(8),
1808, 2022 (arXiv 2108.06144). Spectral consistency: blurred by the sensor's MTF and decimated
("reprojected"), the fused image must equal the MS; R-SAM, R-ERGAS and R-Q2n measure the difference.
Spatial consistency: the bands of the fused image must correlate locally with PAN (D_rho). Always
report both: EXP (interpolation alone) is good in the first and bad in the second, and PAN copied
into every band the other way round.

Phase. Decimation takes the samples at the centres of the pair's MS pixels, given by `ms_phase`: by
default r // 2, as in the common data sets; (r - 1) / 2 for a pair whose corners coincide. Half a
PAN pixel changes R-ERGAS by about a tenth and can swap the ranks of close methods.

Level. The toolbox's MTF kernels sum to 0.998 to 0.999 and are not normalised, so that an image
whose simulated MS is `ms` has a perfect score. For a perfect image of a real sensor an R-ERGAS of
about 100 / r * 0.0013 remains, 0.03 at ratio 4.
"""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.hypercomplex import q2n
from rsfusion_jax.metrics.pair import image_mean
from rsfusion_jax.metrics.reduced import ergas, sam
from rsfusion_jax.metrics.scene import scene_metric
from rsfusion_jax.metrics.windows import is_flat, window_moments
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interpolate_at
from rsfusion_jax.sensors import mtf_gains


@scene_metric
def r_sam(fused, ms, *, sensor, ratio, ms_phase=None):
    """SAM between the reprojected `fused` and `ms`, in degrees.

    Range 0 to 180, lower is better. 0 where the reprojected `fused` equals `ms` up to a gain per
    pixel. Constant images of one spectrum give less than 0.01 instead of 0, since the kernels' sums
    differ between bands; zero images give NaN.

    Args:
        fused: (r h, r w, C).
        ms: (h, w, C), in the same units.
        sensor: sensor whose MTF gains blur `fused` (name, mapping or record).
        ratio: r, PAN pixels per MS pixel along one axis.
        ms_phase: position of the first MS pixel's centre as a PAN index, a multiple of 0.5;
            default r // 2.
    """
    return sam(ms, reprojected(fused, sensor, ratio, ms_phase))


@scene_metric
def r_ergas(fused, ms, *, sensor, ratio, ms_phase=None):
    """ERGAS between the reprojected `fused` and `ms`, with the factor 100 / ratio.

    Range 0 to infinity, lower is better, no unit. 0 where the reprojected `fused` equals `ms`;
    identical constant images give about 0.03 at ratio 4 (see "Level" in the module docstring), zero
    images NaN. Arguments as for `r_sam`.
    """
    return ergas(ms, reprojected(fused, sensor, ratio, ms_phase), ratio=ratio)


@scene_metric
def r_q2n(fused, ms, *, sensor, ratio, ms_phase=None, block=32, shift=32, quantise=None):
    """Q2n between the reprojected `fused` and `ms`.

    Range 0 to 1, higher is better, no unit. 1 where the reprojected `fused` equals `ms`; constant
    images whose level the blur changes give about 0, zero images 1. Arguments as for `r_sam` and
    `q2n`, with `block` and `shift` in MS pixels.
    """
    low = reprojected(fused, sensor, ratio, ms_phase)
    return q2n(ms, low, block=block, shift=shift, quantise=quantise)


@scene_metric
def d_rho(fused, pan, *, ratio, sigma=None):
    """Spatial distortion: `1 - mean over bands and windows of the local correlation with PAN`.

    Pearson's coefficient is computed between a fused band and PAN in every sigma x sigma window
    that lies inside the image. Windows where PAN is constant (nodata, saturation) contain no detail
    and are excluded, the same ones for every method; a band that is constant where PAN is not has
    correlation 0.

    Range 0 to 2, lower is better, no unit, independent of gain and offset of a band. PAN copied
    into every band gives 0, a constant or zero `fused` 1, a constant PAN NaN. A perfect fusion does
    not reach 0, since real bands differ from PAN; D_rho alone would favour copying PAN.

    Args:
        fused: (H, W, C).
        pan: (H, W, 1).
        ratio: r, PAN pixels per MS pixel along one axis.
        sigma: side of the window in pixels, at least 2; default r, the size of the detail that MS
            lacks.

    Raises:
        UserError: a window of fewer than 2 pixels, or larger than the image.
    """
    sigma = ratio if sigma is None else sigma
    if sigma < 2:
        raise UserError(f"d_rho: a window of sigma {sigma} pixel has no correlation; give sigma=4")
    mean, mean_pan, variance, variance_pan, covariance = window_moments(fused, pan, sigma)
    pan_varies = ~is_flat(variance_pan, mean_pan**2)
    both = pan_varies & ~is_flat(variance, mean**2)
    deviations = jnp.sqrt(jnp.where(both, variance, 1)) * jnp.sqrt(jnp.where(both, variance_pan, 1))
    correlation = jnp.where(both, covariance / deviations, 0)
    share = image_mean(pan_varies.astype(fused.dtype))  # (1,)
    return 1 - (image_mean(correlation) / share).mean()


def reprojected(fused, sensor, ratio: int, ms_phase):
    """Degrade a fused image as the multispectral camera would sample it: MTF blur, decimation.

    Args:
        fused: (..., r h, r w, C).
        sensor: sensor whose MTF gains blur `fused` (name, mapping or record).
        ratio: r, PAN pixels per MS pixel along one axis.
        ms_phase: position of the first MS pixel's centre as a PAN index, a multiple of 0.5 in
            [0, r - 1]; None for r // 2.

    Returns:
        (..., h, w, C).

    Raises:
        UserError: `ms_phase` out of range, or a sensor with another number of bands.
    """
    phase = ratio // 2 if ms_phase is None else ms_phase
    if 2 * phase != int(2 * phase) or not 0 <= phase <= ratio - 1:
        raise UserError(
            f"ms_phase {ms_phase} is not a multiple of 0.5 between 0 and {ratio - 1}; the field's "
            f"sets have {ratio // 2}, a pair with common corners {(ratio - 1) / 2}"
        )
    blurred = mtf_filter(fused, mtf_gains(sensor, fused.shape[-1]), ratio)
    if phase == int(phase):
        return decimate(blurred, ratio, int(phase))
    # The MS centres lie half-way between PAN pixels. Interpolate with the taps of interp23, at
    # these positions only.
    places = (ratio * np.arange(n // ratio) + phase for n in fused.shape[-3:-1])
    return interpolate_at(blurred, *places)
