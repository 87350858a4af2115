"""Component substitution by adding: an intensity made of the MS bands is exchanged for PAN.

IHS, PCA, GS and GSA are one formula with different weights w and injection gains g:

    fused_b = M_b + g_b * (a (P - mean P) - sum_k w_k (M_k - mean M_k)).
"""

from typing import NamedTuple

import jax

from rsfusion_jax.classical.arithmetic import quotient, weighted_sum
from rsfusion_jax.classical.method import Method, Step, measure_images
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


def estimate_ihs(fine, coarse, setting):
    """Generalised IHS: plain band mean, PAN matched to it in mean and deviation, gains of 1.

    Reference: Tu, Su, Shyu, Huang, "A new look at IHS-like image fusion methods", Information
    Fusion 2(3), 2001.
    """
    gains = fine["lms"].xp.ones_like(fine["lms"].mean)
    return _matched(fine, gains / gains.size, gains)


def estimate_gs(fine, coarse, setting):
    """Gram-Schmidt, mode 1: plain band mean, gains cov(I, M_b) / var(I).

    Reference: Laben, Brower, US patent 6,011,875, 2000; in the form of Aiazzi, Baronti, Selva, IEEE
    TGRS 45(10), 2007.
    """
    mean = fine["lms"].mean
    weights = fine["lms"].xp.full_like(mean, 1 / mean.size)
    return _matched(fine, weights, _regression_gains(fine, weights))


def estimate_pca(fine, coarse, setting):
    """Principal components: the first one is exchanged, its loadings are both weights and gains.

    Reference: Chavez, Sides, Anderson, "Comparison of three different methods to merge
    multiresolution and multispectral data", PERS 57(3), 1991. The loadings' sign decides which way
    PAN is put in: the largest one is positive, as MATLAB's `pca` has it.
    """
    xp = fine["lms"].xp
    loadings = xp.linalg.eigh(fine["lms"].covariances).eigenvectors[:, -1]
    loadings = loadings * xp.sign(loadings[xp.argmax(xp.abs(loadings))])
    return _matched(fine, loadings, loadings)


def measure_gsa(pan, ms, lms, setting):
    """Images to measure: on PAN's grid `lms` and `pan`, on the MS grid `ms` and reduced PAN."""
    reduced = decimate(atrous_lowpass(pan, setting.ratio), setting.ratio)
    return {"lms": lms, "pan": pan}, {"ms": ms, "pan": reduced}


def estimate_gsa(fine, coarse, setting):
    """Gram-Schmidt adaptive: weights by least squares of the reduced PAN on the MS bands.

    Reference: Aiazzi, Baronti, Selva, "Improving component substitution pansharpening through
    multivariate regression of MS + Pan data", IEEE TGRS 45(10), 2007. PAN is reduced by
    the a-trous low-pass of the MATLAB toolbox and decimated at phase r // 2, so `ms` must have that
    phase too. PAN is not matched to the intensity.
    """
    weights = coarse["ms"].slopes(coarse["pan"])[:, 0]
    pan_mean = fine["pan"].mean
    return Substitution(
        pan_mean=pan_mean,
        pan_gain=fine["pan"].xp.ones_like(pan_mean),
        band_means=fine["lms"].mean,
        weights=weights,
        gains=_regression_gains(fine, weights),
    )


def apply_substitution(coefficients: Substitution, pan, ms, lms, setting):
    """The formula at the head of this file."""
    sharp = coefficients.pan_gain * (pan - coefficients.pan_mean)
    intensity = weighted_sum(lms - coefficients.band_means, coefficients.weights)
    return lms + coefficients.gains * (sharp - intensity)


def _matched(fine, weights, gains) -> Substitution:
    """Coefficients where PAN is matched to the intensity's mean and deviation."""
    lms, pan = fine["lms"], fine["pan"]
    return Substitution(
        pan_mean=pan.mean,
        pan_gain=quotient((lms @ weights).deviation, pan.deviation),
        band_means=lms.mean,
        weights=weights,
        gains=gains,
    )


def _regression_gains(fine, weights):
    """(C,) slopes of the regression of each band on the intensity."""
    intensity = fine["lms"] @ weights
    return quotient(intensity.covariance(fine["lms"]), intensity.variance)


def _method(measure, estimate, **reach) -> Method:
    return Method(apply_substitution, (Step(measure, estimate),), Substitution, **reach)


METHODS = {
    "gs": _method(measure_images, estimate_gs),
    # The a-trous low-pass runs two binomial filters of 5 taps per octave of the ratio.
    "gsa": _method(measure_gsa, estimate_gsa, fit_reach=lambda ratio: 4 * (ratio - 1).bit_length()),
    "ihs": _method(measure_images, estimate_ihs),
    "pca": _method(measure_images, estimate_pca),
}
