"""The second state of a pair: both files read once, reduced, to learn what their values are."""

import dataclasses
import time

import numpy as np

from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.opened import Opened
from rsfusion_jax.scenes.pair.raster_file import RasterFile


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
