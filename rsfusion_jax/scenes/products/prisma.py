"""PRISMA Level 2D: one HDF5 file with PAN of 5 m and the cubes VNIR and SWIR of 30 m.

Its cubes are stored (row, band, column), which no driver of GDAL takes for an image, so that they
are written to a temporary GeoTIFF once.
"""

import dataclasses
import tempfile
from pathlib import Path

import h5py
import numpy as np
import rasterio

from rsfusion_jax.data.stored.hdf5 import check_file, is_hdf5
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import Source
from rsfusion_jax.scenes.products.files import Files
from rsfusion_jax.scenes.products.product import Product
from rsfusion_jax.sensors import get_sensor, rgb_by_wavelength

_FIELDS = "HDFEOS/SWATHS/PRS_L2D_{}/Data Fields"
_PIXEL = {"PCO": 5.0, "HCO": 30.0}
_LEVELS = 65535
_ROWS = 64
"""Rows that are converted at once."""


@dataclasses.dataclass(frozen=True)
class _Band:
    """A band of a cube: its plane, centre and width in nm, and the scale of its reflectance."""

    cube: str
    plane: int
    centre: float
    width: float
    scale: float
    offset: float


def read(files: Files, given: str | None, folder: str | None = None) -> Product | None:
    """Read a product; None where it is none of PRISMA.

    VNIR comes first, then what SWIR adds beyond its longest wavelength, both from short to long.

    Args:
        files: files of the delivery.
        given: the .he5 file where one was named.
        folder: where the converted images are written.

    Raises:
        UserError: another level than 2D, or a file without what its layout prescribes.
    """
    found = files.find(r"PRS_.*\.he5") if given is None else [given]
    found = [name for name in found if name.lower().endswith(".he5")]
    if not found:
        return None
    path = files.root / found[0]
    try:
        if is_hdf5(path):
            check_file(path)
        with h5py.File(path) as file:
            if _FIELDS.format("HCO") not in file:
                raise UserError(
                    f"{found[0]} is no PRISMA product of level 2D; give the orthorectified L2D"
                )
            return _convert(file, path, Path(folder or tempfile.gettempdir()))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{found[0]} is no complete PRISMA product of level 2D ({error}); copy it again"
        ) from error


def _convert(file, path: Path, folder: Path) -> Product:
    cubes, pan = file[_FIELDS.format("HCO")], file[_FIELDS.format("PCO")]["Cube"]
    bands = _bands(file.attrs)
    sensor = dataclasses.replace(
        get_sensor("prisma"),
        bands=tuple(f"{band.centre:.0f}nm" for band in bands),
        rgb=rgb_by_wavelength([band.centre for band in bands]),
        mtf_ms=(0.3,) * len(bands),
        wavelengths=tuple(band.centre for band in bands),
        widths=tuple(max(band.width, 1.0) for band in bands),
    )
    ms_file, pan_file = folder / f"{path.stem}_ms.tif", folder / f"{path.stem}_pan.tif"
    height, _, width = cubes["VNIR_Cube"].shape
    with _create(file, ms_file, (height, width), len(bands), "HCO") as out:
        for top in range(0, height, _ROWS):
            rows = slice(top, min(top + _ROWS, height))
            parts = {cube: cubes[cube][rows] for cube in {band.cube for band in bands}}
            image = np.stack([parts[band.cube][:, band.plane] for band in bands])
            window = rasterio.windows.Window(0, top, width, image.shape[1])
            out.write(image, window=window)
        out.scales = [band.scale for band in bands]
        out.offsets = [band.offset for band in bands]
        for index, (band, name) in enumerate(zip(bands, sensor.bands, strict=True), start=1):
            out.set_band_description(index, name)
            tags = {"wavelength": f"{band.centre:g}", "fwhm": f"{band.width:g}"}
            out.update_tags(index, **tags, wavelength_units="nanometers")
    with _create(file, pan_file, pan.shape, 1, "PCO") as out:
        for top in range(0, pan.shape[0], 8 * _ROWS):
            image = pan[top : top + 8 * _ROWS]
            window = rasterio.windows.Window(0, top, pan.shape[1], image.shape[0])
            out.write(image, 1, window=window)
        scale, offset = _scale(file.attrs, "Pan")
        out.scales, out.offsets = [scale], [offset]
    files = (str(path),)
    return Product(
        "PRISMA level 2D",
        Source(str(pan_file), f"{path.name} (PAN)", files),
        Source(str(ms_file), f"{path.name} (cubes)", files, sensor),
    )


def _bands(attrs) -> list[_Band]:
    bands, longest = [], 0.0
    for cube, short in (("VNIR_Cube", "Vnir"), ("SWIR_Cube", "Swir")):
        centres, widths = (np.ravel(attrs[f"List_{what}_{short}"]) for what in ("Cw", "Fwhm"))
        flags = np.ravel(attrs.get(f"List_Cw_{short}_Flags", np.ones(len(centres))))
        scale, offset = _scale(attrs, short)
        for plane in np.argsort(centres):
            centre = float(centres[plane])
            # Slots without a detector have the centre 0.
            if centre > longest and flags[plane]:
                width = float(widths[plane])
                bands.append(_Band(cube, int(plane), centre, width, scale, offset))
        longest = max((band.centre for band in bands), default=0.0)
    return bands


def _scale(attrs, name: str) -> tuple[float, float]:
    """Scale and offset that turn counts into reflectance."""
    low, high = (float(np.ravel(attrs[f"L2Scale{name}{end}"])[0]) for end in ("Min", "Max"))
    return (high - low) / _LEVELS, low


def _create(file, path: Path, size, count: int, swath: str):
    pixel, attrs = _PIXEL[swath], file.attrs
    left, top = (float(attrs[f"Product_ULcorner_{axis}"]) for axis in ("easting", "northing"))
    transform = rasterio.Affine(pixel, 0, left, 0, -pixel, top)
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=size[0],
        width=size[1],
        count=count,
        dtype="uint16",
        nodata=0,
        crs=f"EPSG:{int(np.ravel(attrs['Epsg_Code'])[0])}",
        transform=transform,
        interleave="pixel",
        photometric="MINISBLACK",
        tiled=True,
        blockxsize=64,
        blockysize=64,
        bigtiff="IF_SAFER",
    )
