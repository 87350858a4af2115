"""A 3x3 convolution whose taps are weighted anew at every pixel."""

import jax
import jax.numpy as jnp


def adaptive_conv(x, kernel, weights, *, precision=None):
    """y[p, m] = sum_o weights[p, o] sum_n x[p + o, n] kernel[o, n, m], zeros beyond the border.

    One tap after the other is shifted, multiplied and added, in a loop that is compiled once. The
    backward pass forms each again, so that neither pass holds the k k copies of `x` that unfolding
    would.

    Args:
        x: (B, H, W, n).
        kernel: (k, k, n, m), k odd.
        weights: (B, H, W, k k), taps row by row; (B, 1, 1, k k) where all pixels share them.
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, H, W, m).
    """
    size, reach = kernel.shape[0], kernel.shape[0] // 2
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))

    @jax.checkpoint
    def add_tap(total, tap):
        row, column, matrix, weight = tap
        shifted = jax.lax.dynamic_slice(padded, (0, row, column, 0), x.shape)
        product = jnp.matmul(shifted, matrix, precision=precision)
        return total + weight[..., None] * product, None

    rows, columns = jnp.divmod(jnp.arange(size * size), size)
    matrices = kernel.reshape(size * size, *kernel.shape[2:])
    start = jnp.zeros((*x.shape[:3], kernel.shape[-1]), jnp.result_type(x, kernel, weights))
    return jax.lax.scan(add_tap, start, (rows, columns, matrices, jnp.moveaxis(weights, -1, 0)))[0]
