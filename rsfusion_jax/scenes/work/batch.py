"""A batch of windows of one shape, as the device takes it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from rsfusion_jax.ops.banded import Taps

Array = np.ndarray | jax.Array


class TilePlaces(NamedTuple):
    """Where tiles of the scene's lattice lie in each window, filled up to n tiles.

    Attributes:
        tops, lefts: (B, n) int32: first row and column of a tile in its window.
        used: (B, n) float32: 1, or 0 for tiles that only fill up.
        chunks: (B,) int32: groups of tiles that hold one that is used.
    """

    tops: Array
    lefts: Array
    used: Array
    chunks: Array


class WindowBatch(NamedTuple):
    """Windows of a scene; a single window has the same fields without the axis B.

    Attributes:
        pan: (B, P, Q, G) counts.
        ms: (B, h, w, C) counts, MS pixels of the file.
        rows_fine, columns_fine: matrices (P, h) and (Q, w) that enlarge `ms` to `pan`.
        rows_coarse, columns_coarse: those, (P / r, h) and (Q / r, w), that bring `ms` to the
            method's own phase and ratio. See `enlarge.Reading`.
        weight: (B, P, Q): 1 where a pixel is written and valid, else 0.
        field: (B, P, Q, channels): further images of PAN's size, such as a draw's state; None.
        tiles: of methods that see the whole image; None for others.
        inner: of networks that can fuse a part of a window, its rows (B, H') and columns (B, W');
            None for others.
    """

    pan: Array
    ms: Array
    rows_fine: Taps
    rows_coarse: Taps
    columns_fine: Taps
    columns_coarse: Taps
    weight: Array
    field: Array | None = None
    tiles: TilePlaces | None = None
    inner: tuple[Array, Array] | None = None


def stack_windows(windows: Sequence[WindowBatch], batch_size: int) -> WindowBatch:
    """A batch of single windows, filled up with the last one."""
    if batch_size == 1:
        return jax.tree.map(lambda array: array[None], windows[0])  # a view, no copy
    windows = [*windows, *[windows[-1]] * (batch_size - len(windows))]
    return jax.tree.map(lambda *arrays: np.stack(arrays), *windows)
