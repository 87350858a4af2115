"""Convolution, with what CPUs need where it has groups, few channels or few images."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.cpu.depthwise import in_one_sweep

_AXES = ("NHWC", "HWIO", "NHWC")
_FEW_CHANNELS = 18
"""Input times output channels up to which neighbours as channels are quicker, measured."""
_NEIGHBOURS = 8
_FEW_IMAGES, _STRIPS = 2, 8
"""Up to so many images are cut into so many strips in all for the kernel's gradient, measured."""


def conv(x, kernel, *, stride: int = 1, precision=None):
    """y[p, m] = sum_o sum_c x[stride p + o, c] kernel[o, c, m], zeros beyond the border.

    A kernel of fewer input channels than `x` has is for groups of so many, each with M / groups of
    the output channels to itself; depthwise with one.

    On CPUs, besides what XLA offers:

    - Depthwise, the size kept: one sweep that adds all taps of a pixel.
    - Groups: a kernel from all channels to all, zeros from group to group. A convolution for each
      takes two to four times as long (three of 9 to 3 channels), XLA's with groups far longer.
    - Few channels, the size kept: neighbours of a row are channels of one pixel, by a kernel that
      holds the given one once for each of them among zeros. Products of 2 by 2 leave a processor's
      vectors empty; those of 16 by 16 take a tenth of the time (7 x 7, 2 to 2 channels), though
      most are with zeros.
    - Gradients are convolutions with axes in the order that XLA's library takes. XLA brings others
      into it outside loops alone; inside them they take tens of times as long.
    - Few images, the size kept: the kernel's gradient is a convolution whose channels are the
      images, slow with one or two. Strips of them serve as images: half to a quarter of the time.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C / groups, M).
        stride: step along both axes; the padding is (k - 1) // 2 whatever it is.
        precision: of the convolution, as `jax.lax.Precision`.

    Returns:
        (B, H', W', M): the size of `x` with stride 1 and k odd.
    """
    size, _, inputs, outputs = kernel.shape
    groups = x.shape[-1] // inputs
    same_size = stride == 1 and size % 2
    if same_size and 1 < groups == x.shape[-1] == outputs:
        on_cpu = in_one_sweep
    elif groups > 1:

        def on_cpu(x, kernel):
            return conv(x, _without_groups(kernel, groups), stride=stride, precision=precision)

    elif same_size and inputs * outputs <= _FEW_CHANNELS:
        on_cpu = functools.partial(_with_neighbours, precision)
    else:
        on_cpu = functools.partial(_with_ordered_gradients, precision, stride)
    convolve = functools.partial(_convolve, precision=precision, stride=stride, groups=groups)
    return jax.lax.platform_dependent(x, kernel, cpu=on_cpu, default=convolve)


def _convolve(x, kernel, *, precision, stride=1, groups=1, padding=None, axes=_AXES):
    """`padding`: zeros above and below, left and right; as far as the kernel reaches if None."""
    rows, columns = padding or ((side - 1) // 2 for side in kernel.shape[:2])
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((rows, rows), (columns, columns)),
        dimension_numbers=axes,
        feature_group_count=groups,
        precision=precision,
    )


def _without_groups(kernel, groups):
    """(k, k, C / groups, M) -> (k, k, C, M)."""
    size, _, inputs, outputs = kernel.shape
    kernel = kernel.reshape(size, size, 1, inputs, groups, outputs // groups)
    own = jnp.eye(groups, dtype=kernel.dtype)[:, None, :, None]
    return (own * kernel).reshape(size, size, groups * inputs, outputs)


def _with_neighbours(precision, x, kernel):
    batch, height, width, _ = x.shape
    pixels = math.gcd(width, _NEIGHBOURS)
    x = x.reshape(batch, height, width // pixels, -1)
    y = _with_ordered_gradients(precision, 1, x, _spread(kernel, pixels))
    return y.reshape(batch, height, width, -1)


def _spread(kernel, pixels):
    """(k, k, C, M) -> (k, parts, pixels C, pixels M), from every pixel of a part to every one."""
    size, _, inputs, outputs = kernel.shape
    reach = math.ceil(size // 2 / pixels)  # parts to either side that are seen
    part, source, target = np.ogrid[-reach : reach + 1, :pixels, :pixels]
    tap = part * pixels + source - target + size // 2
    chosen = (tap[..., None] == np.arange(size)).astype(kernel.dtype)
    spread = jnp.einsum("pstk,hkcm->hpsctm", chosen, kernel, precision="highest")
    return spread.reshape(size, 2 * reach + 1, pixels * inputs, pixels * outputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _with_ordered_gradients(precision, stride, x, kernel):
    return _convolve(x, kernel, precision=precision, stride=stride)


@_with_ordered_gradients.defjvp
def _tangent(precision, stride, primals, tangents):
    # Axes are such that the transposes of these convolutions, the gradients, have XLA's own order.
    x, kernel = primals
    of_x, of_kernel = tangents
    image = _with_ordered_gradients(precision, stride, x, kernel)
    batch, height = x.shape[:2]
    few = batch <= _FEW_IMAGES and image.shape[1] == height
    count = math.gcd(height, _STRIPS // batch) if few else 1
    convolve = functools.partial(_convolve, precision=precision, stride=stride)

    @jax.checkpoint  # for the backward pass the image is kept, not its copies
    def through_kernel(x, of_kernel):
        rows, columns = ((side - 1) // 2 for side in kernel.shape[:2])
        if count > 1:
            x, rows = _strips(x, count, rows), 0
        x, of_kernel = x.transpose(3, 1, 2, 0), of_kernel.transpose(2, 0, 1, 3)
        axes = ("CHWN", "IHWO", "HWNC")
        y = convolve(x, of_kernel, padding=(rows, columns), axes=axes)
        return y.transpose(2, 0, 1, 3).reshape(image.shape)

    through_x = convolve(of_x, kernel.swapaxes(2, 3), axes=("NHWC", "HWOI", "NHWC"))
    return image, through_x + through_kernel(x, of_kernel)


def _strips(x, count, reach):
    """(B, H, W, C) -> (count B, H / count + 2 reach, W, C), neighbours overlapping."""
    height = x.shape[1] // count
    padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    strips = [padded[:, i * height : (i + 1) * height + 2 * reach] for i in range(count)]
    return jnp.stack(strips, axis=1).reshape(-1, height + 2 * reach, *x.shape[2:])
