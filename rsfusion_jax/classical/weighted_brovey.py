"""The weighted Brovey transform as GDAL's `gdal_pansharpen` computes it, with equal weights."""

import jax.numpy as jnp

from rsfusion_jax.classical.arithmetic import quotient
from rsfusion_jax.classical.method import Method
from rsfusion_jax.ops.resample import imresize_in_zeros


def apply_weighted_brovey(coefficients, pan, ms, lms, setting):
    """`U_b * P / mean_k(U_k)`, and 0 where the mean is 0.

    U is GDAL's own enlargement of `ms`, never `lms`: cubic (a = -0.5) at the area-aligned phase
    `r i + (r - 1) / 2`, which is where pixel-is-area rasters with a common corner have it.
    """
    enlarged = _enlarge(ms, setting.ratio)
    return quotient(enlarged * pan, enlarged.mean(axis=-1, keepdims=True))


def _enlarge(image, ratio: int):
    """(r h, r w, C); at borders GDAL uses the taps inside the image and lets them sum to one."""
    inside = jnp.ones_like(image[..., :1])
    return imresize_in_zeros(image, ratio) / imresize_in_zeros(inside, ratio)


METHODS = {
    "weighted_brovey": Method(
        apply_weighted_brovey,
        apply_reach=lambda ratio: 3 * ratio,
        phase=lambda ratio: (ratio - 1) / 2,
    ),
}
