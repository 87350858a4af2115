"""Depthwise convolution on CPUs, all taps of a pixel in one sweep over the image.

XLA's takes tens of times as long there, and hundreds of times as long inside a loop.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def in_one_sweep(x, kernel):
    """y[p, c] = sum_o kernel[o, 0, c] x[p + o, c], zeros beyond the border.

    Args:
        x: (B, H, W, C).
        kernel: (k, k, 1, C), k odd.

    Returns:
        (B, H, W, C).
    """
    height, width = x.shape[1:3]
    padded = _pad(x, kernel.shape[0] // 2)
    taps = [
        padded[:, row : row + height, column : column + width] * kernel[row, column, 0]
        for row, column in np.ndindex(kernel.shape[:2])
    ]
    return functools.reduce(jnp.add, taps)


def _in_one_sweep_fwd(x, kernel):
    return in_one_sweep(x, kernel), (x, kernel)


def _in_one_sweep_bwd(saved, gradient):
    x, kernel = saved
    return in_one_sweep(gradient, kernel[::-1, ::-1]), _kernel_gradient(x, gradient, kernel)


in_one_sweep.defvjp(_in_one_sweep_fwd, _in_one_sweep_bwd)


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


def _pad(x, reach: int):
    return jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
