"""Hypersharpening: each band is sharpened by the guide that explains it best.

Where the sharp image has several bands (Sentinel-2's four of 10 m, RGB beside hyperspectral), a
guide is synthesised for every band as the linear combination of the sharp bands that is nearest to
it at its own resolution, and a method for one guide does the rest:

    P_b = sum_k w_kb G_k + w_0b.

Reference: Selva, Aiazzi, Butera, Chiarantini, Baronti, "Hyper-sharpening: a first approach on
SIM-GA data", IEEE JSTARS 8(6), 2015.
"""

from typing import NamedTuple

import jax
import numpy as np

from rsfusion_jax.classical.arithmetic import mix, quotient
from rsfusion_jax.classical.method import MTF_REACH, Method, Step
from rsfusion_jax.ops.mtf import atrous_lowpass, mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23


class Synthesis(NamedTuple):
    """Coefficients of MTF-GLP with synthesised guides.

    Attributes:
        weights: (G, C) w, of every guide band in the guide of every MS band.
    """

    weights: jax.Array


class SynthesisedSubstitution(NamedTuple):
    """Coefficients of GSA with synthesised guides.

    Attributes:
        weights: (G, C) w.
        guide_means: (G,) means of the guide bands.
        band_means: (C,) means of the MS bands.
        intensities: (C, C) weights of the MS bands in the intensity of every band.
        gains: (C,) injection gains.
    """

    weights: jax.Array
    guide_means: jax.Array
    band_means: jax.Array
    intensities: jax.Array
    gains: jax.Array


def measure_glp(pan, ms, lms, setting):
    """On the MS grid `ms`, and the guide bands as seen with each distinct MTF gain."""
    small = [
        decimate(mtf_filter(pan, gain, setting.ratio), setting.ratio)
        for gain in np.unique(setting.gains)
    ]
    return {}, {"ms": ms} | {f"guides{index}": image for index, image in enumerate(small)}


def estimate_glp(fine, coarse, setting):
    """MTF-GLP: the detail of the synthesised guide is added as it is.

    The regression that synthesises the guide is that of MTF-GLP-CBD, so that its gain is 1.
    """
    ms = coarse["ms"]
    _, groups = np.unique(setting.gains, return_inverse=True)
    every = [coarse[f"guides{index}"].slopes(ms) for index in range(max(groups) + 1)]
    columns = [every[group][:, band] for band, group in enumerate(groups)]
    return Synthesis(ms.xp.stack(columns, axis=1))


def apply_glp(coefficients: Synthesis, pan, ms, lms, setting):
    """Each band and the detail that its optics do not show of its guide."""
    guides = mix(pan, coefficients.weights)
    small = decimate(mtf_filter(guides, setting.gains, setting.ratio), setting.ratio)
    return lms + guides - interp23(small, setting.ratio, setting.wrap)


def measure_gsa(pan, ms, lms, setting):
    """`lms` and the guide bands, and on the MS grid `ms` and the reduced guide bands."""
    reduced = decimate(atrous_lowpass(pan, setting.ratio), setting.ratio)
    return {"lms": lms, "guides": pan}, {"ms": ms, "guides": reduced}


def estimate_gsa(fine, coarse, setting):
    """Gram-Schmidt adaptive with an intensity and a guide for every band."""
    weights = coarse["guides"].slopes(coarse["ms"])
    intensities = coarse["ms"].slopes(coarse["guides"] @ weights)
    lms = fine["lms"]
    intensity = lms @ intensities
    return SynthesisedSubstitution(
        weights=weights,
        guide_means=fine["guides"].mean,
        band_means=lms.mean,
        intensities=intensities,
        gains=quotient(intensity.covariance(lms), intensity.variance),
    )


def apply_gsa(coefficients: SynthesisedSubstitution, pan, ms, lms, setting):
    """Each band's intensity is exchanged for its guide."""
    sharp = mix(pan - coefficients.guide_means, coefficients.weights)
    intensity = mix(lms - coefficients.band_means, coefficients.intensities)
    return lms + coefficients.gains * (sharp - intensity)


def _glp_reach(ratio: int) -> int:
    return MTF_REACH + 10 * ratio


METHODS = {
    "hyper_glp": Method(
        apply_glp,
        (Step(measure_glp, estimate_glp),),
        Synthesis,
        needs_sensor=True,
        takes_guides=True,
        fit_reach=lambda ratio: MTF_REACH,
        apply_reach=_glp_reach,
    ),
    "hyper_gsa": Method(
        apply_gsa,
        (Step(measure_gsa, estimate_gsa),),
        SynthesisedSubstitution,
        takes_guides=True,
        fit_reach=lambda ratio: 4 * (ratio - 1).bit_length(),
    ),
}
