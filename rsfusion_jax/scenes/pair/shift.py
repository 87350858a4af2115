"""How far MS is displaced against PAN beyond what the geotransforms say.

At the right place PAN, as blurred as MS is, is a linear combination of the MS bands. The shift and
the combination are found together: a Gauss-Newton step is one least-squares fit of the blurred PAN
on the bands, a constant and PAN's two slopes. The search begins at the best whole PAN pixel, and
ends when the steps do: a single step falls far short of a shift of more than a pixel.
"""

import dataclasses
import math

import numpy as np
import scipy.ndimage

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

    def explained(place):
        values = np.concatenate([sample.pan(place) for sample in prepared])
        values = values - values.mean()
        spread = float(values @ values)
        return float(((base.T @ values) ** 2).sum()) / spread if spread > 0 else 0.0

    whole = range(-_SEARCH, _SEARCH + 1)
    start = max(((y, x) for y in whole for x in whole), key=explained)
    place, best = np.array(start, float), explained(start)
    if best <= 0:
        return None
    for _ in range(_STEPS):
        values = np.concatenate([sample.pan(place) for sample in prepared])
        slopes = np.concatenate([sample.slopes(place) for sample in prepared])
        joined = np.concatenate([bands, -slopes], axis=1)
        weights = np.linalg.lstsq(joined, values, rcond=None)[0]
        step = np.clip(weights[-2:], -1, 1)
        place = np.clip(place + step, -_SEARCH - 1, _SEARCH + 1)
        if np.abs(step).max() < 1e-3:
            break
    return Shift(*map(float, place), explained(place), explained((0, 0)), len(bands))


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
        picked = [c[compared] for c, compared in zip(centres, inside, strict=True)]
        places = np.stack(np.meshgrid(*picked, indexing="ij"))
        spectra = np.asarray(ms, np.float64)[np.ix_(*inside)]
        kept = np.ones(places.shape[1:], bool)
        if pan_valid is not None and not (pan_valid.all() and ms_valid.all()):
            # What a hole was filled with reaches as far as the border does.
            far = scipy.ndimage.minimum_filter(pan_valid, 2 * math.ceil(reach) + 1)
            kept &= far[tuple(np.rint(places).astype(int))]
            kept &= scipy.ndimage.minimum_filter(ms_valid, 3)[np.ix_(*inside)]
        self._places = places[:, kept]
        self.size = int(kept.sum())
        self.bands = np.concatenate([spectra[kept], np.ones((self.size, 1))], axis=1)

    def pan(self, shift) -> np.ndarray:
        """(N,) blurred PAN where the MS pixels lie at a shift."""
        places = self._places + np.reshape(np.asarray(shift, float), (2, 1))
        read = scipy.ndimage.map_coordinates
        return read(self._pan, places, order=3, mode="nearest", prefilter=False).ravel()

    def slopes(self, shift) -> np.ndarray:
        """(N, 2) its derivatives along rows and columns."""
        half = np.eye(2) / 2
        shift = np.asarray(shift, float)
        return np.stack([self.pan(shift + h) - self.pan(shift - h) for h in half], axis=1)
