"""PRACS: partial replacement adaptive component substitution.

Choi, Yu, Kim, "A new adaptive component-substitution-based satellite image fusion by using partial
replacement", IEEE TGRS 49(1), 2011.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.method import (
    centred,
    correlation,
    deviation,
    least_squares,
    mean,
    mix,
    quotient,
)
from rsfusion_jax.ops.resample import imresize

BETA = 0.95  # share of the detail that is put in


class Pracs(NamedTuple):
    """Coefficients of `apply_pracs`, in the paper's order.

    Attributes:
        pan_mean: (1,) mean of P.
        band_means: (C,) means of M.
        band_gains: (C,) that match M to PAN: h_b = max(band_gain_b (M_b - mean) + pan_mean, 0).
        matched_means: (C,) means of h.
        shares: (C,) of PAN in the partial component I_H = share_b P + (1 - share_b) h_b.
        weights: (C, C): the low-pass of I_Hb is sum_k weights_kb (h_k - mean h_k) + level_b.
        level: (C,).
        strengths: (C,) w_b.
        likeness: (C,) correlation of the intensity with M_b, in the local factor.
    """

    pan_mean: jax.Array
    band_means: jax.Array
    band_gains: jax.Array
    matched_means: jax.Array
    shares: jax.Array
    weights: jax.Array
    level: jax.Array
    strengths: jax.Array
    likeness: jax.Array


def fit_pracs(pan, ms, lms, setting):
    """Two regressions on the matched bands and the correlations that weight the detail."""
    coarse, fine = ms.shape[:2], pan.shape[:2]
    pan_mean, band_means, band_gains = (
        mean(pan),
        mean(lms),
        quotient(deviation(pan), deviation(lms)),
    )
    matched = match_bands(lms, band_means, band_gains, pan_mean)
    images = jnp.concatenate([pan, matched], axis=-1)
    smooth = imresize(imresize(images, coarse), fine)
    # One factorisation: regressions of PAN's and of every matched band's low-pass. Those of the
    # partial components follow, as these are sums of both.
    pixels = centred(matched)
    slopes = least_squares(pixels, centred(smooth))
    intensity = mix(pixels, slopes[:, :1]) + mean(smooth)[:1]
    shares = correlation(intensity, matched)
    weights = shares * slopes[:, :1] + (1 - shares) * slopes[:, 1:]
    level = shares * mean(smooth)[:1] + (1 - shares) * mean(smooth)[1:]
    low = mix(pixels, weights) + level
    return Pracs(
        pan_mean=pan_mean,
        band_means=band_means,
        band_gains=band_gains,
        matched_means=mean(matched),
        shares=shares,
        weights=weights,
        level=level,
        strengths=BETA * correlation(low, lms) * quotient(deviation(lms), deviation(lms).mean()),
        likeness=correlation(intensity, lms),
    )


def apply_pracs(coefficients: Pracs, pan, ms, lms, setting):
    """`M_b + w_b L_b (I_Hb - I_Lb)`, L_b = 1 - |1 - likeness_b M_b / I_Lb| lowering instability."""
    c = coefficients
    matched = match_bands(lms, c.band_means, c.band_gains, c.pan_mean)
    low_detail = mix(matched - c.matched_means, c.weights)
    high_detail = c.shares * (pan - c.pan_mean) + (1 - c.shares) * (matched - c.matched_means)
    local = 1 - jnp.abs(1 - c.likeness * quotient(lms, low_detail + c.level))
    return lms + c.strengths * local * (high_detail - low_detail)


def match_bands(lms, band_means, band_gains, pan_mean):
    """(H, W, C): bands of `lms` in the mean and deviation of PAN, never negative."""
    return jnp.maximum(band_gains * (lms - band_means) + pan_mean, 0)
