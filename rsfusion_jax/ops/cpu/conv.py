"""Convolutions on CPUs: forms of the same sums for which XLA's CPU backend has fast code.

XLA's CPU backend is slow for grouped convolutions, for few channels, for the gradients of
convolutions inside loops, and for the gradient of a kernel over one or two images.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.cpu.depthwise import depthwise_conv

_FEW_CHANNELS = 18
"""Input times output channels up to which `_conv_few_channels` is faster, measured."""
_NEIGHBOURS = 8
"""Neighbouring pixels of a row that `_conv_few_channels` treats as channels of one pixel."""
_FEW_IMAGES = 2
"""Batch size up to which the kernel's gradient is faster over strips of the images, measured."""
_STRIPS = 8
"""Strips into which such a batch is cut in total."""


def conv(x, kernel, *, stride: int = 1):
    """Compute what `ops.conv.conv` computes, in the form that is fastest on CPUs.

    - Depthwise, size unchanged: one pass over the image that adds all taps of a pixel.
    - Grouped: an ordinary convolution whose kernel is zero between groups. One convolution per
      group takes two to four times as long, XLA's grouped convolution far longer.
    - Few channels, size unchanged: neighbouring pixels of a row become channels of one pixel.
    - Otherwise: an ordinary convolution.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C / groups, M).
        stride: step along both axes.

    Returns:
        (B, H', W', M).
    """
    size, _, inputs, outputs = kernel.shape
    groups = x.shape[-1] // inputs
    same_size = stride == 1 and size % 2
    if same_size and 1 < groups == x.shape[-1] == outputs:
        return depthwise_conv(x, kernel)
    if groups > 1:
        return conv(x, _without_groups(kernel, groups), stride=stride)
    if same_size and inputs * outputs <= _FEW_CHANNELS:
        return _conv_few_channels(x, kernel)
    return _conv(stride, x, kernel)


def _without_groups(kernel, groups):
    """Kernel (k, k, C / groups, M) of a grouped convolution -> (k, k, C, M) with zeros."""
    size, _, inputs, outputs = kernel.shape
    kernel = kernel.reshape(size, size, 1, inputs, groups, outputs // groups)
    own_group = jnp.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return (own_group * kernel).reshape(size, size, groups * inputs, outputs)


def _conv_few_channels(x, kernel):
    """Convolution with up to eight neighbouring pixels of a row as channels of one pixel.

    Matrix products of 2 by 2 channels leave most of a vector register empty; those of 16 by 16 take
    a tenth of the time (7 x 7 taps, 2 to 2 channels), although most factors are zeros.
    """
    batch, height, width, _ = x.shape
    pixels = math.gcd(width, _NEIGHBOURS)
    x = x.reshape(batch, height, width // pixels, -1)
    y = _conv(1, x, _kernel_between_blocks(kernel, pixels))
    return y.reshape(batch, height, width, -1)


def _kernel_between_blocks(kernel, pixels):
    """Kernel (k, k, C, M) between pixels -> (k, blocks, pixels C, pixels M) between blocks of them.

    Entry [:, b, (s, :), (t, :)] is the column of `kernel` that leads from pixel s of the b-th block
    in reach to pixel t of the central block, or zero where that is beyond the kernel.
    """
    size, _, inputs, outputs = kernel.shape
    reach = math.ceil(size // 2 / pixels)
    block, source, target = np.ogrid[-reach : reach + 1, :pixels, :pixels]
    column = block * pixels + source - target + size // 2
    selected = (column[..., None] == np.arange(size)).astype(kernel.dtype)
    between = jnp.einsum("bstk,hkcm->hbsctm", selected, kernel, precision="highest")
    return between.reshape(size, 2 * reach + 1, pixels * inputs, pixels * outputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _conv(stride, x, kernel):
    """Ordinary convolution; its gradients are convolutions that are fast inside loops too.

    XLA's CPU backend has fast code for one order of axes. It reorders the axes of other
    convolutions outside loops only; inside loops those take tens of times as long.
    """
    return _convolve(x, kernel, stride=stride)


@_conv.defjvp
def _conv_jvp(stride, primals, tangents):
    # The axes are chosen such that the transposes of these convolutions, which are the gradients,
    # have the fast order.
    x, kernel = primals
    d_x, d_kernel = tangents
    y = _conv(stride, x, kernel)
    batch, height = x.shape[:2]
    few_images = batch <= _FEW_IMAGES and y.shape[1] == height
    strips = math.gcd(height, _STRIPS // batch) if few_images else 1
    convolve = functools.partial(_convolve, stride=stride)

    @jax.checkpoint  # The backward pass keeps the image, not its transposed copies.
    def through_kernel(x, d_kernel):
        rows, columns = ((side - 1) // 2 for side in kernel.shape[:2])
        if strips > 1:
            x, rows = _as_strips(x, strips, rows), 0
        x, d_kernel = x.transpose(3, 1, 2, 0), d_kernel.transpose(2, 0, 1, 3)
        axes = ("CHWN", "IHWO", "HWNC")
        d_y = convolve(x, d_kernel, padding=(rows, columns), axes=axes)
        return d_y.transpose(2, 0, 1, 3).reshape(y.shape)

    through_x = convolve(d_x, kernel.swapaxes(2, 3), axes=("NHWC", "HWOI", "NHWC"))
    return y, through_x + through_kernel(x, d_kernel)


def _as_strips(x, count, reach):
    """(B, H, W, C) -> (count B, H / count + 2 reach, W, C), strips that overlap by 2 reach rows.

    The kernel's gradient is a convolution whose channels are the images, and one or two channels
    are slow. With strips in place of images it takes a half to a quarter of the time.
    """
    height = x.shape[1] // count
    padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    strips = [padded[:, i * height : (i + 1) * height + 2 * reach] for i in range(count)]
    return jnp.stack(strips, axis=1).reshape(-1, height + 2 * reach, *x.shape[2:])


def _convolve(x, kernel, *, stride, padding=None, axes=("NHWC", "HWIO", "NHWC")):
    """XLA's convolution; `padding`: zeros before and after rows, columns; None: (k - 1) // 2."""
    rows, columns = padding or ((side - 1) // 2 for side in kernel.shape[:2])
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((rows, rows), (columns, columns)),
        dimension_numbers=axes,
    )
