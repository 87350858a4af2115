"""Two-dimensional convolution."""

import functools

import jax

from rsfusion_jax.ops.by_device import by_device
from rsfusion_jax.ops.cpu import conv as on_cpu


def conv(x, kernel, *, stride: int = 1):
    """Convolve images with zeros beyond the border: y[p] = sum_o x[stride p + o] kernel[o].

    A kernel with fewer input channels than `x` makes the convolution grouped: each group of
    C / groups input channels yields M / groups output channels of its own. With one input channel
    it is depthwise.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, C / groups, M).
        stride: step along both axes.

    Returns:
        (B, H', W', M), with (k - 1) // 2 zeros at each border: the size of `x` for stride 1, k odd.
    """
    cpu = functools.partial(on_cpu.conv, stride=stride)
    default = functools.partial(_plain_conv, stride=stride)

    def of_images(kernel, x):
        return jax.lax.platform_dependent(x, kernel, cpu=cpu, default=default)

    groups = x.shape[-1] // kernel.shape[2]
    if 1 < groups < x.shape[-1]:
        # The compiler spreads ordinary and depthwise convolutions over devices by images, but
        # gathers the whole batch on every device for one whose groups have several channels.
        return by_device(of_images, x, shared=(kernel,))
    return of_images(kernel, x)


def _plain_conv(x, kernel, *, stride: int = 1):
    """Compute `conv` as XLA's own convolution on any platform; arguments as for `conv`."""
    padding = (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )
