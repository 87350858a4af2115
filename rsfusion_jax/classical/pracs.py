"""PRACS: partial replacement adaptive component substitution.

Choi, Yu, Kim, "A new adaptive component-substitution-based satellite image fusion by using partial
replacement", IEEE TGRS 49(1), 2011.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import mix, quotient
from rsfusion_jax.classical.method import Method, Step, measure_images
from rsfusion_jax.ops.resample import imresize

BETA = 0.95  # share of the detail that is put in


class Matching(NamedTuple):
    """Matches bands to PAN in mean and deviation: h_b = max(gain_b (M_b - mean M_b) + mean P, 0).

    Attributes:
        pan_mean: (1,) mean of P.
        band_means: (C,) means of M.
        band_gains: (C,).
    """

    pan_mean: jax.Array
    band_means: jax.Array
    band_gains: jax.Array


class Pracs(NamedTuple):
    """Coefficients of `apply_pracs`, in the paper's order.

    Attributes:
        pan_mean, band_means, band_gains: of the `Matching` that gives the matched bands h.
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


def estimate_matching(fine, coarse, setting):
    """The first step: what matches the bands to PAN."""
    lms, pan = fine["lms"], fine["pan"]
    return Matching(pan.mean, lms.mean, quotient(pan.deviation, lms.deviation))


def measure_matched(pan, ms, lms, setting, matching: Matching):
    """`lms`, the matched bands, and the low-pass of PAN followed by those of the matched bands."""
    matched = match_bands(lms, matching)
    images = jnp.concatenate([pan, matched], axis=-1)
    smooth = imresize(imresize(images, ms.shape[:2]), pan.shape[:2])
    return {"lms": lms, "matched": matched, "smooth": smooth}, {}


def estimate_pracs(fine, coarse, setting, matching: Matching):
    """The second step: regressions on the matched bands, and correlations that weight the detail.

    Reference: the paper at the head of this file.
    """
    lms, matched, smooth = fine["lms"], fine["matched"], fine["smooth"]
    # One factorisation: regressions of PAN's and of every matched band's low-pass. Those of the
    # partial components follow, as these are sums of both.
    slopes = matched.slopes(smooth)
    intensity = matched @ slopes[:, :1]
    shares = intensity.correlation(matched)
    weights = shares * slopes[:, :1] + (1 - shares) * slopes[:, 1:]
    level = shares * smooth.mean[:1] + (1 - shares) * smooth.mean[1:]
    relative = quotient(lms.deviation, lms.deviation.mean())
    return Pracs(
        *matching,
        matched_means=matched.mean,
        shares=shares,
        weights=weights,
        level=level,
        strengths=BETA * (matched @ weights).correlation(lms) * relative,
        likeness=intensity.correlation(lms),
    )


def apply_pracs(coefficients: Pracs, pan, ms, lms, setting):
    """`M_b + w_b L_b (I_Hb - I_Lb)`, L_b = 1 - |1 - likeness_b M_b / I_Lb| lowering instability."""
    c = coefficients
    matched = match_bands(lms, Matching(c.pan_mean, c.band_means, c.band_gains))
    low_detail = mix(matched - c.matched_means, c.weights)
    high_detail = c.shares * (pan - c.pan_mean) + (1 - c.shares) * (matched - c.matched_means)
    local = 1 - jnp.abs(1 - c.likeness * quotient(lms, low_detail + c.level))
    return lms + c.strengths * local * (high_detail - low_detail)


def match_bands(lms, matching: Matching):
    """(H, W, C): bands of `lms` in the mean and deviation of PAN, never negative."""
    matched = matching.band_gains * (lms - matching.band_means) + matching.pan_mean
    return jnp.maximum(matched, 0)


METHODS = {
    "pracs": Method(
        apply_pracs,
        (Step(measure_images, estimate_matching), Step(measure_matched, estimate_pracs)),
        Pracs,
        fit_reach=lambda ratio: 5 * ratio,
    ),
}
