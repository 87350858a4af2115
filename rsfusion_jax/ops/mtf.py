"""Low-pass filters of the field: sensor MTFs, the toolbox's Gaussian and its a-trous filter.

Kernels are computed on the host in float64. Filters take NumPy or JAX arrays (..., H, W, C) of a
float dtype and return the same kind and dtype. Unless stated otherwise, pixels beyond the border
repeat the edge. No filter decimates.
"""

import functools
from collections.abc import Sequence

import numpy as np
import scipy

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.fft import irfft2, rfft2
from rsfusion_jax.ops.resample import check_image, check_ratio

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def mtf_kernel(gain: float, ratio: int, size: int = 41, width: int | None = None) -> np.ndarray:
    """Gaussian whose frequency response is `gain` at the Nyquist frequency of the coarse grid.

    Aiazzi, Alparone, Baronti, Garzelli, Selva, "MTF-tailored multiscale fusion of high-resolution
    MS and Pan imagery", PERS 72(5), 2006, as the MATLAB toolbox builds it: the response is sampled
    at `size` points, inverse transformed and multiplied by a circular Kaiser window (beta 0.5).
    Two of its properties are reproduced, for comparable numbers: it is not renormalised (its sum is
    0.998 to 0.999 at ratio 4), and its width is set with `size - 1` where a spectrum of `size`
    samples needs `size`, so that the response at Nyquist is `gain ** (size / (size - 1)) ** 2`.

    Args:
        gain: amplitude response at Nyquist, in (0, 1).
        ratio: fine pixels per coarse pixel, >= 1.
        size: odd number of taps along one axis.
        width: frequency samples that span the fine band; default `size - 1`. The toolbox's first
            version (2015) had `size` in its methods and indices.

    Returns:
        (size, size) float64, symmetric, read-only.

    Raises:
        UserError: gain outside (0, 1), ratio below 1, or an even size.
    """
    return _gaussian_kernel(float(gain), check_ratio(ratio), size, width or size - 1)


def mtf_filter(image, gains: float | Sequence[float], ratio: int, width: int | None = None):
    """Blur each band of (..., H, W, C) with the MTF kernel of its gain; the edge is repeated.

    Args:
        image: (..., H, W, C), float.
        gains: one gain for all bands, or one per band.
        ratio: fine pixels per coarse pixel.
        width: as for `mtf_kernel`.
    """
    if np.ndim(gains) == 0:
        return filter_replicate(image, mtf_kernel(gains, ratio, width=width))
    kernels = [mtf_kernel(gain, ratio, width=width) for gain in gains]
    return filter_replicate(image, np.stack(kernels, axis=-1))


def gauss_lowpass(image, ratio: int):
    """The toolbox's LPfilterGauss: a Gaussian of gain 0.3 at Nyquist, its width set with `size`."""
    return mtf_filter(image, 0.3, ratio, width=41)


def filter_replicate(image, kernels):
    """Correlate (..., H, W, C) with one odd kernel (k, k) or one per band (k, k, C).

    Pixels beyond the border repeat the edge. Runs through the Fourier transform of the padded
    image, which is exact to rounding and independent of the kernel's size.

    Raises:
        UserError: an even kernel, or a number of kernels that is not the number of bands.
    """
    check_image(image)
    xp = image.__array_namespace__()
    kernels = kernels[..., None] if kernels.ndim == 2 else kernels
    rows, columns, count = kernels.shape
    height, width, bands = image.shape[-3:]
    if count not in (1, bands):
        raise UserError(f"{count} kernels for an image of {bands} bands; give one, or one per band")
    if rows % 2 == 0 or columns % 2 == 0:
        raise UserError(f"kernel of {rows}x{columns} has no centre; give odd sizes")
    top, left = rows // 2, columns // 2
    padding = [(0, 0)] * (image.ndim - 3) + [(top, top), (left, left), (0, 0)]
    padded = xp.pad(image, padding, mode="edge")
    # Circular convolution reaches around only into the part that is cut off.
    size = tuple(scipy.fft.next_fast_len(n + 2 * k) for n, k in ((height, top), (width, left)))
    flipped = xp.asarray(kernels[::-1, ::-1], dtype=image.dtype)
    product = rfft2(padded, size) * rfft2(flipped, size)
    filtered = irfft2(product, size)[..., 2 * top :, 2 * left :, :]
    return filtered[..., :height, :width, :].astype(image.dtype)


def atrous_lowpass(image, ratio: int):
    """The toolbox's LPfilter: the binomial [1 4 6 4 1] / 16 applied 2 * ceil(log2 r) times.

    Each of the ceil(log2 r) analysis levels mirrors the array that the level before had already
    widened, so that borders differ from one symmetric filtering; the interior does not. The taps
    are never dilated, although the method is called a trous. Sums to 1.

    Args:
        image: (..., H, W, C), float.
        ratio: fine pixels per coarse pixel; 1 returns the image.
    """
    check_image(image)
    xp = image.__array_namespace__()
    levels = (check_ratio(ratio) - 1).bit_length()
    for _ in range(levels):
        padding = [(0, 0)] * (image.ndim - 3) + [(4, 4), (4, 4), (0, 0)]
        image = _binomial_valid(xp.pad(image, padding, mode="symmetric"))
    for _ in range(levels):
        image = _binomial_valid(image)
    return image


@functools.lru_cache
def _gaussian_kernel(gain: float, ratio: int, size: int, width: int) -> np.ndarray:
    """`mtf_kernel`, kept per process."""
    if not 0 < gain < 1:
        raise UserError(f"MTF gain {gain} is not between 0 and 1; give the response at Nyquist")
    if size % 2 == 0:
        raise UserError(f"MTF kernel size {size} is even; give an odd number of taps")
    half = size // 2
    axis = np.arange(-half, half + 1)
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    variance = (width / (2 * ratio)) ** 2 / (-2 * np.log(gain))
    response = np.exp(-squared / (2 * variance))
    response[response < np.finfo(float).eps] = 0
    spatial = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(response)).real)
    radius = np.sqrt(squared) / half
    window = np.interp(radius, axis[half:] / half, np.kaiser(size, 0.5)[half:], right=0.0)
    kernel = spatial * window
    kernel.flags.writeable = False
    return kernel


def _binomial_valid(image):
    """Separable binomial filter over rows and columns; both shrink by four."""
    height, width = image.shape[-3] - 4, image.shape[-2] - 4
    image = sum(b * image[..., k : k + height, :, :] for k, b in enumerate(_BINOMIAL))
    return sum(b * image[..., k : k + width, :] for k, b in enumerate(_BINOMIAL))
