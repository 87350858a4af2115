"""Registration of a PAN and an MS image to a common corner-aligned grid by their geotransforms.

In GDAL's corner coordinates `inv(T_pan) T_ms` maps MS to PAN pixels: MS corner x lies at PAN corner
o + s x. The integer part of the offset o only selects the window. A fractional offset, or a scale s
that differs from the ratio, requires resampling. Only MS is resampled, and only once, so that
PAN's pixels stay unchanged.
"""

import dataclasses

import numpy as np

from rsfusion_jax.data.raster import Raster, fill_holes
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interpolate_at

_EXACT = 0.02
"""Tolerance in PAN pixels for whole-pixel positions, since geotransforms are rounded numbers."""
_RATIO_TOLERANCE = 0.05
"""Largest relative deviation of the pixel sizes' quotient from the ratio that is resampled."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """A corner-aligned pair: MS pixel i covers PAN pixels r i .. r i + r - 1.

    Attributes:
        pan: (r H, r W, G), stored dtype; values of nodata pixels are arbitrary.
        ms: (H, W, C), stored dtype, or float where it was resampled.
        pan_valid: (r H, r W) bool.
        ms_valid: (H, W) bool.
        geometry: affine transform (a, b, c, d, e, f) of `pan`'s grid; None without one.
        crs: coordinate reference system of `pan` as text; None without one.
        notices: messages for the user on what was changed.
    """

    pan: np.ndarray
    ms: np.ndarray
    pan_valid: np.ndarray
    ms_valid: np.ndarray
    geometry: tuple[float, ...] | None
    crs: str | None
    notices: tuple[str, ...]

    def crop(self, rows: slice, columns: slice, ratio: int) -> "Pair":
        """Return the pair cropped to a window of MS pixels."""
        fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in (rows, columns))
        return dataclasses.replace(
            self,
            pan=self.pan[fine],
            ms=self.ms[rows, columns],
            pan_valid=self.pan_valid[fine],
            ms_valid=self.ms_valid[rows, columns],
            geometry=moved(self.geometry, fine[0].start, fine[1].start),
        )

    def filled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return `pan` and `ms` with nodata replaced by the nearest valid pixel."""
        return fill_holes(self.pan, self.pan_valid), fill_holes(self.ms, self.ms_valid)

    def complete(self, ratio: int) -> np.ndarray:
        """Return where the MS pixel and all PAN pixels that it covers are valid, (H, W) bool."""
        height, width = self.ms_valid.shape
        blocks = self.pan_valid.reshape(height, ratio, width, ratio)
        return self.ms_valid & blocks.all(axis=(1, 3))


def align(pan: Raster, ms: Raster, ratio: int) -> Pair:
    """Crop a pair to its common area and, where needed, resample MS to PAN's grid.

    Args:
        pan: guide image.
        ms: MS image.
        ratio: r, PAN pixels per MS pixel along one axis.

    Raises:
        UserError: different coordinate systems, a rotation between the grids, another ratio, no
            common area, or arrays without georeference whose sizes do not match the ratio.
    """
    notices = [*pan.notices, *(note for note in ms.notices if note not in pan.notices)]
    if (pan.geometry is None) != (ms.geometry is None):
        raise UserError(
            f"{pan.name} and {ms.name}: only one of them has a geotransform, expected both or "
            "neither; write the other one or give both as arrays"
        )
    if pan.geometry is None:
        scales, offsets = _array_scales(pan, ms, ratio), (0.0, 0.0)
        notices.append("no geotransforms: taken as a pair whose corners coincide")
    else:
        scales, offsets = _georeferenced_scales(pan, ms, ratio)
    axes = [
        _along_axis(offset, scale, pan.image.shape[axis], ms.image.shape[axis], ratio)
        for axis, (offset, scale) in enumerate(zip(offsets, scales, strict=True))
    ]
    if any(len(positions) < 1 for _, positions in axes):
        raise UserError(
            f"{pan.name} and {ms.name} have no area in common; give two images of one place"
        )
    starts, positions = zip(*axes, strict=True)
    fine = tuple(slice(start, start + ratio * len(p)) for start, p in axes)
    image, valid, resampled = _at_positions(ms, positions, ratio)
    if image.shape[:2] != ms.image.shape[:2] or pan.image[fine].shape != pan.image.shape:
        notices.append(
            f"cropped to the common area: PAN from row {starts[0]}, column {starts[1]}, "
            f"{_times(pan.image[fine])} of {_times(pan.image)}; MS {_times(image)} of "
            f"{_times(ms.image)}"
        )
    if resampled:
        notices.append(_resampling(offsets, scales, ratio))
    return Pair(
        pan=pan.image[fine],
        ms=image,
        pan_valid=pan.valid[fine],
        ms_valid=valid,
        geometry=moved(pan.geometry, *starts),
        crs=pan.crs,
        notices=tuple(notices),
    )


