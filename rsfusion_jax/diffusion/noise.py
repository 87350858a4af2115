"""Gaussian noise that depends on the pixel's position only, not on the size of the image.

An image is divided into square cells, starting at its first pixel. The values of a cell follow from
the key and the cell's row and column alone. So the noise of any window of a scene that does not fit
in memory can be computed without the rest.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

CELL = 64
"""Side of a cell in pixels."""


def noise_field(key, shape: tuple[int, int, int, int], dtype=jnp.float32):
    """Draw standard normal noise.

    Args:
        key: PRNG key.
        shape: (B, H, W, C).
        dtype: dtype of the values.

    Returns:
        (B, H, W, C) array of `dtype`.
    """
    batch, height, width, channels = shape
    rows, columns = -(-height // CELL), -(-width // CELL)
    cell = functools.partial(_cell, key, size=(batch, channels), dtype=dtype)
    across = jax.vmap(cell, in_axes=(None, 0))
    cells = jax.vmap(across, in_axes=(0, None))(jnp.arange(rows), jnp.arange(columns))
    image = jnp.transpose(cells, (2, 0, 3, 1, 4, 5))  # (B, rows, CELL, columns, CELL, C)
    image = image.reshape(batch, rows * CELL, columns * CELL, channels)
    return image[:, :height, :width]


def noise_part(key, rows: slice, columns: slice, channels: int) -> np.ndarray:
    """Return a window of the `noise_field` of one image, without computing the rest.

    Args:
        key: PRNG key of the whole field.
        rows, columns: window in pixels; both start at 0 or later.
        channels: C.

    Returns:
        (h, w, C) float32.
    """
    part = np.empty((rows.stop - rows.start, columns.stop - columns.start, channels), np.float32)
    for i in range(rows.start // CELL, -(-rows.stop // CELL)):
        for j in range(columns.start // CELL, -(-columns.stop // CELL)):
            inside, outside = [], []
            for cell, cut in ((i, rows), (j, columns)):
                low, high = max(cell * CELL, cut.start), min((cell + 1) * CELL, cut.stop)
                inside.append(slice(low - cell * CELL, high - cell * CELL))
                outside.append(slice(low - cut.start, high - cut.start))
            part[*outside] = np.asarray(_one_cell(key, i, j, channels)[*inside])
    return part


def _cell(key, row, column, *, size: tuple[int, int], dtype):
    key = jax.random.fold_in(jax.random.fold_in(key, row), column)
    batch, channels = size
    return jax.random.normal(key, (batch, CELL, CELL, channels), dtype)


@functools.partial(jax.jit, static_argnums=3)
def _one_cell(key, row, column, channels):
    return _cell(key, row, column, size=(1, channels), dtype=jnp.float32)[0]
