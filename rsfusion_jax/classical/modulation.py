"""Component substitution by multiplying: bands are scaled by PAN over an intensity.

Brovey and its haze-corrected form keep the spectrum's direction: what they cannot change is the
spectral angle of EXP above the haze.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.method import (
    EPS,
    deviation,
    least_squares,
    mean,
    quotient,
    weighted_sum,
)
from rsfusion_jax.ops.mtf import gauss_lowpass

# Share of each band's 1st percentile that counts as haze, for blue, green, red, near infrared.
FOUR_BAND_HAZE = (0.95, 0.45, 0.40, 0.05)


class Modulation(NamedTuple):
    """Matched PAN a (P - pan_mean) + level over the intensity sum_k w_k (M_k - haze_k).

    Attributes:
        pan_mean: (1,).
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


def fit_brovey(pan, ms, lms, setting):
    """Brovey: band mean as the intensity, PAN matched to it in mean and deviation.

    Gillespie, Kahle, Walker, Remote Sensing of Environment 22(3), 1987.
    """
    weights = jnp.full(lms.shape[-1], 1 / lms.shape[-1], lms.dtype)
    intensity = weighted_sum(lms, weights)
    return Modulation(
        pan_mean=mean(pan),
        pan_gain=quotient(deviation(intensity), deviation(pan)),
        level=mean(intensity),
        weights=weights,
        haze=jnp.zeros_like(weights),
    )


def apply_brovey(coefficients: Modulation, pan, ms, lms, setting):
    """`M_b * P' / I`."""
    return lms * _modulation(coefficients, pan, lms)


def fit_bt_h(pan, ms, lms, setting):
    """Brovey with haze correction: regression weights, PAN's low-pass matched to the intensity.

    Lolli, Alparone, Garzelli, Vivone, "Haze correction for contrast-based multispectral
    pansharpening", IEEE GRSL 14(12), 2017. Haze is each band's minimum, and for four bands (blue,
    green, red, near infrared) fixed shares of their 1st percentiles, as in the toolbox.
    """
    smooth = gauss_lowpass(pan, setting.ratio)
    weights = least_squares(lms, smooth)[:, 0]
    haze = _haze(lms)
    intensity = weighted_sum(lms - haze, weights)
    return Modulation(
        pan_mean=mean(smooth),
        pan_gain=quotient(deviation(intensity), deviation(smooth)),
        level=mean(intensity),
        weights=weights,
        haze=haze,
    )


def apply_bt_h(coefficients: Modulation, pan, ms, lms, setting):
    """`max(M_b - haze_b, 0) * P' / I + haze_b`."""
    above = jnp.maximum(lms - coefficients.haze, 0)
    return above * _modulation(coefficients, pan, lms) + coefficients.haze


def _modulation(coefficients: Modulation, pan, lms):
    sharp = coefficients.pan_gain * (pan - coefficients.pan_mean) + coefficients.level
    return sharp / (weighted_sum(lms - coefficients.haze, coefficients.weights) + EPS)


def _haze(lms):
    pixels = lms.reshape(-1, lms.shape[-1])
    if lms.shape[-1] != len(FOUR_BAND_HAZE):
        return pixels.min(axis=0)
    ordered = jnp.sort(pixels, axis=0)
    below, above, fraction = haze_ranks(len(pixels))
    percentile = (1 - fraction) * ordered[below] + fraction * ordered[above]
    return percentile * jnp.asarray(FOUR_BAND_HAZE, lms.dtype)


def haze_ranks(count: int) -> tuple[int, int, float]:
    """The two of `count` sorted values between which the 1st percentile lies, and how far."""
    # Hazen's percentile, as MATLAB's prctile: the k-th smallest of n stands at (k - 0.5) / n.
    position = min(max(0.01 * count - 0.5, 0.0), count - 1.0)
    below = int(position)
    return below, min(below + 1, count - 1), position - below
