"""A residual shift that varies over the scene: measured on a grid of windows, fitted smoothly."""

import dataclasses
import math

import numpy as np

from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.parts import read_part
from rsfusion_jax.scenes.pair.shift import Shift, estimate_shift

_SIDE = 48
"""MS pixels along a side of a window."""
_MOST = 12
"""Windows along an axis at most."""
_LEAST_VALID, _LEAST_EXPLAINED = 0.5, 0.3
"""Shares of valid pixels, and of PAN's variance that the bands explain, of windows that count."""
_ROUNDS = 12
_TUNING = 2.0
"""Deviations, as multiples of the median one, beyond which a window counts less and less."""


@dataclasses.dataclass(frozen=True)
class ShiftField:
    """A smooth field of shifts: a polynomial of the place.

    Attributes:
        coefficients: (terms, 2): of rows and of columns, in PAN pixels.
        centre, reach: (2,) PAN pixels: places are measured from `centre` in units of `reach`.
        axes: ((offset, scale), (offset, scale)) of `relate.Relation`: where MS pixels lie.
        residual: root mean square of the windows' deviation from it, in PAN pixels.
        windows: number of windows that it was fitted to.
    """

    coefficients: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    axes: tuple[tuple[float, float], tuple[float, float]]
    residual: float
    windows: int

    def at(self, places: np.ndarray) -> np.ndarray:
        """(N, 2) shifts at (N, 2) places, rows and columns in PAN pixels."""
        terms = _terms((places - self.centre) / self.reach, len(self.coefficients))
        return terms @ self.coefficients

    def in_ms_pixels(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(2, len(rows), len(columns)) shifts of MS pixels, in MS pixels."""
        (row_offset, row_scale), (column_offset, column_scale) = self.axes
        fine = np.meshgrid(
            row_offset + row_scale * (rows + 0.5),
            column_offset + column_scale * (columns + 0.5),
            indexing="ij",
        )
        shifts = self.at(np.stack([axis.ravel() for axis in fine], axis=1))
        shifts = shifts / [row_scale, column_scale]
        return np.moveaxis(shifts.reshape(len(rows), len(columns), 2), -1, 0)


def measure_field(scene: ScenePair, axes) -> ShiftField | None:
    """Measure the shift in a grid of windows and fit a smooth field to it.

    The polynomial has 6 terms where there are windows enough for them, else 3 or 1. Windows far
    from it, such as those of clouds that moved between the images, count less and less.

    Args:
        scene: the pair, placed at whole multiples of its ratio.
        axes: of the relation of its grids.

    Returns:
        The field; None where no window says anything.
    """
    ratio = scene.rows.axis.ratio
    scale = math.sqrt(axes[0][1] * axes[1][1])
    side = _SIDE * ratio
    begins = [_begins(span, side, ratio) for span in (scene.rows, scene.columns)]
    places, shifts = [], []
    for top in begins[0]:
        for left in begins[1]:
            sizes = [
                min(side, span.length - begin) // ratio * ratio
                for span, begin in zip((scene.rows, scene.columns), (top, left), strict=True)
            ]
            part, valid = read_part(scene, (top, left), sizes)
            if valid.mean() < _LEAST_VALID:
                continue
            sample = part.pan.mean(axis=-1), part.raw, part.place, part.valid, part.raw_valid
            shift = estimate_shift([sample], scale)
            if shift is not None and shift.explained > _LEAST_EXPLAINED:
                frames = scene.rows.frame + top, scene.columns.frame + left
                places.append([f + size / 2 for f, size in zip(frames, sizes, strict=True)])
                shifts.append([shift.rows, shift.columns])
    if not places:
        return None
    return _fit(np.array(places), np.array(shifts), axes)


def as_shift(field: ShiftField, scene: ScenePair) -> Shift:
    """The field's mean, as a shift of the whole scene is recorded."""
    rows, columns = (
        span.start + span.size * np.array([0.1, 0.5, 0.9]) for span in (scene.rows, scene.columns)
    )
    grid = np.stack([axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij")], axis=1)
    mean = field.at(grid).mean(axis=0)
    return Shift(float(mean[0]), float(mean[1]), float("nan"), float("nan"), field.windows)


def _begins(span, side: int, ratio: int) -> list[int]:
    """Where windows begin in the frame, evenly spread and overlapping where there is room."""
    room = span.length - side
    if room <= 0:
        return [0]
    count = min(_MOST, 1 + math.ceil(2 * room / side))
    return sorted({int(place) // ratio * ratio for place in np.linspace(0, room, count)})


def _fit(places: np.ndarray, shifts: np.ndarray, axes) -> ShiftField:
    count = 6 if len(places) >= 15 else 3 if len(places) >= 6 else 1
    centre = (places.max(0) + places.min(0)) / 2
    reach = np.maximum(np.ptp(places, axis=0) / 2, 1.0)
    terms, weights = _terms((places - centre) / reach, count), np.ones(len(places))
    for _ in range(_ROUNDS):
        roots = np.sqrt(weights)[:, None]
        coefficients = np.linalg.lstsq(roots * terms, roots * shifts, rcond=None)[0]
        misses = np.linalg.norm(shifts - terms @ coefficients, axis=1)
        typical = max(float(np.median(misses)), 1e-3)
        weights = 1 / (1 + (misses / (_TUNING * typical)) ** 4)
    residual = float(np.sqrt((weights * misses**2).sum() / weights.sum()))
    return ShiftField(coefficients, centre, reach, axes, residual, len(places))


def _terms(places: np.ndarray, count: int) -> np.ndarray:
    """(N, count): 1, y, x, y^2, y x, x^2."""
    y, x = places.T
    return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x], axis=1)[:, :count]
