"""Band-dependent spatial detail: detail is regressed on all bands and PAN one scale below.

At the scale of MS the detail is known: what an MS band loses when it is blurred once more.
"""

import jax.numpy as jnp

from rsfusion_jax.classical.method import least_squares, mix
from rsfusion_jax.classical.nnls import non_negative_least_squares
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize


def fit_bdsd(pan, ms, lms, setting):
    """(C + 1, C) minimum-mean-square-error weights of [M, P], one set for the whole scene.

    Garzelli, Nencini, Capobianco, "Optimal MMSE pan sharpening of very high resolution
    multispectral images", IEEE TGRS 46(1), 2008.

    Raises:
        UserError: fewer MS pixels than weights per band.
    """
    _enough_pixels("bdsd", ms)
    regressors, detail = coarse_scale(pan, ms, lms, setting)
    return least_squares(regressors, detail)


def fit_bdsd_pc(pan, ms, lms, setting):
    """The same under physical constraints: no band's detail falls with PAN or rises with a band.

    Vivone, "Robust band-dependent spatial-detail approaches for panchromatic sharpening", IEEE
    TGRS 57(9), 2019.

    Raises:
        UserError: fewer MS pixels than weights per band.
    """
    _enough_pixels("bdsd_pc", ms)
    regressors, detail = coarse_scale(pan, ms, lms, setting)
    signs = jnp.asarray([-1.0] * lms.shape[-1] + [1.0], lms.dtype)
    return signs[:, None] * non_negative_least_squares(signs * regressors, detail)


def apply_bdsd(coefficients, pan, ms, lms, setting):
    """`M + [M, P] G`."""
    return lms + mix(jnp.concatenate([lms, pan], axis=-1), coefficients)


def coarse_scale(pan, ms, lms, setting):
    """Regressors (h, w, C + 1) [M_L, P_L] and detail (h, w, C) M - M_L at the scale of MS."""
    coarse = imresize(lms, ms.shape[:2])
    low = mtf_filter(coarse, setting.gains, setting.ratio)
    pan_low = decimate(mtf_filter(pan, setting.pan_gain, setting.ratio), setting.ratio)
    return jnp.concatenate([low, pan_low], axis=-1), coarse - low


def _enough_pixels(name: str, ms) -> None:
    height, width, bands = ms.shape
    if height * width < bands + 1:
        raise UserError(
            f"method {name!r} fits {bands + 1} weights to each band, but ms has only "
            f"{height}x{width} pixels; give a larger image or fewer bands"
        )
