"""Component substitution by adding: an intensity made of the MS bands is exchanged for PAN.

IHS, PCA, GS and GSA are one formula with different weights w and injection gains g:

    fused_b = M_b + g_b * (a (P - mean P) - sum_k w_k (M_k - mean M_k)).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.method import (
    centred,
    covariance,
    deviation,
    least_squares,
    mean,
    products,
    quotient,
    weighted_sum,
)
from rsfusion_jax.ops.mtf import atrous_lowpass
from rsfusion_jax.ops.resample import decimate


class Substitution(NamedTuple):
    """Coefficients of the formula above.

    Attributes:
        pan_mean: (1,) mean of P.
        pan_gain: (1,) a, which matches P to the intensity.
        band_means: (C,) means of M.
        weights: (C,) w, the intensity's weights.
        gains: (C,) g, the injection gains.
    """

    pan_mean: jax.Array
    pan_gain: jax.Array
    band_means: jax.Array
    weights: jax.Array
    gains: jax.Array


def fit_ihs(pan, ms, lms, setting):
    """Generalised IHS: plain band mean, PAN matched to it in mean and deviation, gains of 1.

    Tu, Su, Shyu, Huang, "A new look at IHS-like image fusion methods", Information Fusion 2(3),
    2001.
    """
    ones = jnp.ones(lms.shape[-1], lms.dtype)
    return _matched(pan, lms, ones / ones.size, ones)


def fit_gs(pan, ms, lms, setting):
    """Gram-Schmidt, mode 1: plain band mean, gains cov(I, M_b) / var(I).

    Laben, Brower, US patent 6,011,875, 2000; in the form of Aiazzi, Baronti, Selva, IEEE TGRS
    45(10), 2007.
    """
    weights = jnp.full(lms.shape[-1], 1 / lms.shape[-1], lms.dtype)
    return _matched(pan, lms, weights, _regression_gains(lms, weights))


def fit_pca(pan, ms, lms, setting):
    """Principal components: the first one is exchanged, its loadings are both weights and gains.

    Chavez, Sides, Anderson, "Comparison of three different methods to merge multiresolution and
    multispectral data", PERS 57(3), 1991. The loadings' sign decides which way PAN is put in: the
    largest one is positive, as MATLAB's `pca` has it.
    """
    pixels = centred(lms)
    first = jnp.linalg.eigh(products(pixels, pixels)).eigenvectors[:, -1]
    first = first * jnp.sign(first[jnp.argmax(jnp.abs(first))])
    return _matched(pan, lms, first, first)


def fit_gsa(pan, ms, lms, setting):
    """Gram-Schmidt adaptive: weights by least squares of the reduced PAN on the MS bands.

    Aiazzi, Baronti, Selva, "Improving component substitution pansharpening through multivariate
    regression of MS + Pan data", IEEE TGRS 45(10), 2007. PAN is reduced by the toolbox's a-trous
    low-pass and decimated at the field's phase, so `ms` must have that phase too; it is not
    matched to the intensity.
    """
    reduced = decimate(atrous_lowpass(pan - mean(pan), setting.ratio), setting.ratio)
    # Centred images fit the constant of the regression without a regressor of its own.
    weights = least_squares(centred(ms), centred(reduced))[:, 0]
    return Substitution(
        pan_mean=mean(pan),
        pan_gain=jnp.ones(1, lms.dtype),
        band_means=mean(lms),
        weights=weights,
        gains=_regression_gains(lms, weights),
    )


def apply_substitution(coefficients: Substitution, pan, ms, lms, setting):
    """The formula at the head of this file."""
    sharp = coefficients.pan_gain * (pan - coefficients.pan_mean)
    intensity = weighted_sum(lms - coefficients.band_means, coefficients.weights)
    return lms + coefficients.gains * (sharp - intensity)


def _matched(pan, lms, weights, gains) -> Substitution:
    intensity = weighted_sum(lms, weights)
    return Substitution(
        pan_mean=mean(pan),
        pan_gain=quotient(deviation(intensity), deviation(pan)),
        band_means=mean(lms),
        weights=weights,
        gains=gains,
    )


def _regression_gains(lms, weights):
    """(C,) slopes of the regression of each band on the intensity."""
    intensity = weighted_sum(centred(lms), weights)
    return quotient(covariance(intensity, lms), covariance(intensity, intensity))
