"""Component substitution by multiplying: bands are scaled by PAN over an intensity.

Brovey and its haze-corrected form keep the spectrum's direction: what they cannot change is the
spectral angle of EXP above the haze.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.arithmetic import EPS, quotient, weighted_sum
from rsfusion_jax.classical.method import MTF_REACH, Method, Step, measure_images
from rsfusion_jax.ops.mtf import gauss_lowpass

# Share of each band's 1st percentile that counts as haze, for blue, green, red, near infrared.
FOUR_BAND_HAZE = (0.95, 0.45, 0.40, 0.05)


class Modulation(NamedTuple):
    """Matched PAN a (P - pan_mean) + level over the intensity sum_k w_k (M_k - haze_k).

    Attributes:
        pan_mean: (1,) mean of P, or of its low-pass in BT-H.
        pan_gain: (1,) a.
        level: (1,) mean of the intensity.
        weights: (C,) w.
        haze: (C,) path radiance taken off before scaling and added after; 0 in Brovey.
    """

    pan_mean: jax.Array
    pan_gain: jax.Array
    level: jax.Array
    weights: jax.Array
    haze: jax.Array


def estimate_brovey(fine, coarse, setting):
    """Brovey: band mean as the intensity, PAN matched to it in mean and deviation.

    Reference: Gillespie, Kahle, Walker, "Color enhancement of highly correlated images. II. Channel
    ratio and 'chromaticity' transformation techniques", Remote Sensing of Environment 22(3), 1987.
    """
    xp, mean = fine["lms"].xp, fine["lms"].mean
    return _modulation(
        fine["lms"],
        fine["pan"],
        weights=xp.full_like(mean, 1 / mean.size),
        haze=xp.zeros_like(mean),
    )


def apply_brovey(coefficients: Modulation, pan, ms, lms, setting):
    """`M_b * P' / I`."""
    return lms * _factor(coefficients, pan, lms)


def measure_bt_h(pan, ms, lms, setting):
    """`lms` and the Gaussian low-pass of `pan`."""
    return {"lms": lms, "smooth": gauss_lowpass(pan, setting.ratio)}, {}


def estimate_bt_h(fine, coarse, setting):
    """Brovey with haze correction: regression weights, PAN's low-pass matched to the intensity.

    Reference: Lolli, Alparone, Garzelli, Vivone, "Haze correction for contrast-based multispectral
    pansharpening", IEEE GRSL 14(12), 2017. Haze is each band's minimum, and for four bands (blue,
    green, red, near infrared) fixed shares of their 1st percentiles, as in the toolbox.
    """
    lms, smooth = fine["lms"], fine["smooth"]
    weights = lms.least_squares(smooth)[:, 0]
    if _haze_from_percentiles(weights.size) is None:
        haze = lms.minimum
    else:
        haze = lms.first_percentile * np.asarray(FOUR_BAND_HAZE, weights.dtype)
    return _modulation(lms, smooth, weights, haze)


def apply_bt_h(coefficients: Modulation, pan, ms, lms, setting):
    """`max(M_b - haze_b, 0) * P' / I + haze_b`."""
    above = jnp.maximum(lms - coefficients.haze, 0)
    return above * _factor(coefficients, pan, lms) + coefficients.haze


def _modulation(lms, pan, weights, haze) -> Modulation:
    """Coefficients that match PAN to the intensity's mean and deviation."""
    return Modulation(
        pan_mean=pan.mean,
        pan_gain=quotient((lms @ weights).deviation, pan.deviation),
        level=(weights * (lms.mean - haze)).sum(keepdims=True),
        weights=weights,
        haze=haze,
    )


def _factor(coefficients: Modulation, pan, lms):
    """(H, W, 1) matched PAN over the intensity."""
    sharp = coefficients.pan_gain * (pan - coefficients.pan_mean) + coefficients.level
    return sharp / (weighted_sum(lms - coefficients.haze, coefficients.weights) + EPS)


def _haze_from_percentiles(bands: int) -> str | None:
    """Name of the image whose percentiles give the haze; None where its minima do."""
    return "lms" if bands == len(FOUR_BAND_HAZE) else None


METHODS = {
    "brovey": Method(apply_brovey, (Step(measure_images, estimate_brovey),), Modulation),
    "bt_h": Method(
        apply_bt_h,
        (Step(measure_bt_h, estimate_bt_h, percentiles=_haze_from_percentiles),),
        Modulation,
        fit_reach=lambda ratio: MTF_REACH,
    ),
}
