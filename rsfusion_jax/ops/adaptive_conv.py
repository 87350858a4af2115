"""Convolutions whose kernels change from pixel to pixel, without unfolding the image.

The taps of the kernel are processed one after the other in a loop, and again in the backward pass:
neither the k k shifted copies of the image nor the k k kernel values of every pixel and channel are
in memory at once.
"""

import jax
import jax.numpy as jnp


def adaptive_conv(x, kernel, weights):
    """Convolve with a kernel whose taps are weighted anew at every pixel.

    y[p, m] = sum_o weights[p, o] sum_n x[p + o, n] kernel[o, n, m].

    Args:
        x: (B, H, W, n), zeros beyond the border.
        kernel: (k, k, n, m), k odd.
        weights: (B, H, W, k k), taps row by row; (B, 1, 1, k k) where all pixels share them.

    Returns:
        (B, H, W, m).
    """

    def tap(shifted, entry):
        matrix, weight = entry
        return _weighed(jnp.matmul(shifted, matrix), weight)

    matrices = kernel.reshape(-1, *kernel.shape[2:])
    return _sum_over_taps(x, tap, (matrices, jnp.moveaxis(weights, -1, 0)))


def shared_kernels(x, kernels):
    """Filter every channel with its pixel's own kernel: y[p, c] = sum_o kernels[p, o] x[p + o, c].

    Args:
        x: (B, H, W, C), zeros beyond the border.
        kernels: (B, H, W, k k), taps row by row, k odd.

    Returns:
        (B, H, W, C).
    """

    def tap(shifted, weight):
        return _weighed(shifted, weight)

    return _sum_over_taps(x, tap, jnp.moveaxis(kernels, -1, 0))


def predicted_kernels(x, source, weights, biases):
    """Filter with kernels that a linear layer predicts for every pixel and channel.

    y[p, c] = sum_o K_o[p, c] x[p + o, c] with K_o = source weights_o + biases_o.

    Args:
        x: (B, H, W, C), zeros beyond the border.
        source: (B, H, W, n), the input of the linear layer.
        weights: (k k, n, C), taps row by row, k odd.
        biases: (k k, C).

    Returns:
        (B, H, W, C).
    """

    def tap(shifted, entry):
        weight, bias = entry
        return (jnp.matmul(source, weight) + bias) * shifted

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
    """(B, H, W, C) times (B, H, W) or (B, 1, 1)."""
    if weights.shape != x.shape[:3]:
        return weights[..., None] * x
    # Rows of all images become one axis: with the four axes of a single image XLA's CPU backend
    # takes 40 times as long for the gradient of the weights.
    rows = weights.reshape(-1, weights.shape[2], 1) * x.reshape(-1, *x.shape[2:])
    return rows.reshape(x.shape)
