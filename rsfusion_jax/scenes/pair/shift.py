"""How far MS is displaced against PAN beyond what the geotransforms say.

At the right place PAN, as blurred as MS is, is a linear combination of the MS bands. The shift and
the combination are found together: a Gauss-Newton step is one least-squares fit of the blurred PAN
on the bands, a constant and PAN's two slopes. The search begins at the best whole PAN pixel, and
ends when the steps do: a single step falls far short of a shift of more than a pixel.
"""

import dataclasses
import math

import numpy as np
import scipy

_BLUR = 0.45
"""Standard deviation of the blur that makes PAN as unsharp as MS, in MS pixels."""
_SEARCH = 4
"""PAN pixels in every direction among which the search begins."""
_STEPS = 30
_BORDER = 4
"""MS pixels at a sample's border that are not compared."""


@dataclasses.dataclass(frozen=True)
class Shift:
    """A residual shift.

    Attributes:
        rows, columns: PAN pixels that MS lies lower and further to the right.
        explained: share of the blurred PAN's variance that the bands explain there.
        before: the same at no shift.
        pixels: MS pixels it was measured on.
    """

    rows: float
    columns: float
    explained: float
    before: float
    pixels: int


def estimate_shift(samples: list, ratio: float) -> Shift | None:
    """Estimates one shift from samples of a scene.

    Args:
        samples: (pan (H, W), ms (h, w, C), place (2,)) and perhaps what is valid in both, (H, W)
            and (h, w) bool: `place` is the PAN position, in the sample, of the centre of the
            sample's MS pixel (0, 0) by the geotransforms.
        ratio: PAN pixels per MS pixel.

    Returns:
        The shift; None where no sample is large enough or PAN has no structure in them.
    """
    prepared = [_Sample(*sample[:3], ratio, *sample[3:]) for sample in samples]
    prepared = [sample for sample in prepared if sample.size >= 64]
    if not prepared:
        return None
    bands = np.concatenate([sample.bands for sample in prepared])
    if len(bands) < 4 * bands.shape[1] or np.ptp(bands[:, :-1]) == 0:
        return None

    scale = np.linalg.norm(bands, axis=0)
    base, _, _ = np.linalg.svd(bands / np.where(scale > 0, scale, 1), full_matrices=False)
    ends = np.cumsum([sample.size for sample in prepared])[:-1]
    bases = np.split(base, ends)

    def explained(places):
        """(K,) share of the blurred PAN's variance that lies in the base."""
        sums = [
            (values.sum(axis=1), np.einsum("kn,kn->k", values, values), values @ part)
            for sample, part in zip(prepared, bases, strict=True)
            for values in [sample.pans(places)]
        ]
        total, squares, within = (sum(parts) for parts in zip(*sums, strict=True))
        mean = total / len(base)
        spread = squares - total * mean
        within = within - np.outer(mean, base.sum(axis=0))
        known = spread > 1e-12 * squares
        return np.where(known, (within**2).sum(axis=1) / np.where(known, spread, 1), 0.0)

    whole = range(-_SEARCH, _SEARCH + 1)
    starts = np.array([(y, x) for y in whole for x in whole], float)
    shares = explained(starts)
    if shares.max() <= 0:
        return None
    place = starts[int(np.argmax(shares))]
    for _ in range(_STEPS):
        values = np.concatenate([sample.pan(place) for sample in prepared])
        slopes = np.concatenate([sample.slopes(place) for sample in prepared])
        joined = np.concatenate([bands, -slopes], axis=1)
        weights = np.linalg.lstsq(joined, values, rcond=None)[0]
        step = np.clip(weights[-2:], -1, 1)
        place = np.clip(place + step, -_SEARCH - 1, _SEARCH + 1)
        if np.abs(step).max() < 1e-3:
            break
    after, before = explained(np.array([place, (0.0, 0.0)]))
    return Shift(*map(float, place), float(after), float(before), len(bands))


def _lattice(places: np.ndarray) -> np.ndarray:
    """Positions rounded so that those of one pixel are one number."""
    return np.round(places, 6)


class _Sample:
    """A sample's MS pixels far enough from its border, and the blurred PAN at any shift."""

    def __init__(self, pan, ms, place, ratio: float, pan_valid=None, ms_valid=None):
        self._pan = scipy.ndimage.spline_filter(
            scipy.ndimage.gaussian_filter(np.asarray(pan, np.float64), _BLUR * ratio), order=3
        )
        centres = [
            start + ratio * np.arange(size) for start, size in zip(place, ms.shape[:2], strict=True)
        ]
        reach = _BORDER * ratio
        inside = [
            (c >= reach) & (c <= size - 1 - reach)
            for c, size in zip(centres, pan.shape, strict=True)
        ]
        for compared in inside:
            compared[:_BORDER] = compared[-_BORDER:] = False
        self._rows, self._columns = (
            c[compared] for c, compared in zip(centres, inside, strict=True)
        )
        places = np.stack(np.meshgrid(self._rows, self._columns, indexing="ij"))
        spectra = np.asarray(ms, np.float64)[np.ix_(*inside)]
        kept = np.ones(places.shape[1:], bool)
        if pan_valid is not None and not (pan_valid.all() and ms_valid.all()):
            # What a hole was filled with reaches as far as the border does.
            far = scipy.ndimage.minimum_filter(pan_valid, 2 * math.ceil(reach) + 1)
            kept &= far[tuple(np.rint(places).astype(int))]
            kept &= scipy.ndimage.minimum_filter(ms_valid, 3)[np.ix_(*inside)]
        self._kept, self._places = kept, places[:, kept]
        self.size = int(kept.sum())
        self.bands = np.concatenate([spectra[kept], np.ones((self.size, 1))], axis=1)

    def pan(self, shift) -> np.ndarray:
        """(N,) blurred PAN where the MS pixels lie at a shift."""
        places = self._places + np.reshape(np.asarray(shift, float), (2, 1))
        read = scipy.ndimage.map_coordinates
        return read(self._pan, places, order=3, mode="nearest", prefilter=False).ravel()

    def pans(self, shifts: np.ndarray) -> np.ndarray:
        """(K, N) the same at (K, 2) shifts, which share what they interpolate."""
        # Where ratio and shifts are whole, the positions of all shifts lie on one lattice.
        grids = [
            np.unique(_lattice(np.add.outer(places, np.unique(moved))))
            for places, moved in zip((self._rows, self._columns), shifts.T, strict=True)
        ]
        grid = scipy.ndimage.map_coordinates(
            self._pan, np.meshgrid(*grids, indexing="ij"), order=3, mode="nearest", prefilter=False
        )
        result = np.empty((len(shifts), self.size))
        for values, shift in zip(result, shifts, strict=True):
            places = self._rows + shift[0], self._columns + shift[1]
            picked = (np.searchsorted(g, _lattice(p)) for g, p in zip(grids, places, strict=True))
            values[:] = grid[np.ix_(*picked)][self._kept]
        return result

    def slopes(self, shift) -> np.ndarray:
        """(N, 2) its derivatives along rows and columns."""
        half = np.eye(2) / 2
        shift = np.asarray(shift, float)
        return np.stack([self.pan(shift + h) - self.pan(shift - h) for h in half], axis=1)
