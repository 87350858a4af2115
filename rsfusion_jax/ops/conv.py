"""Convolution, with what CPUs need where channels, images or inputs of a channel are few."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.depthwise import in_one_sweep

_FEW_CHANNELS = 18
"""Input times output channels up to which neighbours as channels are quicker, measured."""
_NEIGHBOURS = 8
_FEW_IMAGES, _STRIPS = 2, 8
"""Up to so many images are cut into so many strips in all for the kernel's gradient, measured."""


def conv(x, kernel, *, stride: int = 1, precision=None):
    """y[p, m] = sum_o sum_c x[stride p + o, c] kernel[o, c, m], zeros beyond the border.

    A kernel of one input channel is depthwise: y[p, c] = sum_o x[stride p + o, c] kernel[o, 0, c].

    On CPUs, where the size of the image is kept, besides what XLA offers:

    - Depthwise: one sweep that adds all taps of a pixel.
    - Few channels: neighbours of a row are taken as channels of one pixel, by a kernel that holds
      the given one once for each of them among zeros. Products of 2 by 2 leave a processor's
      vectors empty; those of 16 by 16 take a tenth of the time (7 x 7, 2 to 2 channels), though
      most are with zeros.
    - Few images: the kernel's gradient is a convolution whose channels are the images, slow with
      one or two. Strips of an image serve as images: half to a quarter of the time.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C, M), or (k, k, 1, C).
        stride: step along both axes; the padding is (k - 1) // 2 whatever it is.
        precision: of the convolution, as `jax.lax.Precision`.

    Returns:
        (B, H', W', M): the size of `x` with stride 1 and k odd.
    """
    convolve = functools.partial(_convolve, stride=stride, precision=precision)
    size, _, inputs, outputs = kernel.shape
    if stride > 1 or size % 2 == 0:
        return convolve(x, kernel)
    if inputs < x.shape[-1]:
        on_cpu = in_one_sweep
    elif inputs * outputs <= _FEW_CHANNELS:
        on_cpu = functools.partial(_with_neighbours, precision=precision)
    elif x.shape[0] <= _FEW_IMAGES:
        on_cpu = functools.partial(_of_few_images, precision)
    else:
        return convolve(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=convolve)


def _convolve(x, kernel, precision, stride: int = 1, rows: int | None = None):
    """`rows` of zeros above and below; as many as the kernel reaches if not said."""
    columns = (kernel.shape[1] - 1) // 2
    rows = (kernel.shape[0] - 1) // 2 if rows is None else rows
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((rows, rows), (columns, columns)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
        precision=precision,
    )


def _with_neighbours(x, kernel, precision):
    batch, height, width, _ = x.shape
    pixels = math.gcd(width, _NEIGHBOURS)
    x = x.reshape(batch, height, width // pixels, -1)
    return _convolve(x, _spread(kernel, pixels), precision).reshape(batch, height, width, -1)


def _spread(kernel, pixels):
    """(k, k, C, M) -> (k, parts, pixels C, pixels M), from every pixel of a part to every one."""
    size, _, inputs, outputs = kernel.shape
    reach = math.ceil(size // 2 / pixels)  # parts to either side that are seen
    part, source, target = np.ogrid[-reach : reach + 1, :pixels, :pixels]
    tap = part * pixels + source - target + size // 2
    chosen = (tap[..., None] == np.arange(size)).astype(kernel.dtype)
    spread = jnp.einsum("pstk,hkcm->hpsctm", chosen, kernel, precision="highest")
    return spread.reshape(size, 2 * reach + 1, pixels * inputs, pixels * outputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _of_few_images(precision, x, kernel):
    return _convolve(x, kernel, precision)


@_of_few_images.defjvp
def _tangent(precision, primals, tangents):
    x, kernel = primals
    of_x, of_kernel = tangents
    reach, count = kernel.shape[0] // 2, math.gcd(x.shape[1], _STRIPS // x.shape[0])

    @jax.checkpoint  # for the backward pass the image is kept, not its strips
    def by_strips(x, kernel):
        strips = _strips(jnp.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0))), count, reach)
        return _convolve(strips, kernel, precision, rows=0)

    image = _of_few_images(precision, x, kernel)
    tangent = _convolve(of_x, kernel, precision) + by_strips(x, of_kernel).reshape(image.shape)
    return image, tangent


def _strips(image, count, reach):
    """(B, H + 2 reach, W, C) -> (count B, H / count + 2 reach, W, C), neighbours overlapping."""
    height = (image.shape[1] - 2 * reach) // count
    strips = [image[:, i * height : (i + 1) * height + 2 * reach] for i in range(count)]
    return jnp.stack(strips, axis=1).reshape(-1, height + 2 * reach, *image.shape[2:])
