"""Gaussian low-pass filter in the Fourier domain."""

import jax.numpy as jnp

from rsfusion_jax.ops.fft import irfft2, rfft2

MARGIN = 8
"""Pixels by which an image is reflected at its borders, so that nothing wraps around."""


def gaussian_low_pass(x, cutoff):
    """Multiplies the spectrum by exp(-(fx^2 + fy^2) / (2 cutoff^2)).

    Args:
        x: (B, H, W, C), float32 or float64.
        cutoff: (1,) in cycles per pixel.

    Returns:
        (B, H, W, C).
    """
    height, width = x.shape[1:3]
    top, left = (min(MARGIN, n - 1) for n in (height, width))
    x = jnp.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), mode="reflect")
    size = x.shape[1:3]
    fy, fx = jnp.fft.fftfreq(size[0])[:, None], jnp.fft.rfftfreq(size[1])[None]
    squared = (jnp.square(fy) + jnp.square(fx)).astype(x.dtype)
    gain = jnp.exp(-squared / (2 * jnp.square(cutoff)))
    x = irfft2(gain[..., None] * rfft2(x, size), size)
    return x[:, top : top + height, left : left + width]
