"""Multiresolution analysis with filters that know nothing of the sensor: SFIM, HPF, AWLP, MF-HG.

PAN's detail, PAN minus its own low-pass or PAN over it, is put into each band.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import EPS, quotient
from rsfusion_jax.classical.method import Method, Step, measure_images
from rsfusion_jax.ops.mtf import atrous_lowpass
from rsfusion_jax.ops.resample import imresize


class MatchedPan(NamedTuple):
    """PAN matched to each band: P_b = gain_b (P - pan_mean) + band_mean_b.

    Attributes:
        pan_mean: (1,).
        gains: (C,) std(M_b) over PAN's deviation.
        band_means: (C,).
    """

    pan_mean: jax.Array
    gains: jax.Array
    band_means: jax.Array


def estimate_matched_pan(fine, coarse, setting):
    """SFIM, HPF and MF-HG: PAN matched to the mean and deviation of each band."""
    lms, pan = fine["lms"], fine["pan"]
    return MatchedPan(pan.mean, quotient(lms.deviation, pan.deviation), lms.mean)


def measure_awlp(pan, ms, lms, setting):
    """`lms`, `pan`, and PAN reduced and enlarged by `imresize`, which is as sharp as MS."""
    smooth = imresize(imresize(pan, ms.shape[:2]), pan.shape[:2])
    return {"lms": lms, "pan": pan, "smooth": smooth}, {}


def estimate_awlp(fine, coarse, setting):
    """AWLP: the same, with the deviation of the smooth PAN; see `apply_awlp`."""
    lms, pan, smooth = fine["lms"], fine["pan"], fine["smooth"]
    return MatchedPan(pan.mean, quotient(lms.deviation, smooth.deviation), lms.mean)


def apply_sfim(coefficients: MatchedPan, pan, ms, lms, setting):
    """Smoothing-filter-based intensity modulation (SFIM): `M_b * P_b / box(P_b)`.

    The box has `ratio + 1` pixels a side, `ratio` where that is odd already; borders replicated.

    Reference: Liu, "Smoothing filter-based intensity modulation: a spectral preserve image fusion
    technique for improving spatial details", IJRS 21(18), 2000.
    """
    return _modulate(coefficients, pan, _box(pan, setting.ratio), lms)


def apply_hpf(coefficients: MatchedPan, pan, ms, lms, setting):
    """High-pass filtering (HPF): `M_b + P_b - box(P_b)`, the box of SFIM.

    Reference: Chavez, Sides, Anderson, "Comparison of three different methods to merge
    multiresolution and multispectral data", PERS 57(3), 1991.
    """
    return lms + coefficients.gains * (pan - _box(pan, setting.ratio))


def apply_awlp(coefficients: MatchedPan, pan, ms, lms, setting):
    """Additive wavelet luminance proportional (AWLP): detail in proportion to the bands.

    `M_b + (P_b - lowpass(P_b)) * M_b / mean_k(M_k)`.

    Reference: Otazu, Gonzalez-Audicana, Fors, Nunez, "Introduction of sensor spectral response into
    image fusion methods", IEEE TGRS 43(10), 2005; matched as in Vivone, Alparone, Garzelli, Lolli,
    "Fast reproducible pansharpening based on instrument and acquisition modeling: AWLP revisited",
    Remote Sensing 11(19), 2019.
    """
    detail = coefficients.gains * (pan - atrous_lowpass(pan, setting.ratio))
    return lms + detail * lms / (lms.mean(axis=-1, keepdims=True) + EPS)


def apply_mf_hg(coefficients: MatchedPan, pan, ms, lms, setting):
    """Morphological filters with half gradients (MF-HG): `M_b * P_b / pyramid(P_b)`.

    Each of the ceil(log2 r) levels of the pyramid averages dilation and erosion and keeps every
    second pixel; bilinear steps lead back.

    Reference: Restaino, Vivone, Dalla Mura, Chanussot, "Fusion of multispectral and panchromatic
    images based on morphological operators", IEEE TIP 25(6), 2016.
    """
    # Dilation and erosion commute with increasing maps: one pyramid serves every band.
    return _modulate(coefficients, pan, _morphological_lowpass(pan, setting.ratio), lms)


def _modulate(coefficients: MatchedPan, pan, smooth, lms):
    matched, smooth = (
        coefficients.gains * (image - coefficients.pan_mean) + coefficients.band_means
        for image in (pan, smooth)
    )
    return lms * matched / (smooth + EPS)


def _box(image, ratio: int):
    """Mean over the odd one of r x r and (r + 1) x (r + 1) pixels of (H, W, C)."""
    size = ratio + 1 - ratio % 2
    reach = size // 2
    height, width = image.shape[:2]
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    rows = sum(padded[k : k + height] for k in range(size))
    return sum(rows[:, k : k + width] for k in range(size)) / size**2


def _morphological_lowpass(image, ratio: int):
    sizes = []
    for level in range(_levels(ratio)):
        sizes.append(image.shape[:2])
        start = 1 if level == 0 else 0
        image = (_extremum(image, jnp.maximum) + _extremum(image, jnp.minimum)) / 2
        image = image[start::2, start::2]
    for size in reversed(sizes):
        image = imresize(image, size, "bilinear")
    return image


def _extremum(image, choose):
    """Largest or smallest of each pixel and its four neighbours; (H, W, C)."""
    # A repeated edge pixel is part of its own cross already: nothing new enters at the border.
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = choose(padded[:-2, 1:-1], padded[2:, 1:-1])
    columns = choose(padded[1:-1, :-2], padded[1:-1, 2:])
    return choose(image, choose(rows, columns))


def _levels(ratio: int) -> int:
    """Octaves of the ratio: ceil(log2 r)."""
    return (ratio - 1).bit_length()


_MATCHED_PAN = (Step(measure_images, estimate_matched_pan),)

METHODS = {
    "awlp": Method(
        apply_awlp,
        (Step(measure_awlp, estimate_awlp),),
        MatchedPan,
        fit_reach=lambda ratio: 5 * ratio,
        # The a-trous low-pass runs two binomial filters of 5 taps per octave.
        apply_reach=lambda ratio: 4 * _levels(ratio),
    ),
    "hpf": Method(apply_hpf, _MATCHED_PAN, MatchedPan, apply_reach=lambda ratio: ratio // 2 + 1),
    "mf_hg": Method(
        apply_mf_hg,
        _MATCHED_PAN,
        MatchedPan,
        apply_reach=lambda ratio: 4 * 2 ** _levels(ratio),
        # The pyramid keeps every second pixel: a tile must keep those of the whole image.
        align=lambda ratio: math.lcm(ratio, 2 ** _levels(ratio)),
    ),
    "sfim": Method(apply_sfim, _MATCHED_PAN, MatchedPan, apply_reach=lambda ratio: ratio // 2 + 1),
}
