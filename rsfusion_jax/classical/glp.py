"""Generalised Laplacian pyramids: multiresolution analysis with the sensor's own MTF.

PAN's low-pass P_L is what the MS band's optics would have seen: blurred by the band's MTF,
decimated at the field's phase and enlarged again. Aiazzi, Alparone, Baronti, Garzelli, Selva,
"MTF-tailored multiscale fusion of high-resolution MS and Pan imagery", PERS 72(5), 2006. The
methods differ in how the detail is weighted; two formulas serve all of them:

    additive:        fused_b = M_b + (g_b P + level_b) - (g_b P_Lb + low_level_b)
    multiplicative:  fused_b = M_b * (g_b P + level_b) / (g_b P_Lb + low_level_b).

The toolbox's kernels sum to a little less than one and are not renormalised here either, so a
constant PAN keeps a detail of 0.1 to 0.2 % of its value.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.arithmetic import EPS, quotient
from rsfusion_jax.classical.method import MTF_REACH, Method, Setting, Step
from rsfusion_jax.ops.mtf import gauss_lowpass, mtf_filter, mtf_kernel
from rsfusion_jax.ops.resample import decimate, interp23


class Injection(NamedTuple):
    """Coefficients of the formulas above.

    Attributes:
        gains: (C,) g.
        level: (C,) added to g P.
        low_level: (C,) added to g P_L.
    """

    gains: jax.Array
    level: jax.Array
    low_level: jax.Array


def measure_gauss(pan, ms, lms, setting):
    """`lms`, `pan` and its Gaussian low-pass."""
    return {"lms": lms, "pan": pan, "smooth": gauss_lowpass(pan, setting.ratio)}, {}


def estimate_matched(fine, coarse, setting):
    """MTF-GLP and its HPM form: PAN matched to each band by its Gaussian low-pass's deviation.

    Reference: the paper at the head of this file; for HPM Aiazzi, Alparone, Baronti, Garzelli,
    Selva, "An MTF-based spectral distortion minimizing model for pan-sharpening of very high
    resolution multispectral images of urban areas", GRSS/ISPRS Workshop on Remote Sensing and Data
    Fusion over Urban Areas, 2003.
    """
    gains = quotient(fine["lms"].deviation, fine["smooth"].deviation)
    level = fine["lms"].mean - gains * fine["pan"].mean
    # P_L is taken of the matched PAN, constant included, and the kernels do not sum to one.
    sums = [mtf_kernel(gain, setting.ratio).sum() for gain in setting.gains]
    return Injection(gains, level, level * np.asarray(sums, level.dtype))


def measure_lowpass(pan, ms, lms, setting):
    """`lms`, `pan` and P_L of every band."""
    return {"lms": lms, "pan": pan, "low": lowpass(pan, setting)}, {}


def estimate_hpm_r(fine, coarse, setting):
    """MTF-GLP-HPM-R: the matching is each band's regression on P_L.

    Reference: Vivone, Restaino, Chanussot, "A regression-based high-pass modulation pansharpening
    approach", IEEE TGRS 56(2), 2018.
    """
    gains = quotient(fine["lms"].covariance(fine["low"]), fine["low"].variance)
    level = fine["lms"].mean - gains * fine["pan"].mean
    return Injection(gains, level, level)


def estimate_fs(fine, coarse, setting):
    """MTF-GLP-FS: full-scale regression, gains cov(M_b, P) / cov(P_L, P).

    Reference: Vivone, Restaino, Chanussot, "Full scale regression-based injection coefficients for
    panchromatic sharpening", IEEE TIP 27(7), 2018.
    """
    pan = fine["pan"]
    gains = quotient(fine["lms"].covariance(pan), fine["low"].covariance(pan))
    return _without_levels(pan.xp, gains)


def estimate_cbd(fine, coarse, setting):
    """MTF-GLP-CBD with one gain per band, cov(M_b, P_L) / var(P_L): the toolbox's GS2_GLP.

    Reference: Alparone, Wald, Chanussot, Thomas, Gamba, Bruce, "Comparison of pansharpening
    algorithms: outcome of the 2006 GRS-S data fusion contest", IEEE TGRS 45(10), 2007.
    """
    low = fine["low"]
    gains = quotient(fine["lms"].covariance(low), low.variance)
    return _without_levels(low.xp, gains)


def _without_levels(xp, gains) -> Injection:
    return Injection(gains, xp.zeros_like(gains), xp.zeros_like(gains))


def apply_additive(coefficients: Injection, pan, ms, lms, setting):
    """The additive formula."""
    matched, low = _matched(coefficients, pan, setting)
    return lms + (matched - low)


def apply_multiplicative(coefficients: Injection, pan, ms, lms, setting):
    """The multiplicative formula: high-pass modulation."""
    matched, low = _matched(coefficients, pan, setting)
    return lms * matched / (low + EPS)


def lowpass(pan, setting: Setting):
    """(H, W, C): PAN (H, W, 1) as each MS band's optics and the enlargement show it."""
    # Bands of one gain share one low-pass: a hundred of them need no hundred filters.
    gains, band = np.unique(setting.gains, return_inverse=True)
    copies = jnp.broadcast_to(pan, (*pan.shape[:2], len(gains)))
    small = decimate(mtf_filter(copies, gains, setting.ratio), setting.ratio)
    return interp23(small, setting.ratio, setting.wrap)[..., band]


def _matched(coefficients: Injection, pan, setting):
    return (
        coefficients.gains * pan + coefficients.level,
        coefficients.gains * lowpass(pan, setting) + coefficients.low_level,
    )


def _reach(ratio: int) -> int:
    """PAN pixels to each side that P_L sees: the MTF kernel's, and those of the enlargement."""
    return MTF_REACH + 10 * ratio


def _method(measure, estimate, apply) -> Method:
    steps = (Step(measure, estimate),)
    return Method(apply, steps, Injection, needs_sensor=True, fit_reach=_reach, apply_reach=_reach)


METHODS = {
    "mtf_glp": _method(measure_gauss, estimate_matched, apply_additive),
    "mtf_glp_cbd": _method(measure_lowpass, estimate_cbd, apply_additive),
    "mtf_glp_fs": _method(measure_lowpass, estimate_fs, apply_additive),
    "mtf_glp_hpm": _method(measure_gauss, estimate_matched, apply_multiplicative),
    "mtf_glp_hpm_r": _method(measure_lowpass, estimate_hpm_r, apply_multiplicative),
}
