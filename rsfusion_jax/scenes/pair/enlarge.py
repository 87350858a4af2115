"""MS on the PAN grid, tile by tile, exactly as the whole scene would have it.

Enlarging is separable and linear, so a tile's rows and columns are two matrices, made on the host
in float64 from the very functions that enlarge whole images. A PAN pixel depends on few MS pixels
around it: the matrices are bands, and the device multiplies short runs of PAN pixels by the few MS
pixels that they depend on.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.ops.banded import Taps, multiply
from rsfusion_jax.ops.resample import interp23, interpolate_at
from rsfusion_jax.scenes.pair.geometry import Span

_MARGIN = 13
"""MS pixels on either side of a tile that reach into it: 12-point kernels, and interp23's three
steps of 6, 3 and 1.5."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a tile reads of MS along one axis, and how it is enlarged.

    Attributes:
        start: first MS pixel of the file that is read.
        stop: end of it.
        fine: P rows: MS to the tile's PAN pixels.
        coarse: P / r rows: MS to the method's own MS pixels.
        lobe: two (P,) arrays of indices from `start`: the MS pixels to both sides of a PAN pixel.
        inside: (P,) bool: PAN pixels whose centres lie on MS.
    """

    start: int
    stop: int
    fine: Taps
    coarse: Taps
    lobe: tuple[np.ndarray, np.ndarray]
    inside: np.ndarray


def readings_size(span: Span, length: int) -> int:
    """MS pixels that every tile of `length` PAN pixels reads along this axis."""
    need = int(np.ceil(length / span.axis.scale)) + 2 * _MARGIN + 3
    return min(need, span.axis.coarse)


@functools.lru_cache(maxsize=1024)
def reading(span: Span, begin: int, length: int) -> Reading:
    """What the tile that begins `begin` PAN pixels into the frame needs; its shape never varies."""
    axis = span.axis
    count = readings_size(span, length)
    indices = span.frame + begin + np.arange(length)
    positions = axis.position(indices)
    start = int(np.clip(np.floor(positions[0]) - _MARGIN, 0, axis.coarse - count))
    centres = axis.position(indices[0] + axis.phase + axis.ratio * np.arange(length // axis.ratio))
    if axis.exact:
        fine = _by_interp23(span, begin, length, start, count)
        centres = np.rint(centres)
    else:
        fine = _read_at(positions - start, count)
    neighbours = [np.clip(side(positions), 0, axis.coarse - 1) - start for side in (_floor, _ceil)]
    low, high = -0.5 - 0.02 / axis.scale, axis.coarse - 0.5 + 0.02 / axis.scale
    return Reading(
        start=start,
        stop=start + count,
        fine=_taps(fine, axis.scale),
        coarse=_taps(_read_at(centres - start, count), axis.scale / axis.ratio),
        lobe=tuple(np.clip(b, 0, count - 1).astype(np.intp) for b in neighbours),
        inside=(positions >= low) & (positions <= high),
    )


def enlarge(ms, rows: Taps, columns: Taps):
    """(..., h', w', C) of (..., h, w, C) by taps along both axes, with the same leading axes."""
    if ms.ndim > 3:
        return jax.vmap(enlarge)(ms, rows, columns)
    # Columns first, as rows then lie in the order of the result.
    ms = multiply(columns, jnp.swapaxes(ms, 0, 1))
    return multiply(rows, jnp.swapaxes(ms, 0, 1))


def enlarge_small(ms: np.ndarray, rows: Taps, columns: Taps) -> np.ndarray:
    """`enlarge` of one small NumPy image (h, w, C), for which nothing is compiled."""
    height, width, _ = ms.shape
    return np.einsum("ph,hwc,qw->pqc", rows.dense(height), ms, columns.dense(width), optimize=True)


def covered(valid: np.ndarray, rows: Reading, columns: Reading) -> np.ndarray:
    """(P, P) bool: PAN pixels on MS whose MS pixels to every side are valid.

    Args:
        valid: (h, w) of the MS pixels read.
        rows, columns: how they were read.
    """
    result = np.outer(rows.inside, columns.inside)
    if not valid.all():
        for row in rows.lobe:
            part = valid[row]
            for column in columns.lobe:
                result &= part[:, column]
    return result


def _floor(positions):
    return np.floor(positions + 1e-6)


def _ceil(positions):
    return np.ceil(positions - 1e-6)


def _taps(matrix: np.ndarray, scale: float) -> Taps:
    """The taps of a matrix (P, k) that advances one column in `scale` rows."""
    return Taps.of(matrix, scale, 2 * _MARGIN + 1)


def _read_at(positions: np.ndarray, count: int) -> np.ndarray:
    """(len(positions), count) matrix that reads `count` samples at positions, edges repeated."""
    # An identity matrix as an image of one column and `count` bands, read as any image is.
    identity = np.eye(count)[:, None, :]
    return interpolate_at(identity, positions, [0.0])[:, 0]


def _by_interp23(span: Span, begin: int, length: int, start: int, count: int) -> np.ndarray:
    """The same for `interp23` of the whole frame, whose borders alone are repeated."""
    axis, ratio = span.axis, span.axis.ratio
    first, last = begin // ratio, -(-(begin + length) // ratio)
    low, high = max(first - _MARGIN, 0), min(last + _MARGIN, span.length // ratio)
    matrix = _interp23_matrix(high - low, ratio)
    matrix = matrix[begin - ratio * low : begin - ratio * low + length]
    # The frame may reach beyond the file: there MS repeats its edge.
    samples = (span.frame - axis.whole) // ratio + np.arange(low, high)
    columns = np.clip(np.clip(samples, 0, axis.coarse - 1) - start, 0, count - 1)
    folded = np.zeros((length, count))
    np.add.at(folded.T, columns, matrix.T)
    return folded


@functools.lru_cache(maxsize=8)
def _interp23_matrix(size: int, ratio: int) -> np.ndarray:
    """(ratio size, size) matrix of `interp23`; the same for all tiles inside a scene."""
    return interp23(np.eye(size)[:, None, :], ratio)[:, ratio // 2]
