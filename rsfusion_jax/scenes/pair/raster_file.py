"""One of the two input files: what it says of itself, and windows of it for several threads."""

import contextlib
import copy
import dataclasses
import threading
import warnings
from pathlib import Path

import numpy as np
import rasterio
import scipy.ndimage
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rsfusion_jax.data.raster import zero_collars
from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.scenes.pair.image import GeoImage

_SURVEY = 1024
"""Pixels along the longer side of the reduced reading from which values are judged."""
_SATELLITES = {"WV02": "wv2", "WV03": "wv3", "WV04": "wv4", "QB02": "qb", "GE01": "ge1"}
_SATELLITES |= {"IK01": "ikonos", "IK-1": "ikonos", "GF2": "gf2"}


@dataclasses.dataclass(frozen=True)
class Warp:
    """A grid onto which a file is warped as it is read: coordinate system, transform, size."""

    crs: rasterio.CRS
    transform: rasterio.Affine
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class ZeroBorder:
    """A border of zeros that counts as nodata although no tag says so.

    Attributes:
        mask: (h, w) bool of the reduced reading: cells that touch the border.
        step: pixels of the file along a side of a cell.
    """

    mask: np.ndarray
    step: int

    def covers(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w) bool: pixels of a window that lie in the cells."""
        places = [np.arange(cut.start, cut.stop) // self.step for cut in (rows, columns)]
        return self.mask[np.ix_(*places)]


class RasterFile(GeoImage):
    """One input image; windows of it come as float32 with missing pixels filled.

    Args:
        path: file.
        label: "PAN" or "MS", for messages.
        warp: grid onto which the file is warped as it is read; None for its own.
        bands: spectral bands to read, from 1; None for all but alpha.

    Attributes:
        path: path of the file.
        size: (height, width).
        transform, crs, rpcs: georeference; `transform` is None without one.
        bands: indices of the spectral bands that are read, from 1; alpha is none of them.
        all_bands: number of bands in the file.
        has_alpha: whether the file has an alpha band.
        has_mask: whether validity comes from a mask of its own.
        nodata: nodata value of the first band; None without one.
        dtype: NumPy type of the first band.
        descriptions, units, scales, offsets, colours: one per spectral band.
        tags: the file's own.
        sensor: name of the sensor that the metadata name; None where they name none.
        bits: bits per count where the file states them; None.
    """

    def __init__(self, path: str | Path, label: str, warp: Warp | None = None, bands=None):
        self.path, self.label = Path(path), label
        self._handle = _Handle(self.path, warp)
        if not self.path.is_file():
            raise UserError(f"{not_a_file(path)}; give {label} as a GeoTIFF")
        with self._reading() as file:
            meanings = list(zip(file.indexes, file.colorinterp, strict=True))
            self.bands = [index for index, meaning in meanings if meaning != ColorInterp.alpha]
            if bands is not None:
                if not {*bands} <= {*file.indexes}:
                    raise UserError(
                        f"--bands={','.join(map(str, bands))}: {path} has the bands 1 to "
                        f"{file.count}; choose among them"
                    )
                self.bands = list(bands)
            if not self.bands:
                raise UserError(f"{path} has no spectral band; give {label} as a GeoTIFF")
            self.all_bands = file.count
            alphas = [index for index, meaning in meanings if meaning == ColorInterp.alpha]
            # GDAL tags the fourth of four 8-bit bands alpha unless told not to: the user decides.
            self._alpha = next((index for index in alphas if index not in self.bands), None)
            picked = [index - 1 for index in self.bands]
            self.has_alpha = self._alpha is not None
            flags = [flag for index in picked for flag in file.mask_flag_enums[index]]
            self.has_mask = MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags
            self._masked = MaskFlags.all_valid not in flags
            self.size = file.height, file.width
            plain = file.transform.is_identity
            self.transform = None if plain else file.transform
            self.crs, self.rpcs, self.nodata = file.crs, file.rpcs, file.nodatavals[picked[0]]
            self.dtype = np.dtype(_numpy_name(file.dtypes[picked[0]]))
            self.descriptions = [file.descriptions[index] for index in picked]
            self.units = [file.units[index] for index in picked]
            self.scales = [file.scales[index] for index in picked]
            self.offsets = [file.offsets[index] for index in picked]
            self.colours = [file.colorinterp[index] for index in picked]
            self.tags = {k: v for k, v in file.tags().items() if k != "AREA_OR_POINT"}
            imagery = file.tags(ns="IMAGERY") | file.tags()
            bits = file.tags(self.bands[0], ns="IMAGE_STRUCTURE").get("NBITS")
        satellite = imagery.get("SATELLITEID", imagery.get("satId", "")).strip('"').upper()
        self.sensor = _SATELLITES.get(satellite)
        self.bits = int(bits) if bits else None
        if self.dtype.kind not in "uif":
            raise UserError(
                f"{path} holds {self.dtype}, expected real numbers; convert {label} to float32"
            )
        self._border = None

    def survey(self) -> tuple[np.ndarray, ZeroBorder | None, list[str]]:
        """Reads the whole file once, reduced.

        Returns:
            (N, C) valid values; the border of zeros where no tag says what is nodata, which is left
            out of them; and notices for the user.

        Raises:
            UserError: nothing valid, or an unreadable file.
        """
        step = max(1, -(-max(self.size) // _SURVEY))
        shape = tuple(-(-size // step) for size in self.size)
        with self._reading() as file:
            image = np.moveaxis(file.read(self.bands, out_shape=(len(self.bands), *shape)), 0, -1)
            valid = np.ones(shape, bool)
            if self._masked:
                masks = file.read_masks(self.bands, out_shape=(len(self.bands), *shape))
                valid = (masks > 0).all(axis=0)
            alpha = None
            if self._alpha is not None:
                alpha = file.read(self._alpha, out_shape=shape)
                valid &= alpha > 0
        if image.dtype.kind == "f":
            valid &= np.isfinite(image).all(axis=-1)
        border, notices = None, []
        if alpha is not None:
            levels = np.unique(alpha).size
            notices.append(
                f"{self.path.name}: band {self._alpha} is tagged alpha and says what is valid"
                + (f", but has {levels} levels; name it in --bands if it is not" * (levels > 16))
            )
        if not self._masked and self._alpha is None and valid.all():
            collar = zero_collars((image == 0).all(axis=-1), step**2)
            if collar.any():
                share = np.ceil(1000 * collar.mean()) / 10
                valid = ~collar
                border = ZeroBorder(scipy.ndimage.binary_dilation(collar, np.ones((3, 3))), step)
                notices.append(
                    f"{self.path.name}: no nodata tag, but a border of zeros ({share:g} % of the "
                    "image), taken as nodata"
                )
        if not valid.any():
            raise UserError(
                f"{self.path} holds no valid pixel; give another {self.label} or correct its "
                "nodata value"
            )
        return image[valid], border, notices

    def without_border(self, border: ZeroBorder | None) -> "RasterFile":
        """The same open file, of which a border of zeros is nodata."""
        file = copy.copy(self)
        file._border = border
        return file

    @property
    def may_have_holes(self) -> bool:
        """Whether a pixel may be nodata."""
        return self._masked or self.has_alpha or self._border is not None or self.dtype.kind == "f"

    def inside(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window of the file: (C, h, w) as stored, and (h, w) bool, what is valid.

        Raises:
            UserError: the file cannot be read there.
        """
        window = Window.from_slices((rows.start, rows.stop), (columns.start, columns.stop))
        with self._reading() as file:
            image = file.read(self.bands, window=window)
            valid = np.ones(image.shape[1:], bool)
            if self._masked:
                valid = (file.read_masks(self.bands, window=window) > 0).all(axis=0)
            if self._alpha is not None:
                valid &= file.read(self._alpha, window=window) > 0
        if image.dtype.kind == "f":
            valid &= np.isfinite(image).all(axis=0)
        if self._border is not None:
            valid &= ~(self._border.covers(rows, columns) & (image == 0).all(axis=0))
        return image, valid

    def close(self) -> None:
        """Closes the file."""
        self._handle.close()

    @contextlib.contextmanager
    def _reading(self):
        """The open file; what GDAL says of a damaged file becomes one sentence."""
        try:
            with self._handle.reading() as file:
                yield file
        except rasterio.errors.RasterioError as error:
            cause = error.__cause__ or error
            raise UserError(
                f"{self.path} cannot be read as an image ({' '.join(str(cause).split())}); "
                "expected a complete GeoTIFF, so check the path or copy it again"
            ) from error


class _Handle:
    """The open file for one thread at a time: GDAL's files are not safe to share.

    One for all threads keeps each tile decoded once; GDAL itself decodes by several threads.
    """

    def __init__(self, path: Path, warp: Warp | None):
        self._path, self._warp = path, warp
        self._open, self._lock = [], threading.RLock()

    @contextlib.contextmanager
    def reading(self):
        with self._lock:
            if not self._open:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                    self._begin()
            yield self._open[-1]

    def _begin(self) -> None:
        self._open.append(rasterio.open(self._path))
        if self._warp is not None:
            warp = dataclasses.asdict(self._warp)
            self._open.append(WarpedVRT(self._open[0], resampling=Resampling.cubic, **warp))

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()


def _numpy_name(name: str) -> str:
    return {"complex_int16": "complex64"}.get(name, name)
