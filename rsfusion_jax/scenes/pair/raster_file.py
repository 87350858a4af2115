"""One of the two input files: what it says of itself, and windows of it for several threads."""

import contextlib
import copy
import dataclasses
import math
import threading
import warnings

import numpy as np
import rasterio
import scipy
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from rsfusion_jax.data.opening import GDAL_ERRORS, Trust, open_dataset
from rsfusion_jax.data.raster import fill_holes, is_number, zero_collars
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.image import GeoImage
from rsfusion_jax.scenes.pair.local_shift import ShiftField
from rsfusion_jax.scenes.pair.metadata import find_band_names, find_satellite, find_wavelengths
from rsfusion_jax.scenes.pair.source import find_source, unreadable
from rsfusion_jax.scenes.pair.systems import horizontal
from rsfusion_jax.sensors import Sensor, match_bands, select_bands

_SURVEY = 1024
"""Pixels along the longer side of the reduced reading from which values are judged."""
_SPLINE = 12
"""Pixels around a window whose values reach into it when it is resampled by splines."""
_TOUCHED = 0.01
"""Share of a resampled pixel that may come from invalid ones."""

_MOST_PIXELS = 10**12
"""A mosaic of a million pixels along each side; of more, the index of tiles alone fills memory."""


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
        path: file, another name that GDAL opens, a `Source`, or several of these: one per band.
        label: "PAN" or "MS", for messages.
        warp: grid onto which the file is warped as it is read; None for its own.
        bands: spectral bands to read, from 1; None for all but alpha.
        nodata: value of invalid pixels that the user states; None for what the file says.

    Attributes:
        path: the `Source` of the image.
        size: (height, width).
        transform, crs, rpcs, gcps: georeference; `transform` is None without one.
        bands: indices of the spectral bands that are read, from 1; alpha is none of them.
        all_bands: number of bands in the file.
        has_alpha: whether the file has an alpha band.
        has_mask: whether validity comes from a mask of its own.
        nodata: nodata value of the first band; None without one.
        dtype: NumPy type of the first band.
        planes: place in the output of each of `bands`, from 0.
        dead: places in the output of bands without a valid pixel, which are not read.
        descriptions, units, scales, offsets, colours, band_tags: one per band of the output.
        tags: the file's own.
        sensor: name of the sensor that the metadata name, or its record where a product gives it;
            None where they name none.
        names, wavelengths: name and centre in nm of every band of the file; None where it has none.
        bits: bits per count where the file states them; None.
    """

    def __init__(self, path, label: str, warp: Warp | None = None, bands=None, nodata=None):
        self.path, self.label = find_source(path, label), label
        self._handle = _Handle(self.path.dataset, self.path.trust, warp)
        path = self.path
        with self._reading() as file:
            if not file.count and file.subdatasets:
                raise UserError(
                    f"{path} holds no image itself but {len(file.subdatasets)} subdatasets; give "
                    f"one of them as {label}, such as {file.subdatasets[0]}"
                )
            if file.width * file.height > _MOST_PIXELS:
                raise UserError(
                    f"{path} says that it has {file.width:,} x {file.height:,} pixels; cut out the "
                    "part that you need with gdal_translate -srcwin, or get the file again"
                )
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
            if any(file.colorinterp[index - 1] == ColorInterp.palette for index in self.bands):
                raise UserError(
                    f"{path} has a colour table, so that its values are no measurements; write out "
                    "its colours with gdal_translate -expand rgb"
                )
            self.all_bands = file.count
            alphas = [index for index, meaning in meanings if meaning == ColorInterp.alpha]
            # GDAL tags the fourth of four 8-bit bands alpha unless told not to: the user decides.
            self._alpha = next((index for index in alphas if index not in self.bands), None)
            picked = [index - 1 for index in self.bands]
            self.planes, self.dead = list(range(len(picked))), ()
            self.has_alpha = self._alpha is not None
            flags = [flag for index in picked for flag in file.mask_flag_enums[index]]
            self.has_mask = MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags
            self._masked = MaskFlags.all_valid not in flags
            self.size = file.height, file.width
            plain = file.transform.is_identity
            self.transform = None if plain else file.transform
            self.crs, self.rpcs = file.crs, file.rpcs
            self.gcps = file.gcps if plain else ((), None)
            self._stated = nodata
            self.nodata = file.nodatavals[picked[0]] if nodata is None else float(nodata)
            self.dtype = np.dtype(_numpy_name(file.dtypes[picked[0]]))
            self.descriptions = [file.descriptions[index] for index in picked]
            self.units = [file.units[index] for index in picked]
            self.scales = [file.scales[index] for index in picked]
            self.offsets = [file.offsets[index] for index in picked]
            self.colours = [file.colorinterp[index] for index in picked]
            self.band_tags = [
                {k: v for k, v in file.tags(index).items() if not k.startswith("STATISTICS_")}
                for index in self.bands
            ]
            self.tags = {k: v for k, v in file.tags().items() if k != "AREA_OR_POINT"}
            self.names, self.wavelengths = find_band_names(file), find_wavelengths(file)
            self.sensor = self.path.sensor or find_satellite(file)
            bits = file.tags(self.bands[0], ns="IMAGE_STRUCTURE").get("NBITS")
        self.bits = int(bits) if bits else None
        if self.dtype.kind not in "uif":
            raise UserError(
                f"{path} holds {self.dtype}, expected real numbers; convert {label} to float32"
            )
        self._border = self._field = None

    def survey(self) -> tuple[np.ndarray, ZeroBorder | None, list[int], list[str]]:
        """Reads the whole file once, reduced.

        Returns:
            (N, C) valid values of the bands that have any; the border of zeros where no tag says
            what is nodata, which is left out of them; the places in `bands` of those without a
            valid pixel; and notices for the user.

        Raises:
            UserError: nothing valid, or an unreadable file.
        """
        step = max(1, -(-max(self.size) // _SURVEY))
        shape = tuple(-(-size // step) for size in self.size)
        with self._reading() as file:
            image = np.moveaxis(file.read(self.bands, out_shape=(len(self.bands), *shape)), 0, -1)
            valid = np.ones(image.shape, bool)
            if self._masked:
                masks = file.read_masks(self.bands, out_shape=(len(self.bands), *shape))
                valid = np.moveaxis(masks > 0, 0, -1)
            alpha = None
            if self._alpha is not None:
                alpha = file.read(self._alpha, out_shape=shape)
                valid &= alpha[..., None] > 0
        if image.dtype.kind == "f":
            valid &= is_number(image)
        if self._stated is not None:
            valid &= image != self._stated
        # Bands of a cube may be dead; a file without any valid pixel is another matter.
        dead = [place for place, any_valid in enumerate(valid.any((0, 1))) if not any_valid]
        dead = dead if len(dead) < len(self.bands) else []
        live = [place for place in range(len(self.bands)) if place not in dead]
        image, valid = image[..., live], valid[..., live].all(axis=-1)
        border, notices = None, []
        if alpha is not None:
            levels = np.unique(alpha).size
            notices.append(
                f"{self.path.name}: band {self._alpha} is tagged alpha and says what is valid"
                + (f", but has {levels} levels; name it in --bands if it is not" * (levels > 16))
            )
        if not self._masked and self._alpha is None and self._stated is None and valid.all():
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
        if dead:
            listed = ", ".join(str(self.bands[place]) for place in dead)
            notices.append(
                f"{self.path.name}: band{'s' * (len(dead) > 1)} {listed} without a valid pixel, "
                "nodata in the output"
            )
        return image[valid], border, dead, notices

    def without_bands(self, places: list[int]) -> "RasterFile":
        """The same open file, of which the bands at these places of `bands` are dead."""
        file = copy.copy(self)
        file.dead = tuple(self.planes[place] for place in places)
        file.bands, file.planes = (
            [value for place, value in enumerate(values) if place not in places]
            for values in (self.bands, self.planes)
        )
        return file

    def without_border(self, border: ZeroBorder | None) -> "RasterFile":
        """The same open file, of which a border of zeros is nodata."""
        file = copy.copy(self)
        file._border = border
        return file

    def bands_of(self, sensor: Sensor) -> Sensor | None:
        """The record of those of a sensor's bands that are read; None where nothing tells which."""
        spectral = [index for index in range(1, self.all_bands + 1) if index != self._alpha]
        picked = [spectral.index(index) for index in self.bands]

        def of(values, places):
            return [values[place - 1] for place in places]

        whole = match_bands(
            sensor, len(spectral), of(self.names, spectral), of(self.wavelengths, spectral)
        )
        if whole is not None:
            return select_bands(whole, [whole.bands[place] for place in picked])
        return match_bands(
            sensor, len(picked), of(self.names, self.bands), of(self.wavelengths, self.bands)
        )

    @property
    def may_have_holes(self) -> bool:
        """Whether a pixel may be nodata."""
        marked = self._masked or self.has_alpha or self._border is not None
        return marked or self._stated is not None or self.dtype.kind == "f"

    def displaced(self, field: ShiftField) -> "RasterFile":
        """The same open file, moved as it is read to where a field of shifts vanishes."""
        file = copy.copy(self)
        file._field = field
        return file

    def inside(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window of the image: (C, h, w), and (h, w) bool, what is valid.

        Raises:
            UserError: the file cannot be read there.
        """
        if self._field is None:
            return self._stored(rows, columns)
        places = [np.arange(cut.start, cut.stop) for cut in (rows, columns)]
        shifts = self._field.in_ms_pixels(*places)
        reach = math.ceil(np.abs(shifts).max()) + _SPLINE
        around = [
            slice(max(cut.start - reach, 0), min(cut.stop + reach, size))
            for cut, size in zip((rows, columns), self.size, strict=True)
        ]
        image, valid = self._stored(*around)
        if not valid.all():
            image = np.moveaxis(fill_holes(np.moveaxis(image, 0, -1), valid), -1, 0)
        wanted = np.stack(np.meshgrid(*places, indexing="ij")) - shifts
        wanted -= np.reshape([cut.start for cut in around], (2, 1, 1))
        read = scipy.ndimage.map_coordinates
        moved = [read(band.astype(np.float64), wanted, order=5, mode="nearest") for band in image]
        holes = read((~valid).astype(np.float32), wanted, order=1, mode="nearest")
        return np.stack(moved).astype(np.float32), holes < _TOUCHED

    def _stored(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """A window of the file: (C, h, w) as stored, and (h, w) bool, what is valid."""
        window = Window.from_slices((rows.start, rows.stop), (columns.start, columns.stop))
        with self._reading() as file:
            image = file.read(self.bands, window=window)
            valid = np.ones(image.shape[1:], bool)
            if self._masked:
                valid = (file.read_masks(self.bands, window=window) > 0).all(axis=0)
            if self._alpha is not None:
                valid &= file.read(self._alpha, window=window) > 0
        if image.dtype.kind == "f":
            valid &= is_number(image).all(axis=0)
        if self._stated is not None:
            valid &= (image != self._stated).all(axis=0)
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
        except GDAL_ERRORS as error:
            raise unreadable(self.path, error, self.label) from error


class _Handle:
    """The open file for one thread at a time: GDAL's files are not safe to share.

    One for all threads keeps each tile decoded once; GDAL itself decodes by several threads.
    """

    def __init__(self, dataset: str, trust: Trust, warp: Warp | None):
        self._dataset, self._trust, self._warp = dataset, trust, warp
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
        self._open.append(open_dataset(self._dataset, self._trust))
        if self._warp is not None:
            warp = dataclasses.asdict(self._warp)
            warp["src_crs"] = horizontal(self._open[0].crs)
            self._open.append(WarpedVRT(self._open[0], resampling=Resampling.cubic, **warp))

    def close(self) -> None:
        with self._lock:
            while self._open:
                self._open.pop().close()


def _numpy_name(name: str) -> str:
    return {"complex_int16": "complex64"}.get(name, name)
