"""Convolutions of few channels."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

MOST = 18
"""Input times output channels up to which a convolution is quicker so on CPUs, measured."""
_PIXELS = 8


def few_channel_conv(x, kernel, *, precision=None):
    """The convolution of stride 1 with zeros beyond the border.

    On CPUs neighbours of a row are taken as channels of one pixel, by a kernel that holds the given
    one once for each of them among zeros: products of 2 by 2 leave a processor's vectors empty,
    those of 16 by 16 take a tenth of the time (7 x 7, 2 to 2 channels) though most are with zeros.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, M), k odd.
        precision: of the convolution, as `jax.lax.Precision`.

    Returns:
        (B, H, W, M).
    """
    convolve = functools.partial(_convolve, precision=precision)
    pixels = math.gcd(x.shape[2], _PIXELS)

    def of_rows_in_parts(x, kernel):
        shape = (*x.shape[:2], x.shape[2] // pixels, -1)
        return convolve(x.reshape(shape), _spread(kernel, pixels)).reshape(*x.shape[:3], -1)

    return jax.lax.platform_dependent(x, kernel, cpu=of_rows_in_parts, default=convolve)


def _convolve(x, kernel, precision):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(size // 2, size // 2) for size in kernel.shape[:2]],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _spread(kernel, pixels):
    """(k, k, C, M) -> (k, parts, pixels C, pixels M), from every pixel of a part to every one."""
    size, _, inputs, outputs = kernel.shape
    reach = math.ceil(size // 2 / pixels)  # parts to either side that are seen
    part, source, target = np.ogrid[-reach : reach + 1, :pixels, :pixels]
    tap = part * pixels + source - target + size // 2
    chosen = (tap[..., None] == np.arange(size)).astype(kernel.dtype)
    spread = jnp.einsum("pstk,hkcm->hpsctm", chosen, kernel, precision="highest")
    return spread.reshape(size, 2 * reach + 1, pixels * inputs, pixels * outputs)
