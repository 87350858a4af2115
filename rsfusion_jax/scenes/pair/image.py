"""Windows of an image, wherever its pixels come from, with missing pixels filled."""

import abc
from pathlib import Path

import numpy as np
from rasterio import CRS, Affine
from rasterio.rpc import RPC

from rsfusion_jax.data.raster import fill_holes
from rsfusion_jax.scenes.pair.source import Source


class Image(abc.ABC):
    """An image that is read by windows.

    Attributes:
        size: (height, width).
        bands: whatever names its bands; their number is C.
    """

    size: tuple[int, int]
    bands: list

    @abc.abstractmethod
    def inside(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window that lies in the image: (C, h, w) of any type, and (h, w), what is valid."""

    def read(self, rows: tuple[int, int], columns: tuple[int, int], reach: int = 0):
        """A window, also beyond the image's edges.

        Args:
            rows, columns: (start, stop) in pixels of the image.
            reach: pixels around the window that are searched for what fills a hole.

        Returns:
            (h, w, C) float32 with holes and what lies beyond the image filled from the nearest
            valid pixel, and (h, w) bool, whether a pixel is valid itself.
        """
        image, valid, complete = self._padded(rows, columns)
        if not complete and reach:
            bounds = [
                (max(start - reach, min(start, 0)), min(stop + reach, max(stop, size)))
                for (start, stop), size in zip((rows, columns), self.size, strict=True)
            ]
            image, valid, _ = self._padded(*bounds)
            image = fill_holes(image, valid)
            cut = tuple(
                slice(start - low, stop - low)
                for (start, stop), (low, _) in zip((rows, columns), bounds, strict=True)
            )
            return image[cut], valid[cut]
        return (image if complete else fill_holes(image, valid)), valid

    def _padded(self, rows, columns):
        """The window padded by repetition, its validity, and whether the image's part is whole."""
        cut = [
            slice(min(max(start, 0), size), max(min(stop, size), 0))
            for (start, stop), size in zip((rows, columns), self.size, strict=True)
        ]
        if any(part.start >= part.stop for part in cut):
            shape = rows[1] - rows[0], columns[1] - columns[0]
            return np.zeros((*shape, len(self.bands)), np.float32), np.zeros(shape, bool), True
        image, part = self.inside(*cut)
        with np.errstate(over="ignore"):  # values that are too large are holes
            image = np.moveaxis(image, 0, -1).astype(np.float32)
        pads = [
            (within.start - start, stop - within.stop)
            for (start, stop), within in zip((rows, columns), cut, strict=True)
        ]
        valid = part
        if any(map(any, pads)):
            image = np.pad(image, (*pads, (0, 0)), mode="edge")
            valid = np.pad(part, pads)
        return np.ascontiguousarray(image), valid, bool(part.all())


class GeoImage(Image):
    """An image with a georeference and with marks of what is valid.

    Attributes:
        path: its `Source`, or what stands for it in messages; it has a `name`.
        label: "PAN" or "MS", for messages.
        transform, crs, rpcs: georeference; each None without one.
        gcps: ground control points where there is no geotransform, and their coordinate system.
        dtype: NumPy type of its bands.
        nodata: value of invalid pixels; None without one.
        has_alpha: whether an alpha band says what is valid.
        has_mask: whether a mask of its own does.
        bits: bits per count where the file states them; None.
        dead: places, in the output, of bands without a valid pixel, which are none of `bands`.
    """

    path: Source | Path
    label: str
    transform: Affine | None
    crs: CRS | None
    rpcs: RPC | None
    gcps: tuple[list, CRS | None] = ((), None)
    dtype: np.dtype
    nodata: float | None
    has_alpha: bool
    has_mask: bool
    bits: int | None
    dead: tuple[int, ...] = ()

    @property
    @abc.abstractmethod
    def may_have_holes(self) -> bool:
        """Whether a pixel may be nodata."""
