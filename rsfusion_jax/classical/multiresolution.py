"""Multiresolution analysis: PAN's detail, PAN minus its own low-pass, is put into each band."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.method import EPS, deviation, mean, quotient


class MatchedPan(NamedTuple):
    """PAN matched to each band: P_b = gain_b (P - pan_mean) + band_mean_b.

    Attributes:
        pan_mean: (1,).
        gains: (C,) std(M_b) / std(P).
        band_means: (C,).
    """

    pan_mean: jax.Array
    gains: jax.Array
    band_means: jax.Array


def fit_matched_pan(pan, ms, lms, *, ratio, gains=None):
    """Mean and deviation of PAN and of each band."""
    del ms, ratio, gains
    return MatchedPan(mean(pan), quotient(deviation(lms), deviation(pan)), mean(lms))


def apply_sfim(coefficients: MatchedPan, pan, ms, lms, *, ratio, gains=None):
    """Smoothing-filter-based intensity modulation: `M_b * P_b / box(P_b)`.

    Liu, "Smoothing filter-based intensity modulation", IJRS 21(18), 2000. The box has `ratio + 1`
    pixels a side, `ratio` where that is odd already; borders replicated.
    """
    del ms, gains
    matched, smooth = (
        coefficients.gains * (image - coefficients.pan_mean) + coefficients.band_means
        for image in (pan, _box(pan, ratio + 1 - ratio % 2))
    )
    return lms * matched / (smooth + EPS)


def _box(image, size: int):
    """Mean over size x size pixels of (H, W, C), size odd; borders replicated."""
    reach = size // 2
    height, width = image.shape[:2]
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    rows = sum(padded[k : k + height] for k in range(size))
    return sum(rows[:, k : k + width] for k in range(size)) / size**2
