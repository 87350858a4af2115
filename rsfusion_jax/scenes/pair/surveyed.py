"""The second state of a pair: both files read once, reduced, to learn what their values are."""

import dataclasses
import time

import numpy as np

from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.raster_file import RasterFile

_HIGH = 2.0
"""Least value as a multiple of the values' range from which they count as varying about a level."""


@dataclasses.dataclass(frozen=True)
class Surveyed:
    """A pair whose values are known.

    Attributes:
        pan, ms: the open files; a border of zeros without a nodata tag is nodata in them, and bands
            without a valid pixel are dead.
        values: valid values of reduced readings: of PAN (N, G) and of MS (M, C).
        notices: messages for the user, from the opening on.
        seconds: time that the survey took.
    """

    pan: RasterFile
    ms: RasterFile
    values: tuple[np.ndarray, np.ndarray]
    notices: tuple[str, ...]
    seconds: float

    @property
    def full_scale(self) -> float:
        """Smallest usual full scale that holds all values."""
        bits = max((file.bits or 0 for file in (self.pan, self.ms)), default=0)
        return full_scale_from_values(self.values, bits or None)

    @property
    def ms_level(self) -> float:
        """What MS's values rise from where they vary little about a high level, as kelvins do."""
        low, high = (float(value) for value in (self.values[1].min(), self.values[1].max()))
        return low - (high - low) / 4 if low > _HIGH * (high - low) > 0 else 0.0

    @property
    def own_scales(self) -> tuple[float, float]:
        """Power of two that holds the values of PAN, and the one that holds those of MS.

        They differ much where the images have different units, such as counts and reflectances.
        """
        levels = 0.0, self.ms_level
        peaks = [
            float(np.abs(values - level).max(initial=0))
            for values, level in zip(self.values, levels, strict=True)
        ]
        return tuple(2.0 ** np.ceil(np.log2(peak)) if peak > 0 else 1.0 for peak in peaks)


def survey(opened: Opened) -> Surveyed:
    """Reads both files once, reduced.

    Raises:
        UserError: a file without a valid pixel, or one that cannot be read.
    """
    begin = time.perf_counter()
    files, values, notices = [], [], [*opened.notices]
    for file in (opened.pan, opened.ms):
        valid, border, dead, messages = file.survey()
        file = file.without_border(border)
        files.append(file.without_bands(dead) if dead else file)
        values.append(valid)
        notices += messages
    return Surveyed(*files, tuple(values), tuple(notices), time.perf_counter() - begin)
