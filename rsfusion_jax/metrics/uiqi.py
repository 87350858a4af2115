"""The universal image quality index (UIQI) of Wang and Bovik, over sliding windows or blocks."""

import jax
import jax.numpy as jnp

from rsfusion_jax.metrics.pair import image_mean, metric
from rsfusion_jax.metrics.windows import centre_blocks, distinct_blocks, is_flat, window_moments


@metric
def q(gt, fused, *, window=32, per_band=False):
    """Universal image quality index, mean over windows, then over bands (the toolbox's Q_avg).

    For each band and each window inside the image, with all pixels weighted equally,

        Q = 4 c_xy m_x m_y / ((v_x + v_y) (m_x^2 + m_y^2)).

    Where a factor of the denominator is zero, the MATLAB toolbox's rules apply: two constant
    windows (up to rounding) give 2 m_x m_y / (m_x^2 + m_y^2), and two windows of zero mean give 1.
    The toolbox always uses a window of 32, whatever block size it is called with. Wang, Bovik, IEEE
    SPL 9(3), 2002.

    Range -1 to 1, higher is better, no unit, independent of the images' scale. Identical images
    give 1, constant and zero ones included; a constant against a textured image gives 0.

    Args:
        gt: (H, W, C), at least as large as the window.
        fused: (H, W, C).
        window: side of the window in pixels.
        per_band: return the value of each band, (C,), instead.
    """

    def of_band(pair):
        x, y = (band[..., None] for band in pair)
        return image_mean(quality(*window_moments(x, y, window)))[0]

    # Bands are processed one after the other: the moments of one band fit in the cache, and those
    # of a hundred bands would need much memory.
    value = jax.lax.map(of_band, tuple(jnp.moveaxis(image, -1, 0) for image in (gt, fused)))
    return value if per_band else value.mean()


def quality(mean_x, mean_y, variance_x, variance_y, covariance):
    """Return Q from moments of broadcastable shapes, with the rules of `q` for zero denominators.

    Means, variances and covariance are those of the windows to compare.
    """
    spread = variance_x + variance_y
    power = mean_x**2 + mean_y**2
    flat, dark = is_flat(spread, power), power == 0
    contrast = jnp.where(flat, 1, 2 * covariance / jnp.where(flat, 1, spread))
    luminance = 2 * mean_x * mean_y / jnp.where(dark, 1, power)
    return jnp.where(dark, 1, contrast * luminance)


def block_quality(x, y, block: int):
    """Return the mean over blocks of Q between every band of x and every band of y.

    Args:
        x: (H, W, C).
        y: (H, W, D).
        block: side of the non-overlapping blocks in pixels; incomplete blocks at the bottom and
            right are skipped.

    Returns:
        (C, D).

    Raises:
        UserError: the image is smaller than a block.
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
