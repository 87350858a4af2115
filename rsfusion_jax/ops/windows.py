"""Means over windows, parts of images, and linear interpolation to the grid of PAN."""

import jax
import jax.numpy as jnp
import numpy as np


def window_mean(image, radius: int):
    """Means over the pixels of (B, H, W, C) within `radius` along both axes, inside the image."""
    for axis in (1, 2):
        size = image.shape[axis]
        window = [1] * 4
        window[axis] = 2 * radius + 1
        padding = [(0, 0)] * 4
        padding[axis] = (radius, radius)
        place = np.arange(size)
        count = np.minimum(place + radius, size - 1) - np.maximum(place - radius, 0) + 1
        shape = [1] * 4
        shape[axis] = size
        total = jax.lax.reduce_window(
            image, np.zeros((), image.dtype), jax.lax.add, window, (1,) * 4, padding
        )
        image = total / jnp.asarray(count.reshape(shape), image.dtype)
    return image


def linear(image, ratio: int):
    """Enlarges (B, h, w, C) to (B, r h, r w, C) linearly; borders are replicated.

    Sample i lands on index `r * i + r // 2`, as in `ops.resample.interp23`.
    """
    for axis in (1, 2):
        size, first = image.shape[axis], ratio - ratio // 2
        padding = [(0, 0)] * 4
        padding[axis] = (1, 1)
        padded = jnp.pad(image, padding, mode="edge")
        before, after = (
            jax.lax.slice_in_dim(padded, start, start + size + 1, axis=axis) for start in (0, 1)
        )
        between = [before + (step / ratio) * (after - before) for step in range(ratio)]
        shape = list(image.shape)
        shape[axis] = (size + 1) * ratio
        enlarged = jnp.stack(between, axis=axis + 1).reshape(shape)
        image = jax.lax.slice_in_dim(enlarged, first, first + size * ratio, axis=axis)
    return image


def cut(image, starts, size):
    """Takes a part of each image of (B, H, W, ...).

    Args:
        image: the images.
        starts: first rows (B,) and first columns (B,).
        size: number of rows and of columns.

    Returns:
        (B, *size, ...).
    """
    tail = image.shape[3:]
    return jax.vmap(
        lambda x, row, column: jax.lax.dynamic_slice(
            x, (row, column, *[0] * len(tail)), (*size, *tail)
        )
    )(image, *starts)
