"""Structural similarity (SSIM), in the two forms that pansharpening programs report."""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.pair import image_mean, metric

_WINDOW = 11


@metric
def ssim(gt, fused, *, data_range, per_band=False, zero_padding=False, where=None):
    """Structural similarity with an 11x11 Gaussian window, mean over pixels, then over bands.

    For each band and each window inside the image, with population moments weighted by a Gaussian
    of sigma 1.5,
    `(2 m_x m_y + C1)(2 c_xy + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2))`, where
    C1 = (0.01 L)^2, C2 = (0.03 L)^2 and L is the data range. Wang, Bovik, Sheikh, Simoncelli, IEEE
    TIP 13(4), 2004; without down-sampling, as Efficient-MIF's `quality_assess` computes it.

    Range -1 to 1, higher is better, no unit. Identical images give 1, constant and zero ones
    included; two constant images a, b give (2 a b + C1) / (a^2 + b^2 + C1).

    Args:
        gt: (H, W, C), at least 11x11 pixels.
        fused: (H, W, C).
        data_range: full scale in the images' units: 1 for [0, 1], 2047 for 11-bit counts.
        per_band: return the value of each band, (C,), instead.
        zero_padding: pad the images with zeros so that every pixel has a window, as SSIM losses in
            PyTorch do; the images may then be of any size.
        where: (H, W, 1) mask, 1 at the centres of the windows to include; all by default.

    Raises:
        UserError: a data range that is not positive, or images smaller than the window.
    """
    if zero_padding:
        reach = _WINDOW // 2
        widths = ((reach, reach), (reach, reach), (0, 0))
        gt, fused = (jnp.pad(image, widths) for image in (gt, fused))
    elif where is not None:
        where = where[_WINDOW // 2 : -(_WINDOW // 2), _WINDOW // 2 : -(_WINDOW // 2)]
    value = _gaussian_ssim(gt, fused, data_range, where)
    return value if per_band else value.mean()


@metric
def ssim_toolbox(gt, fused, *, data_range, per_band=False):
    """Structural similarity with the automatic down-sampling of the toolbox's file `ssim.m`.

    Images whose smaller side is at least 384 pixels are averaged over f x f boxes and decimated by
    f = round(min(H, W) / 256); for smaller ones the result is exactly `ssim`. The toolbox uses the
    data range `2**bit_depth`, not `2**bit_depth - 1`. Arguments, range and special inputs as for
    `ssim`.
    """
    factor = max(1, int(np.floor(min(gt.shape[:2]) / 256 + 0.5)))
    if factor > 1:
        gt, fused = (_box_decimate(image, factor) for image in (gt, fused))
    value = _gaussian_ssim(gt, fused, data_range)
    return value if per_band else value.mean()


def _gaussian_ssim(gt, fused, data_range, where=None):
    """Return the mean SSIM of each band, (C,), over the windows that `where` (h, w, 1) includes."""
    if not data_range > 0:
        raise UserError(f"ssim: data_range {data_range} is not positive; give the full scale")
    if min(gt.shape[:2]) < _WINDOW:
        raise UserError(
            f"ssim: image of {gt.shape[0]}x{gt.shape[1]} is smaller than its {_WINDOW}x{_WINDOW} "
            "window"
        )
    gt, fused = gt / data_range, fused / data_range
    # Subtract a common centre first: E[x^2] - m^2 of uncentred data loses float32 digits.
    centre = image_mean(gt)
    x, y = gt - centre, fused - centre
    moments = _gaussian_valid(jnp.stack([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, square_x, square_y, product = moments
    variances = square_x - mean_x**2 + square_y - mean_y**2
    covariance = product - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return image_mean(structure * luminance, where)


def _gaussian_valid(images):
    """Filter (K, H, W, C) with the unit-sum Gaussian, without padding: H and W shrink by 10."""
    taps = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * 1.5**2))
    taps = [float(tap) for tap in taps / taps.sum()]
    height, width = (size - _WINDOW + 1 for size in images.shape[1:3])
    images = sum(tap * images[:, k : k + height] for k, tap in enumerate(taps))
    return sum(tap * images[:, :, k : k + width] for k, tap in enumerate(taps))


def _box_decimate(image, factor: int):
    """Average over f x f boxes and keep every f-th pixel, starting at 0.

    A box of even side extends one pixel further towards the end than towards the start.
    """
    before, after = (factor - 1) // 2, factor // 2
    padded = jnp.pad(image, ((before, after), (before, after), (0, 0)), mode="symmetric")
    height, width = image.shape[:2]
    rows = sum(padded[k : k + height : factor] for k in range(factor))
    return sum(rows[:, k : k + width : factor] for k in range(factor)) / factor**2
