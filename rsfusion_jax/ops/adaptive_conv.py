"""A 3x3 convolution whose taps are weighted anew at every pixel."""

import jax
import jax.numpy as jnp


def adaptive_conv(x, kernel, weights, *, precision=None):
    """y[p, m] = sum_o weights[p, o] sum_n x[p + o, n] kernel[o, n, m], zeros beyond the border.

    One tap after the other is shifted, multiplied and added. The backward pass forms each again, so
    that neither pass holds the k k copies of `x` that unfolding would.

    Args:
        x: (B, H, W, n).
        kernel: (k, k, n, m), k odd.
        weights: (B, H, W, k k), taps row by row; (B, 1, 1, k k) where all pixels share them.
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, H, W, m).
    """
    size, height, width = kernel.shape[0], x.shape[1], x.shape[2]
    reach = size // 2
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    total = 0
    for tap in range(size * size):
        row, column = divmod(tap, size)

        @jax.checkpoint
        def contribution(padded, matrix, weight, row=row, column=column):
            shifted = padded[:, row : row + height, column : column + width]
            return weight * jnp.matmul(shifted, matrix, precision=precision)

        total += contribution(padded, kernel[row, column], weights[..., tap : tap + 1])
    return total
