"""Convolutions whose kernels change from pixel to pixel, without unfolding the image.

Those visit the taps of the kernel one after the other in a loop that is compiled once, and the
backward pass visits them again: the k k shifted copies of the image, or the k k numbers that a
kernel has per pixel and channel, are never held together. Kernels of one channel each that do not
change from pixel to pixel are here too, as CPUs need a way of their own for them.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def adaptive_conv(x, kernel, weights, *, precision=None):
    """y[p, m] = sum_o weights[p, o] sum_n x[p + o, n] kernel[o, n, m], zeros beyond the border.

    Args:
        x: (B, H, W, n).
        kernel: (k, k, n, m), k odd.
        weights: (B, H, W, k k), taps row by row; (B, 1, 1, k k) where all pixels share them.
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, H, W, m).
    """

    def tap(shifted, entry):
        matrix, weight = entry
        return _weighed(jnp.matmul(shifted, matrix, precision=precision), weight)

    matrices = kernel.reshape(-1, *kernel.shape[2:])
    return _sum_over_taps(x, tap, (matrices, jnp.moveaxis(weights, -1, 0)))


def shared_kernels(x, kernels):
    """y[p, c] = sum_o kernels[p, o] x[p + o, c], zeros beyond the border.

    Args:
        x: (B, H, W, C).
        kernels: (B, H, W, k k), taps row by row, k odd.

    Returns:
        (B, H, W, C).
    """

    def tap(shifted, weight):
        return _weighed(shifted, weight)

    return _sum_over_taps(x, tap, jnp.moveaxis(kernels, -1, 0))


def predicted_kernels(x, source, weights, biases, *, precision=None):
    """y[p, c] = sum_o K_o[p, c] x[p + o, c] with K_o = source weights_o + biases_o.

    Args:
        x: (B, H, W, C), zeros beyond the border.
        source: (B, H, W, n), what the kernels are linear in.
        weights: (k k, n, C), taps row by row, k odd.
        biases: (k k, C).
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, H, W, C).
    """

    def tap(shifted, entry):
        weight, bias = entry
        return (jnp.matmul(source, weight, precision=precision) + bias) * shifted

    return _sum_over_taps(x, tap, (weights, biases))


def depthwise_conv(x, kernel, *, precision=None):
    """y[p, c] = sum_o kernel[o, c] x[p + o, c]: the same kernel everywhere.

    A convolution, except on CPUs: XLA's takes tens of times as long there as a sweep over the image
    that adds all taps of a pixel, and hundreds of times as long inside a loop.

    Args:
        x: (B, H, W, C), zeros beyond the border.
        kernel: (k, k, 1, C), k odd.
        precision: of the convolution, as `jax.lax.Precision`.
    """
    reach = kernel.shape[0] // 2

    def convolution(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(1, 1),
            padding=((reach, reach), (reach, reach)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
            precision=precision,
        )

    return jax.lax.platform_dependent(x, kernel, cpu=_in_one_sweep, default=convolution)


@jax.custom_vjp
def _in_one_sweep(x, kernel):
    height, width = x.shape[1:3]
    padded = _pad(x, kernel.shape[0] // 2)
    taps = [
        padded[:, row : row + height, column : column + width] * kernel[row, column, 0]
        for row, column in np.ndindex(kernel.shape[:2])
    ]
    return functools.reduce(jnp.add, taps)


def _in_one_sweep_fwd(x, kernel):
    return _in_one_sweep(x, kernel), (x, kernel)


def _in_one_sweep_bwd(saved, gradient):
    x, kernel = saved
    return _in_one_sweep(gradient, kernel[::-1, ::-1]), _kernel_gradient(x, gradient, kernel)


_in_one_sweep.defvjp(_in_one_sweep_fwd, _in_one_sweep_bwd)


def _kernel_gradient(x, gradient, kernel):
    # Row by row into a sum per tap, column and channel: one look at either image, where a sum over
    # all pixels for each tap would read them k k times.
    height, width = x.shape[1:3]
    padded = _pad(x, kernel.shape[0] // 2)
    taps = list(np.ndindex(kernel.shape[:2]))

    def add(sums, y):
        of_row = jax.lax.dynamic_slice_in_dim(gradient, y, 1, axis=1)
        rows = jax.lax.dynamic_slice_in_dim(padded, y, kernel.shape[0], axis=1)
        products = [
            rows[:, row : row + 1, column : column + width] * of_row for row, column in taps
        ]
        return [total + product for total, product in zip(sums, products, strict=True)], None

    wide = jnp.promote_types(x.dtype, jnp.float32)
    start = [jnp.zeros((x.shape[0], 1, width, x.shape[-1]), wide) for _ in taps]
    sums, _ = jax.lax.scan(add, start, jnp.arange(height))
    return jnp.stack([s.sum((0, 1, 2)) for s in sums]).reshape(kernel.shape).astype(kernel.dtype)


def _sum_over_taps(x, tap, entries):
    """Sum of `tap(x shifted by o, entry o)` over the taps, the leading axis of `entries`."""
    count = jax.tree.leaves(entries)[0].shape[0]
    size = round(count**0.5)
    reach = size // 2
    padded = _pad(x, reach)

    @jax.checkpoint
    def add(total, step):
        row, column, entry = step
        return total + tap(jax.lax.dynamic_slice(padded, (0, row, column, 0), x.shape), entry), None

    steps = (*jnp.divmod(jnp.arange(count), size), entries)
    first = jax.tree.map(lambda leaf: leaf[0], entries)
    start = jax.eval_shape(tap, x, first)
    return jax.lax.scan(add, jnp.zeros(start.shape, start.dtype), steps)[0]


def _weighed(x, weights):
    """(B, H, W, C) by (B, H, W) or (B, 1, 1)."""
    if weights.shape != x.shape[:3]:
        return weights[..., None] * x
    # Rows of all images as one axis: for the gradient of the weights XLA's CPU takes 40 times as
    # long over a single image's four axes.
    rows = weights.reshape(-1, weights.shape[2], 1) * x.reshape(-1, *x.shape[2:])
    return rows.reshape(x.shape)


def _pad(x, reach: int):
    return jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