def _array_scales(pan: Raster, ms: Raster, ratio: int) -> tuple[float, float]:
    scales = tuple(pan.image.shape[axis] / ms.image.shape[axis] for axis in (0, 1))
    if scales != (ratio, ratio):
        raise UserError(
            f"{pan.name} of {_times(pan.image)} is {scales[0]:.4g} x {scales[1]:.4g} times "
            f"{ms.name} of {_times(ms.image)}, expected {ratio} and no geotransforms relate them; "
            "crop the pair or give --ratio"
        )
    return scales


def _georeferenced_scales(pan: Raster, ms: Raster, ratio: int):
    """Return the PAN pixels per MS pixel and MS's first corner on the PAN grid, (rows, columns)."""
    if pan.crs != ms.crs:
        raise UserError(
            f"{pan.name} is in {pan.crs} and {ms.name} in {ms.crs}, expected one coordinate "
            "system; warp one with gdalwarp -t_srs"
        )
    a, b, c, d, e, f = (_inverse(_matrix(pan)) @ _matrix(ms))[:2].ravel()
    drift = max(abs(b) * ms.image.shape[0], abs(d) * ms.image.shape[1])
    if drift > _EXACT * ratio or a <= 0 or e <= 0:
        raise UserError(
            f"{ms.name} is rotated or mirrored against {pan.name} (by {drift:.3g} PAN pixels over "
            "the image), expected parallel grids; warp it with gdalwarp"
        )
    for scale in (a, e):
        if abs(scale / ratio - 1) > _RATIO_TOLERANCE:
            raise UserError(
                f"{ms.name} has pixels {e:.4g} x {a:.4g} times those of {pan.name}, expected "
                f"{ratio}; give --ratio={max(round(scale), 1)} or resample it with gdalwarp -tr"
            )
    return (e, a), (f, c)


def _matrix(raster: Raster) -> np.ndarray:
    return np.array([*raster.geometry, 0, 0, 1], float).reshape(3, 3)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    if np.linalg.det(matrix) == 0:
        raise UserError("a geotransform has pixels of size 0; write the image again")
    return np.linalg.inv(matrix)


def _along_axis(offset: float, scale: float, fine: int, coarse: int, ratio: int):
    """Return the common area along one axis.

    That is its first PAN pixel, and the centres of its blocks of r PAN pixels as positions in MS
    pixels.
    """
    whole = round(offset)
    start = whole if whole >= 0 else whole % ratio
    stop = min(fine, whole + scale * coarse)
    count = max(int(np.floor((stop - start) / ratio + _EXACT)), 0)
    count = min(count, (fine - start) // ratio)
    centres = start + ratio * np.arange(count) + ratio / 2  # in PAN corner coordinates
    return start, (centres - offset) / scale - 0.5


def _at_positions(ms: Raster, positions, ratio: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return MS at the positions, its mask of valid pixels, and whether it was resampled.

    Where all positions are whole pixels, MS is cropped without resampling.
    """
    nearest = [np.round(p).astype(int) for p in positions]
    offsets = [np.abs(p - n).max() * ratio for p, n in zip(positions, nearest, strict=True)]
    inside = all(
        n[0] >= 0 and n[-1] < size and n[-1] - n[0] == len(n) - 1
        for n, size in zip(nearest, ms.image.shape, strict=False)
    )
    if inside and max(offsets) <= _EXACT:
        window = tuple(slice(n[0], n[-1] + 1) for n in nearest)
        return ms.image[window], ms.valid[window], False
    image = fill_holes(ms.image, ms.valid)
    if image.dtype != np.float32:
        image = image.astype(np.float64)
    image = interpolate_at(image, *positions)
    valid = np.ones(image.shape[:2], bool)  # valid where all neighbouring MS pixels are valid
    sides = [
        [np.clip(edge(p).astype(int), 0, size - 1) for edge in (np.floor, np.ceil)]
        for p, size in zip(positions, ms.image.shape, strict=False)
    ]
    for rows in sides[0]:
        for columns in sides[1]:
            valid &= ms.valid[np.ix_(rows, columns)]
    return image, valid, True


def _resampling(offsets, scales, ratio: int) -> str:
    fractions = ", ".join(f"{offset - round(offset):+.2f}" for offset in offsets)
    text = f"MS resampled once, band-limited: its corner lies {fractions} PAN pixels (row, column)"
    text += " off PAN's grid"
    if any(abs(scale - ratio) > 1e-6 for scale in scales):
        text += f" and its pixels are {scales[0]:.5g} x {scales[1]:.5g} PAN pixels, not {ratio}"
    return text


def moved(geometry: tuple[float, ...] | None, row: int, column: int):
    """Return the affine transform of a grid cropped to start at a pixel; None without one."""
    if geometry is None:
        return None
    a, b, c, d, e, f = geometry
    return (a, b, c + a * column + b * row, d, e, f + d * column + e * row)


def _times(image: np.ndarray) -> str:
    return f"{image.shape[0]}x{image.shape[1]}"
