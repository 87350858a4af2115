"""A hyperspectral cube in place of a PAN and MS pair: its guide is computed from its own bands."""

import dataclasses

import numpy as np

from rsfusion_jax.data.raster import Raster, fill_holes
from rsfusion_jax.data.simulation.alignment import moved


@dataclasses.dataclass(frozen=True)
class Cube:
    """A cube with its mask and georeference; the counterpart of `alignment.Pair`.

    Attributes:
        ms: (H, W, C), stored dtype; values of nodata pixels are arbitrary.
        ms_valid: (H, W) bool.
        geometry: affine transform (a, b, c, d, e, f) of the grid; None without one.
        crs: coordinate reference system as text; None without one.
        notices: messages for the user.
    """

    ms: np.ndarray
    ms_valid: np.ndarray
    geometry: tuple[float, ...] | None
    crs: str | None
    notices: tuple[str, ...]

    @classmethod
    def from_raster(cls, raster: Raster) -> "Cube":
        """Return the cube of a whole image."""
        return cls(raster.image, raster.valid, raster.geometry, raster.crs, raster.notices)

    def crop(self, rows: slice, columns: slice, ratio: int) -> "Cube":
        """Return the cube cropped to a window; `ratio` is ignored."""
        return dataclasses.replace(
            self,
            ms=self.ms[rows, columns],
            ms_valid=self.ms_valid[rows, columns],
            geometry=moved(self.geometry, rows.start, columns.start),
        )

    def filled(self) -> tuple[None, np.ndarray]:
        """Return None for the guide, and the cube with nodata filled from the nearest pixels."""
        return None, fill_holes(self.ms, self.ms_valid)

    def complete(self, ratio: int) -> np.ndarray:
        """Return the mask of valid pixels, (H, W) bool; `ratio` is ignored."""
        return self.ms_valid
