"""Pixelwise metrics against a ground truth: SAM, ERGAS, PSNR, MAE and SCC.

All take one pair of images (H, W, C), in counts or in [0, 1]. Definitions are those of the MATLAB
pansharpening toolbox (Vivone et al., IEEE GRSM 9(1), 2021) where it has them.
"""

import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.pair import check_version, image_mean, metric


@metric
def sam(gt, fused, *, where=None):
    """Spectral angle mapper: mean angle between the two images' spectra, in degrees.

    `mean over pixels of arccos(<x, y> / (|x| |y|))`, evaluated as
    `2 atan2(|x/|x| - y/|y||, |x/|x| + y/|y||)`, which is accurate for small angles in float32.
    Pixels where either spectrum is zero are excluded from the mean. Yuhas, Goetz, Boardman, JPL
    1992.

    Range 0 to 180, lower is better. Identical images give 0; the index does not change when either
    image is multiplied by a positive number, so constant images of one spectrum give 0; an all-zero
    image gives NaN, since it has no angle. Images of one band give 0 where their signs agree.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        where: (H, W, 1) mask, 1 at the pixels to include; all by default.
    """
    norm_gt = jnp.linalg.norm(gt, axis=-1, keepdims=True)
    norm_fused = jnp.linalg.norm(fused, axis=-1, keepdims=True)
    nonzero = (norm_gt > 0) & (norm_fused > 0)
    unit_gt = gt / jnp.where(nonzero, norm_gt, 1)
    unit_fused = fused / jnp.where(nonzero, norm_fused, 1)
    difference = jnp.linalg.norm(unit_gt - unit_fused, axis=-1, keepdims=True)
    total = jnp.linalg.norm(unit_gt + unit_fused, axis=-1, keepdims=True)
    angle = jnp.where(nonzero, 2 * jnp.arctan2(difference, total), 0)
    mean = image_mean(angle, where)[0] / image_mean(nonzero.astype(gt.dtype), where)[0]
    return jnp.degrees(mean)


@metric
def ergas(gt, fused, *, ratio, where=None):
    """Relative dimensionless global error in synthesis.

    `100 / ratio * sqrt(mean over bands of MSE_b / mean(gt_b)^2)`. Wald, "Quality of high
    resolution synthesised images: is there a simple criterion?", 2000.

    Range 0 to infinity, lower is better, no unit. Identical images give 0; a ground-truth band of
    mean zero gives infinity, or NaN where `fused` is zero too.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        ratio: PAN pixels per MS pixel along one axis; 4 for most pansharpening data sets.
        where: (H, W, 1) mask, 1 at the pixels to include; all by default.
    """
    if ratio < 1:
        raise UserError(f"ergas: ratio {ratio} is not PAN pixels per MS pixel; give 4, 2, ...")
    error = image_mean((gt - fused) ** 2, where) / image_mean(gt, where) ** 2
    return 100 / ratio * jnp.sqrt(error.mean())


@metric
def psnr(gt, fused, *, data_range, per_band=False, where=None):
    """Global peak signal-to-noise ratio: one MSE over all pixels and bands, in dB.

    `10 log10(data_range^2 / MSE)`. The mean of the bands' PSNR is `psnr_band_mean`, which is never
    lower and about half a dB higher on WorldView images; reports contain both.

    Range -infinity to infinity, higher is better. Identical images give infinity, constant and
    zero ones included.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        data_range: full scale in the images' units: 1 for [0, 1], 2047 for 11-bit counts.
        per_band: return the PSNR of each band, (C,), instead.
        where: (H, W, 1) mask, 1 at the pixels to include; all by default.
    """
    _check_range("psnr", data_range)
    error = image_mean((gt - fused) ** 2, where)
    return 10 * jnp.log10(data_range**2 / (error if per_band else error.mean()))


@metric
def psnr_band_mean(gt, fused, *, data_range):
    """Mean over bands of each band's PSNR, in dB: `mean_b 10 log10(data_range^2 / MSE_b)`.

    Efficient-MIF's `quality_assess` and the hyperspectral literature (MPSNR) report this value. A
    single error-free band makes it infinite. Range, direction and special inputs as for `psnr`.
    """
    _check_range("psnr_band_mean", data_range)
    return (10 * jnp.log10(data_range**2 / image_mean((gt - fused) ** 2))).mean()


@metric
def mae(gt, fused, *, where=None):
    """Mean absolute error over all pixels and bands, in the images' units.

    Range 0 to infinity, lower is better; 0 only for identical images.

    Args:
        gt: (H, W, C).
        fused: (H, W, C).
        where: (H, W, 1) mask, 1 at the pixels to include; all by default.
    """
    return image_mean(jnp.abs(gt - fused), where).mean()


@metric
def scc(gt, fused, *, version="2020"):
    """Spatial correlation coefficient of the toolbox: uncentred correlation of Sobel magnitudes.

    Both images are cropped by one pixel at each side; `G = sqrt(gx^2 + gy^2)` with the 3x3 Sobel
    pair and zero padding of the cropped image, so that its border acts as a strong edge;
    `sum(G_f G_r) / sqrt(sum G_f^2 sum G_r^2)` with sums over all pixels and bands. After Zhou,
    Civco, Silander, IJRS 1998, who filter with a Laplacian.

    Range 0 to 1, higher is better. Identical images give 1, constant non-zero images 1 (the edges
    at their borders agree), an all-zero image NaN.

    Args:
        gt: (H, W, C), at least 3x3 pixels.
        fused: (H, W, C).
        version: version of the toolbox, "2020" or "1.0". "1.0" (2015) uses only the signed
            response across rows, of the uncropped images; its range is -1 to 1.
    """
    if min(gt.shape[:2]) < 3:
        raise UserError(f"scc: image of {gt.shape[0]}x{gt.shape[1]} is smaller than 3x3 pixels")
    if check_version("scc", version) == "1.0":
        x, y = (_sobel(image)[0] for image in (gt, fused))
    else:
        x, y = (
            jnp.sqrt(sum(response**2 for response in _sobel(image[1:-1, 1:-1])))
            for image in (gt, fused)
        )
    power_x, power_y, product = (image_mean(z).mean() for z in (x * x, y * y, x * y))
    return product / jnp.sqrt(power_x) / jnp.sqrt(power_y)


def _sobel(image):
    """Return the Sobel responses across rows and across columns, (H, W, C), with zero padding."""
    height, width = image.shape[:2]
    padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)))

    def smooth(x, axis, n):  # [1 2 1]
        part = [jnp.take(x, jnp.arange(k, k + n), axis=axis) for k in range(3)]
        return part[0] + 2 * part[1] + part[2]

    across = smooth(padded, 1, width)
    down = smooth(padded, 0, height)
    return across[:-2] - across[2:], down[:, :-2] - down[:, 2:]


def _check_range(name: str, data_range) -> None:
    if not data_range > 0:
        raise UserError(f"{name}: data_range {data_range} is not positive; give the full scale")
