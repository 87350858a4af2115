"""Structural similarity, in the two forms that pansharpening codes print."""

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.pair import image_mean, metric

_WINDOW = 11


@metric
def ssim(gt, fused, *, data_range, per_band=False, zero_padding=False, where=None):
    """Structural similarity with an 11x11 Gaussian window, mean over pixels, then over bands.

    Per band and 'valid' window position, with Gaussian (sigma 1.5) weighted population moments,
    `(2 m_x m_y + C1)(2 c_xy + C2) / ((m_x^2 + m_y^2 + C1)(v_x + v_y + C2))`, C1 = (0.01 L)^2,
    C2 = (0.03 L)^2, L the data range. Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004; no
    down-sampling, as Efficient-MIF's `quality_assess` computes it.

    Range -1 to 1, higher is better, no unit. Identical images give 1, whatever they hold; two
    constant images a, b give (2 a b + C1) / (a^2 + b^2 + C1).

    Args:
        gt: (H, W, C), at least 11x11 pixels.
        fused: (H, W, C).
        data_range: full scale in the images' units: 1 for [0, 1], 2047 for 11-bit counts.
        per_band: return the value of each band, (C,), instead.
        zero_padding: count every pixel, its window continued by zeros beyond the border, as losses
            in PyTorch do; then images may be of any size.
        where: (H, W, 1), 1 at the pixels whose windows count; all by default.
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
    """`ssim` after the automatic down-sampling of the file `ssim.m` that the toolbox ships.

    Images whose smaller side exceeds 384 pixels are averaged over f x f boxes and decimated by
    f = round(min(H, W) / 256); smaller ones give exactly `ssim`. The toolbox's data range is
    `2**bit_depth`, not `2**bit_depth - 1`. Arguments, range and special inputs as for `ssim`.
    """
    factor = max(1, int(np.floor(min(gt.shape[:2]) / 256 + 0.5)))
    if factor > 1:
        gt, fused = (_box_decimate(image, factor) for image in (gt, fused))
    value = _gaussian_ssim(gt, fused, data_range)
    return value if per_band else value.mean()


def _gaussian_ssim(gt, fused, data_range, where=None):
    """(C,) mean over valid positions, of which `where` (h, w, 1) says which count."""
    if not data_range > 0:
        raise UserError(f"ssim: data_range {data_range} is not positive; give the full scale")
    if min(gt.shape[:2]) < _WINDOW:
        raise UserError(
            f"ssim: image of {gt.shape[0]}x{gt.shape[1]} is smaller than its {_WINDOW}x{_WINDOW} "
            "window"
        )
    gt, fused = gt / data_range, fused / data_range
    # Second moments about a common centre: E[x^2] - m^2 of uncentred data loses float32 digits.
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
    """Unit-sum Gaussian of (K, H, W, C) over rows and columns; both shrink by ten."""
    taps = np.exp(-((np.arange(_WINDOW) - _WINDOW // 2) ** 2) / (2 * 1.5**2))
    taps = [float(tap) for tap in taps / taps.sum()]
    height, width = (size - _WINDOW + 1 for size in images.shape[1:3])
    images = sum(tap * images[:, k : k + height] for k, tap in enumerate(taps))
    return sum(tap * images[:, :, k : k + width] for k, tap in enumerate(taps))


def _box_decimate(image, factor: int):
    """Mean of f x f boxes kept at every f-th pixel from 0; an even box reaches further ahead."""
    before, after = (factor - 1) // 2, factor // 2
    padded = jnp.pad(image, ((before, after), (before, after), (0, 0)), mode="symmetric")
    height, width = image.shape[:2]
    rows = sum(padded[k : k + height : factor] for k in range(factor))
    return sum(rows[:, k : k + width : factor] for k in range(factor)) / factor**2
