"""Statistical metrics against a ground truth: correlation coefficient and RMSE."""

import jax.numpy as jnp

from rsfusion_jax.metrics.pair import image_mean, metric


@metric
def cc(gt, fused, *, per_band=False):
    """Pearson's correlation coefficient over all pixels of a band, averaged over bands.

    `mean_b cov(gt_b, fused_b) / (std(gt_b) std(fused_b))`, the mean of MATLAB's corr2 over bands.
    The correlation over all pixels and bands at once would be higher where bands differ in
    brightness.

    Range -1 to 1, higher is better, no unit, independent of gain and offset of a band. Identical
    images give 1; a constant or zero band in either image gives NaN, since its correlation is
    undefined.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        per_band: return the value of each band, (C,), instead.
    """
    x, y = (_centred(image) for image in (gt, fused))
    power_x, power_y, product = (image_mean(z) for z in (x * x, y * y, x * y))
    value = product / jnp.sqrt(power_x) / jnp.sqrt(power_y)
    return value if per_band else value.mean()


@metric
def rmse(gt, fused, *, per_band=False, where=None):
    """Root mean square error over all pixels and bands together, in the images' units.

    `sqrt(mean((gt - fused)^2))`, the root of the mean over bands. The mean of the bands' RMSE would
    be lower.

    Range 0 to infinity, lower is better; 0 only for identical images, constant and zero ones
    included.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        per_band: return the value of each band, (C,), instead.
        where: (H, W, 1) mask, 1 at the pixels to include; all by default.
    """
    error = image_mean((gt - fused) ** 2, where)
    return jnp.sqrt(error if per_band else error.mean())


def _centred(image):
    """Return the deviation from the band mean, exactly zero where a band is constant."""
    image = image - image[:1, :1]
    return image - image_mean(image)
