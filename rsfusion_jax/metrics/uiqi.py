"""The universal image quality index of Wang and Bovik: sliding windows, and pairs of bands."""

import jax
import jax.numpy as jnp

from rsfusion_jax.metrics.pair import image_mean, metric
from rsfusion_jax.metrics.windows import centre_blocks, distinct_blocks, is_flat, window_moments


@metric
def q(gt, fused, *, window=32, per_band=False):
    """Universal image quality index, mean over windows, then over bands (the toolbox's Q_avg).

    Per band and window position inside the image, all pixels weighing the same,

        Q = 4 c_xy m_x m_y / ((v_x + v_y) (m_x^2 + m_y^2)).

    Where a denominator vanishes the MATLAB toolbox's rules hold: both windows flat (to rounding)
    leave 2 m_x m_y / (m_x^2 + m_y^2), and both means zero give 1. Its window is 32 whatever block
    it is asked for. Wang, Bovik, IEEE SPL 9(3), 2002.

    Range -1 to 1, higher is better, no unit, free of scale. Identical images give 1, constant and
    zero ones included; a constant against a textured image gives 0.

    Args:
        gt: (H, W, C), at least one window large.
        fused: (H, W, C).
        window: side of the window in pixels.
        per_band: return the value of each band, (C,), instead.
    """

    def of_band(pair):
        x, y = (band[..., None] for band in pair)
        return image_mean(quality(*window_moments(x, y, window)))[0]

    # One band after the other: the moments of one stay in the cache, those of a hundred in memory.
    value = jax.lax.map(of_band, tuple(jnp.moveaxis(image, -1, 0) for image in (gt, fused)))
    return value if per_band else value.mean()


def quality(mean_x, mean_y, variance_x, variance_y, covariance):
    """Q of moments, any shapes that broadcast, with the zero rules told in `q`."""
    spread = variance_x + variance_y
    power = mean_x**2 + mean_y**2
    flat, dark = is_flat(spread, power), power == 0
    contrast = jnp.where(flat, 1, 2 * covariance / jnp.where(flat, 1, spread))
    luminance = 2 * mean_x * mean_y / jnp.where(dark, 1, power)
    return jnp.where(dark, 1, contrast * luminance)


def block_quality(x, y, block: int):
    """(C, D) mean over blocks of Q between every band of x (H, W, C) and of y (H, W, D).

    Blocks lie side by side; incomplete ones at the bottom and right are left out.
    """
    (mean_x, rest_x), (mean_y, rest_y) = (
        centre_blocks(distinct_blocks(image, block)) for image in (x, y)
    )
    covariance = jnp.einsum(
        "bpi,bpj->bij", rest_x / block**2, rest_y, precision=jax.lax.Precision.HIGHEST
    )
    variance_x, variance_y = ((rest**2).mean(axis=1) for rest in (rest_x, rest_y))
    return quality(
        mean_x.transpose(0, 2, 1), mean_y, variance_x[:, :, None], variance_y[:, None], covariance
    ).mean(axis=0)
