"""Products with matrices that are zero but for a band, as resampling along an axis needs them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_RUN = 64
"""Rows of a run, about: longer ones meet more zeros, shorter ones are slow to multiply."""


class Taps(NamedTuple):
    """A matrix (n m, k) whose rows are zero but for a band, in n runs of m rows.

    Attributes:
        starts: (n,) int32: first column of each run.
        weights: (n, m, columns): the rows of each run from there on.
    """

    starts: np.ndarray | jax.Array
    weights: np.ndarray | jax.Array

    @classmethod
    def of(cls, matrix: np.ndarray, scale: float, reach: int, dtype=np.float32) -> "Taps":
        """The taps of a matrix.

        Args:
            matrix: (P, k).
            scale: rows in which the band advances one column.
            reach: columns that a single row may need.
            dtype: type of the weights.
        """
        length, count = matrix.shape

        def columns(rows):
            return min(int(np.ceil(rows / scale)) + reach, count)

        divisors = [rows for rows in range(1, length + 1) if length % rows == 0]
        rows = min(divisors, key=lambda rows: (columns(rows) + reach) * max(rows, _RUN) / rows)
        width = columns(rows)
        runs = matrix.reshape(length // rows, rows, count)
        starts = np.minimum((runs != 0).any(axis=1).argmax(axis=1), count - width)
        weights = [run[:, start : start + width] for run, start in zip(runs, starts, strict=True)]
        return cls(starts.astype(np.int32), np.stack(weights).astype(dtype))

    def dense(self, count: int) -> np.ndarray:
        """The whole matrix, of `count` columns."""
        runs, rows, columns = self.weights.shape
        matrix = np.zeros((runs, rows, count), self.weights.dtype)
        for run, start, weights in zip(matrix, self.starts, self.weights, strict=True):
            run[:, start : start + columns] = weights
        return matrix.reshape(runs * rows, count)


def multiply(taps: Taps, image):
    """(n m, ...) of a JAX array (k, ...)."""
    runs, rows, columns = taps.weights.shape
    flat = image.reshape(len(image), -1)
    starts = jnp.asarray(taps.starts)
    read = jax.vmap(lambda start: jax.lax.dynamic_slice_in_dim(flat, start, columns))(starts)
    result = jnp.einsum("nmk,nkx->nmx", taps.weights, read, precision="highest")
    return result.reshape(runs * rows, *image.shape[1:])
