"""Fitting a classical method to a scene that is never in memory as a whole.

The counterpart of each method's `fit`: features that are local (measured tile by tile, on the PAN
grid and on the MS grid), and coefficients that follow from their sums over all valid pixels. Every
record also says how far around a pixel `measure` and the method's `apply` look.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from rsfusion_jax.classical import fits
from rsfusion_jax.classical.gather import Histogram, Percentile, Pixels
from rsfusion_jax.classical.modulation import FOUR_BAND_HAZE
from rsfusion_jax.classical.moments import Moments

_MTF_REACH = 20  # of the kernels' 41 taps


@dataclasses.dataclass(frozen=True)
class Pass:
    """One reading of the scene.

    Attributes:
        measure: `(coefficients so far, pan, ms, lms, setting)` -> features (H, W, F) on the PAN
            grid and (h, w, K) on the MS grid; either may be None.
        conclude: `(coefficients so far, fine, coarse, setting)` -> coefficients, where `fine` and
            `coarse` are what `gather` made of the features.
        gather: what is kept of them: `Moments`, or another class with `add`, called with the
            number of features and the coefficients so far.
    """

    measure: Callable[..., Any]
    conclude: Callable[..., Any]
    gather: Callable[..., Any] = lambda size, so_far: Moments(size)


@dataclasses.dataclass(frozen=True)
class Streamed:
    """How a method is fitted and applied tile by tile.

    Attributes:
        passes: over a scene of so many bands; none where nothing is fitted.
        fit_reach: PAN pixels around a pixel that `measure` sees, as a function of the ratio.
        apply_reach: the same of the method's `apply`.
        align: tiles begin at multiples of it.
        phase: PAN index of MS pixel 0's centre that the method works at.
        bytes_per_pixel: what a pass keeps of every PAN pixel: then the scene is limited by memory.
    """

    passes: Callable[[int], tuple[Pass, ...]] = lambda bands: ()
    fit_reach: Callable[[int], int] = lambda ratio: 0
    apply_reach: Callable[[int], int] = lambda ratio: 0
    align: Callable[[int], int] = lambda ratio: ratio
    phase: Callable[[int], float] = lambda ratio: ratio // 2
    bytes_per_pixel: Callable[[int], int] = lambda bands: 0


def _bt_h_passes(bands: int) -> tuple[Pass, ...]:
    if bands != len(FOUR_BAND_HAZE):
        return (Pass(fits.with_gauss, fits.fit_bt_h_by_minimum),)
    return (
        Pass(fits.with_gauss, fits.keep),
        Pass(fits.bands_alone, fits.keep_both, Histogram),
        Pass(fits.bands_alone, fits.fit_bt_h_by_percentile, Percentile),
    )


def _always(*passes: Pass):
    return lambda bands: passes


_ONE = _always(Pass(fits.bands_and_pan, fits.fit_matched_pan))
_GLP_REACH = {
    "fit_reach": lambda ratio: _MTF_REACH + 10 * ratio,
    "apply_reach": lambda ratio: _MTF_REACH + 10 * ratio,
}


def _levels(ratio: int) -> int:
    return (ratio - 1).bit_length()


STREAMED = {
    "awlp": Streamed(
        _always(Pass(fits.with_resized, fits.fit_awlp)),
        fit_reach=lambda ratio: 5 * ratio,
        apply_reach=lambda ratio: 4 * _levels(ratio),
    ),
    "bdsd": Streamed(
        _always(Pass(fits.detail, fits.fit_bdsd)), fit_reach=lambda ratio: 25 * ratio + _MTF_REACH
    ),
    "bdsd_pc": Streamed(
        _always(Pass(fits.detail, fits.fit_bdsd_pc)),
        fit_reach=lambda ratio: 25 * ratio + _MTF_REACH,
    ),
    "brovey": Streamed(_always(Pass(fits.bands_and_pan, fits.fit_brovey))),
    "bt_h": Streamed(_bt_h_passes, fit_reach=lambda ratio: _MTF_REACH),
    "c_gsa": Streamed(
        _always(
            Pass(fits.with_reduced, fits.fit_intensity),
            Pass(fits.bands_alone, fits.fit_c_gsa, Pixels),
        ),
        fit_reach=lambda ratio: _MTF_REACH,
        bytes_per_pixel=lambda bands: 4 * (6 * bands + 12),
    ),
    "exp": Streamed(),
    "gs": Streamed(_always(Pass(fits.bands_and_pan, fits.fit_gs))),
    "gsa": Streamed(
        _always(Pass(fits.with_atrous, fits.fit_gsa)), fit_reach=lambda ratio: 4 * _levels(ratio)
    ),
    "hpf": Streamed(_ONE, apply_reach=lambda ratio: ratio // 2 + 1),
    "ihs": Streamed(_always(Pass(fits.bands_and_pan, fits.fit_ihs))),
    "mf_hg": Streamed(
        _ONE,
        apply_reach=lambda ratio: 4 * 2 ** _levels(ratio),
        align=lambda ratio: math.lcm(ratio, 2 ** _levels(ratio)),
    ),
    "mtf_glp": Streamed(_always(Pass(fits.with_pan_and_gauss, fits.fit_mtf_glp)), **_GLP_REACH),
    "mtf_glp_cbd": Streamed(_always(Pass(fits.with_lowpass, fits.fit_cbd)), **_GLP_REACH),
    "mtf_glp_fs": Streamed(_always(Pass(fits.with_lowpass, fits.fit_fs)), **_GLP_REACH),
    "mtf_glp_hpm": Streamed(_always(Pass(fits.with_pan_and_gauss, fits.fit_mtf_glp)), **_GLP_REACH),
    "mtf_glp_hpm_r": Streamed(_always(Pass(fits.with_lowpass, fits.fit_hpm_r)), **_GLP_REACH),
    "pca": Streamed(_always(Pass(fits.bands_and_pan, fits.fit_pca))),
    "pracs": Streamed(
        _always(
            Pass(fits.bands_and_pan, fits.fit_pracs_matching),
            Pass(fits.pracs_images, fits.fit_pracs),
        ),
        fit_reach=lambda ratio: 5 * ratio,
    ),
    "sfim": Streamed(_ONE, apply_reach=lambda ratio: ratio // 2 + 1),
    "weighted_brovey": Streamed(
        apply_reach=lambda ratio: 3 * ratio, phase=lambda ratio: (ratio - 1) / 2
    ),
}
"""Every method of the registry, by name."""
