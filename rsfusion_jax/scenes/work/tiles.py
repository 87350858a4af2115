"""Compressed tiles of the output: blocks in, tiles as GDAL writes them out."""

import dataclasses
import functools

import numpy as np
import rasterio
from rasterio.io import MemoryFile

from rsfusion_jax.scenes.work.pixels import PixelFormat
from rsfusion_jax.scenes.work.tiff import read_directories

_ANYWHERE = rasterio.Affine.scale(2)
TILE = 256
"""Pixels along a side of the file's tiles, where blocks are not smaller."""


def tile_side(side: int) -> int:
    """Pixels along a side of the file's tiles where blocks have `side` at most."""
    return next((tile for tile in (TILE, TILE // 2, TILE // 4) if tile <= side), 16)


@dataclasses.dataclass(frozen=True)
class TileCoder:
    """How the output's tiles are compressed.

    Attributes:
        bands: number of spectral bands.
        pixels: how pixels are stored.
        compression: "deflate", "zstd", "lzw" or "none".
        side: pixels along a side of a tile.
    """

    bands: int
    pixels: PixelFormat
    compression: str
    side: int = TILE

    @property
    def profile(self) -> dict:
        """What rasterio needs to know, apart from the size and the georeference."""
        profile = {
            "driver": "GTiff",
            "count": self.bands + (self.pixels.extra == "alpha"),
            "dtype": self.pixels.dtype,
            "nodata": self.pixels.nodata,
            "interleave": "pixel",
            "photometric": "MINISBLACK",
            "tiled": True,
            "blockxsize": self.side,
            "blockysize": self.side,
            "num_threads": 1,  # blocks are compressed side by side
        }
        if self.compression != "none":
            profile["compress"] = self.compression
            profile["predictor"] = 3 if self.pixels.dtype.kind == "f" else 2
        return profile

    def encode(self, planes: np.ndarray) -> list[bytes]:
        """Compresses a part of the output that begins with a tile.

        Args:
            planes: (bands [+ 1], H, W), as `PixelFormat.convert` gives them.

        Returns:
            The tiles, row by row; those of the mask follow where there is one.
        """
        with MemoryFile() as memory:
            self._write(memory, planes)
            data = memory.getbuffer()
            return [
                bytes(data[at : at + length])
                for directory in read_directories(data)
                for at, length in directory.tiles
            ]

    def begin_mask(self, file) -> None:
        """Gives a new file a mask where its pixels have one."""
        if self.pixels.extra == "mask":
            file.write_mask(np.zeros((1, 1), bool), window=rasterio.windows.Window(0, 0, 1, 1))

    def _write(self, memory: MemoryFile, planes: np.ndarray) -> None:
        # rasterio warns of files without a georeference, which is of no use here.
        size = {"height": planes.shape[1], "width": planes.shape[2], "transform": _ANYWHERE}
        with self.environment(), memory.open(**self.profile, **size) as file:
            if self.pixels.extra == "mask":
                file.write_mask(planes[-1] != 0)
                planes = planes[:-1]
            file.write(planes)

    @functools.cached_property
    def _options(self) -> dict:
        return {"GDAL_TIFF_INTERNAL_MASK": True} if self.pixels.extra == "mask" else {}

    def environment(self):
        """GDAL's options for files of these tiles, a context manager."""
        return rasterio.Env(**self._options)
