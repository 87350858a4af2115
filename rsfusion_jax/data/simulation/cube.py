"""A hyperspectral cube alone, in the place of a pair: its guide is made of its own bands."""

import dataclasses

import numpy as np

from rsfusion_jax.data.raster import Raster, fill_holes
from rsfusion_jax.data.simulation.alignment import moved


@dataclasses.dataclass(frozen=True)
class Cube:
    """What `alignment.Pair` is to two images.

    Attributes:
        ms: (H, W, C), stored dtype; nodata pixels hold anything.
        ms_valid: (H, W) bool.
        geometry: affine transform (a, b, c, d, e, f) of the grid; None without one.
        crs: coordinate system as text; None without one.
        notices: what was done, in sentences.
    """

    ms: np.ndarray
    ms_valid: np.ndarray
    geometry: tuple[float, ...] | None
    crs: str | None
    notices: tuple[str, ...]

    @classmethod
    def from_raster(cls, raster: Raster) -> "Cube":
        """The whole image."""
        return cls(raster.image, raster.valid, raster.geometry, raster.crs, raster.notices)

    def crop(self, rows: slice, columns: slice, ratio: int) -> "Cube":
        """The part under a window; `ratio` plays no part."""
        return dataclasses.replace(
            self,
            ms=self.ms[rows, columns],
            ms_valid=self.ms_valid[rows, columns],
            geometry=moved(self.geometry, rows.start, columns.start),
        )

    def filled(self) -> tuple[None, np.ndarray]:
        """No guide, and the cube with nodata replaced by the nearest valid pixel."""
        return None, fill_holes(self.ms, self.ms_valid)

    def complete(self, ratio: int) -> np.ndarray:
        """(H, W) bool: valid pixels; `ratio` plays no part."""
        return self.ms_valid
