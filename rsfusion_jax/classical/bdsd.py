"""Band-dependent spatial detail: detail is regressed on all bands and PAN one scale below.

At the scale of MS the detail is known: what an MS band loses when it is blurred once more. With
M_L and P_L the blurred bands and PAN there, and G the (C + 1, C) weights,

    M - M_L = [M_L, P_L] G        is solved for G at the scale of MS,
    fused   = M + [M, P] G        injects the detail at the scale of PAN.
"""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.arithmetic import mix
from rsfusion_jax.classical.method import MTF_REACH, Method, Step
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, reduce_to


def measure_bdsd(pan, ms, lms, setting):
    """At the scale of MS, [M_L, P_L] (h, w, C + 1) and the detail M - M_L (h, w, C)."""
    reduced = reduce_to(lms, ms.shape[:2])
    low = mtf_filter(reduced, setting.gains, setting.ratio)
    pan_low = decimate(mtf_filter(pan, setting.pan_gain, setting.ratio), setting.ratio)
    return {}, {"low": jnp.concatenate([low, pan_low], axis=-1), "detail": reduced - low}


def estimate_bdsd(fine, coarse, setting):
    """(C + 1, C) minimum-mean-square-error weights G, one set for the whole scene.

    Reference: Garzelli, Nencini, Capobianco, "Optimal MMSE pan sharpening of very high resolution
    multispectral images", IEEE TGRS 46(1), 2008.

    Raises:
        UserError: fewer MS pixels than weights per band.
    """
    _check_pixels("bdsd", coarse["low"])
    return coarse["low"].least_squares(coarse["detail"])


def measure_bdsd_pc(pan, ms, lms, setting):
    """The images of `measure_bdsd`, with the sign of each regressor that its weight must have."""
    fine, coarse = measure_bdsd(pan, ms, lms, setting)
    return fine, coarse | {"low": _signs(ms.shape[-1], ms.dtype) * coarse["low"]}


def estimate_bdsd_pc(fine, coarse, setting):
    """The same under physical constraints: no band's detail falls with PAN or rises with a band.

    Reference: Vivone, "Robust band-dependent spatial-detail approaches for panchromatic
    sharpening", IEEE TGRS 57(9), 2019.

    Raises:
        UserError: fewer MS pixels than weights per band.
    """
    _check_pixels("bdsd_pc", coarse["low"])
    weights = coarse["low"].non_negative_least_squares(coarse["detail"])
    return _signs(weights.shape[1], weights.dtype)[:, None] * weights


def apply_bdsd(coefficients, pan, ms, lms, setting):
    """`M + [M, P] G`."""
    return lms + mix(jnp.concatenate([lms, pan], axis=-1), coefficients)


def _signs(bands: int, dtype) -> np.ndarray:
    """(C + 1,) signs of the weights under physical constraints: negative bands, positive PAN."""
    return np.asarray([-1.0] * bands + [1.0], dtype)


def _check_pixels(name: str, low) -> None:
    size = low.mean.size
    if low.count < size:
        raise UserError(
            f"method {name!r} fits {size} weights to each band, but ms has only {low.count} valid "
            "pixels; give a larger image or fewer bands"
        )


def _method(measure, estimate) -> Method:
    return Method(
        apply_bdsd,
        (Step(measure, estimate),),
        needs_sensor=True,
        needs_pan_gain=True,
        # The reduced bands are blurred over 20 MS pixels to each side and `imresize` reads another
        # 5; PAN is blurred over its own kernel.
        fit_reach=lambda ratio: 25 * ratio + MTF_REACH,
    )


METHODS = {
    "bdsd": _method(measure_bdsd, estimate_bdsd),
    "bdsd_pc": _method(measure_bdsd_pc, estimate_bdsd_pc),
}
