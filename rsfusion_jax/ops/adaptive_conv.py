"""Convolutions whose kernels change from pixel to pixel, without unfolding the image.

The taps of the kernel are visited one after the other in a loop that is compiled once, and visited
again in the backward pass: the k k shifted copies of the image, or the k k numbers that a kernel
has per pixel and channel, are never held together.
"""

import jax
import jax.numpy as jnp


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


def _sum_over_taps(x, tap, entries):
    """Sum of `tap(x shifted by o, entry o)` over the taps, the leading axis of `entries`."""
    count = jax.tree.leaves(entries)[0].shape[0]
    size = round(count**0.5)
    reach = size // 2
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))

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
