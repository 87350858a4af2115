"""Metrics of one image in NumPy and SciPy, vectorised, with sliding sums where they exist.

Blurs, enlargements and kernels are `rsfusion_jax.ops` on NumPy arrays. Windows and blocks of
constant value, and the toolbox's versions and roundings, are left out: the data have none.
"""

import functools

import numpy as np
import scipy.ndimage

from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, imresize, interp23


def sam(gt, fused):
    """Degrees."""
    product = np.einsum("hwc,hwc->hw", gt, fused)
    norms = np.linalg.norm(gt, axis=-1) * np.linalg.norm(fused, axis=-1)
    return np.degrees(np.arccos(np.clip(product / norms, -1, 1)).mean())


def ergas(gt, fused, ratio=4):
    """Of the field, 100 / ratio."""
    error = ((gt - fused) ** 2).mean(axis=(0, 1)) / gt.mean(axis=(0, 1)) ** 2
    return 100 / ratio * np.sqrt(error.mean())


def psnr(gt, fused):
    """Of all bands together, full scale 1."""
    return -10 * np.log10(((gt - fused) ** 2).mean())


def cc(gt, fused):
    """Mean over bands."""
    x, y = (image - image.mean(axis=(0, 1)) for image in (gt, fused))
    product = np.einsum("hwc,hwc->c", x, y)
    return (product / np.sqrt((x**2).sum(axis=(0, 1)) * (y**2).sum(axis=(0, 1)))).mean()


def scc(gt, fused):
    """Uncentred correlation of Sobel magnitudes."""

    def magnitude(image):
        image = image[1:-1, 1:-1]
        responses = (
            scipy.ndimage.correlate1d(
                scipy.ndimage.correlate1d(image, [1, 0, -1], axis, mode="constant"),
                [1, 2, 1],
                1 - axis,
                mode="constant",
            )
            for axis in (0, 1)
        )
        return np.hypot(*responses)

    x, y = magnitude(gt), magnitude(fused)
    return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())


def ssim(gt, fused):
    """11 x 11 Gaussian window, full scale 1."""
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    taps = (taps / taps.sum()).astype(gt.dtype)

    def smooth(image):
        for axis in (0, 1):
            image = scipy.ndimage.correlate1d(image, taps, axis)
        return image[5:-5, 5:-5]

    mean_x, mean_y = smooth(gt), smooth(fused)
    variances = smooth(gt**2) - mean_x**2 + smooth(fused**2) - mean_y**2
    covariance = smooth(gt * fused) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * covariance + c2) / (variances + c2)
    return (structure * (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)).mean()


def q(gt, fused, window=32):
    """Sliding windows, by running sums."""
    mean_x, mean_y, variance_x, variance_y, covariance = _sliding(gt, fused, window)
    power = (variance_x + variance_y) * (mean_x**2 + mean_y**2)
    return (4 * covariance * mean_x * mean_y / power).mean()


def q2n(gt, fused, block=32):
    """Blocks side by side, the hypercomplex product as a sum over the bands' covariance."""
    x, y = (_blocks(image, block) for image in (gt, fused))
    count, bands = x.shape[1:]
    mean, spread = x.mean(axis=1, keepdims=True), x.std(axis=1, ddof=1, keepdims=True)
    x, y = (x - mean) / spread, (y - mean) / spread
    mean_y = y.mean(axis=1, keepdims=True)
    y = y - mean_y
    scale, size = count / (count - 1), 1 << (bands - 1).bit_length()
    total = scale * ((x**2).mean(axis=1) + (y**2).mean(axis=1)).sum(axis=1)
    power_x, power_y = size, ((mean_y + 1) ** 2).sum(axis=(1, 2)) + size - bands
    bias = 2 * np.sqrt(power_x * power_y) / (power_x + power_y)
    covariance = scale * np.matmul(x.transpose(0, 2, 1), y) / count
    units = _units(size)[:bands, :bands].reshape(bands * bands, size).astype(gt.dtype)
    modulus = np.linalg.norm(covariance.reshape(len(x), -1) @ units, axis=1)
    return (modulus * bias * 2 / total).mean()


def d_lambda(fused, ms, pan, ratio=4):
    """Spectral distortion of QNR."""
    lms = interp23(ms, ratio)
    change = _block_quality(fused, fused) - _block_quality(lms, lms)
    return np.abs(change[np.triu_indices(fused.shape[-1], 1)]).mean()


def d_s(fused, ms, pan, ratio=4):
    """Spatial distortion of QNR."""
    low_pan = interp23(imresize(pan, ms.shape[:2]), ratio)
    change = _block_quality(fused, pan) - _block_quality(interp23(ms, ratio), low_pan)
    return np.abs(change).mean()


def hqnr(fused, ms, pan, gains, ratio=4):
    """Hybrid QNR."""
    quality = q2n(interp23(ms, ratio), mtf_filter(fused, gains, ratio))
    return quality * (1 - d_s(fused, ms, pan, ratio))


def r_ergas(fused, ms, pan, gains, ratio=4):
    """ERGAS of the reprojected image."""
    return ergas(ms, decimate(mtf_filter(fused, gains, ratio), ratio), ratio)


def d_rho(fused, ms, pan, ratio=4):
    """Local correlation with PAN."""
    _, _, variance, variance_pan, covariance = _sliding(fused, pan, ratio)
    return 1 - (covariance / np.sqrt(variance * variance_pan)).mean()


def _sliding(x, y, window):
    level_x, level_y = (image.mean(axis=(0, 1)) for image in (x, y))
    x, y = x - level_x, y - level_y  # keeps the digits of the moments

    def mean(image):
        image = scipy.ndimage.uniform_filter(image, (window, window, 1))
        before, after = window // 2, (window - 1) // 2
        return image[before : image.shape[0] - after, before : image.shape[1] - after]

    mean_x, mean_y = mean(x), mean(y)
    moments = (
        mean(x * x) - mean_x**2,
        mean(y * y) - mean_y**2,
        mean(x * y) - mean_x * mean_y,
    )
    return mean_x + level_x, mean_y + level_y, *moments


def _blocks(image, block):
    rows, columns = (size // block for size in image.shape[:2])
    image = image[: rows * block, : columns * block].reshape(rows, block, columns, block, -1)
    return image.transpose(0, 2, 1, 3, 4).reshape(rows * columns, block * block, -1)


def _block_quality(x, y, block=32):
    x, y = (_blocks(image, block) for image in (x, y))
    mean_x, mean_y = (z.mean(axis=1) for z in (x, y))
    variance_x, variance_y = (z.var(axis=1) for z in (x, y))
    product = np.matmul(x.transpose(0, 2, 1), y) / x.shape[1]
    both = mean_x[:, :, None] * mean_y[:, None]
    power = mean_x[:, :, None] ** 2 + mean_y[:, None] ** 2
    spread = variance_x[:, :, None] + variance_y[:, None]
    return (4 * (product - both) * both / (spread * power)).mean(axis=0)


@functools.lru_cache
def _units(size):
    """(N, N, N): component k of the unit product e_i conj(e_j)."""
    basis = np.eye(size)
    return np.stack([[_product(x, _conjugate(y)) for y in basis] for x in basis])


def _conjugate(x):
    return np.concatenate([x[:1], -x[1:]])


def _product(x, y):
    half = len(x) // 2
    if half == 0:
        return x * y
    a, b = x[:half], _conjugate(x[half:])
    c, d = y[:half], _conjugate(y[half:])
    first = _product(a, c) - _product(d, _conjugate(b))
    return np.concatenate([first, _product(_conjugate(a), d) + _product(c, b)])
