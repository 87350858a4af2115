"""What GDAL may open: by which drivers, and which other files a dataset may lead to.

GDAL tells a format by a file's content, whatever its name, and some formats only refer to others:
an image from elsewhere could make it read any file of this machine or any address. Here a name says
the format, and files that nobody named lie beside the one that was, or are asked for.
"""

import dataclasses
import math
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Set
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError

from rsfusion_jax.archives import check_archive
from rsfusion_jax.data.stored.hdf5 import check_file, is_hdf5
from rsfusion_jax.data.stored.unpacking import check_unpacked
from rsfusion_jax.errors import UserError

GDAL_ERRORS = (rasterio.errors.RasterioError, CPLE_BaseError)
"""What rasterio raises of a damaged file; some functions pass GDAL's own errors on."""
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]+:(?!//)|vrt://|<VRTDataset")
"""Names that say their driver themselves: subdatasets such as HDF5:, and virtual datasets."""
_RAW = ("ENVI", "EHdr")
_DRIVERS = {
    "tif": ("GTiff",),
    "tiff": ("GTiff",),
    "vrt": ("VRT",),
    "til": ("TIL",),
    "xml": ("DIMAP", "PDS4", "SENTINEL2", "SAFE", "TSX", "RS2"),
    "jp2": ("JP2OpenJPEG", "JP2ECW", "JP2KAK", "JP2MrSID", "JP2Lura"),
    "img": ("HFA", *_RAW),
    "dat": _RAW,
    "bil": _RAW,
    "bip": _RAW,
    "bsq": _RAW,
    "raw": _RAW,
    "": _RAW,
    "h5": ("HDF5", "HDF5Image", "netCDF"),
    "he5": ("HDF5", "HDF5Image", "netCDF"),
    "hdf5": ("HDF5", "HDF5Image", "netCDF"),
    "nc": ("netCDF", "HDF5", "HDF5Image"),
    "nc4": ("netCDF", "HDF5", "HDF5Image"),
    "hdf": ("HDF4", "HDF4Image", "HDF5", "HDF5Image"),
    "ntf": ("NITF",),
    "nitf": ("NITF",),
    "ecw": ("ECW",),
    "sid": ("MrSID",),
    "zarr": ("Zarr",),
}
"""Drivers by what a name ends in, where several read it or GDAL names none."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REFERRING = {"vrt": "VRT", "til": "TIL", "xml": "DIMAP"}
"""Drivers whose files name others, wherever they lie, by what their names end in."""
_MOST_TEXT = 2**28
_NESTED = 8
"""Virtual datasets within each other at most."""


@dataclasses.dataclass(frozen=True)
class Trust:
    """What the user allows besides what the names of the images say.

    Attributes:
        drivers: drivers of GDAL that may open files whose names do not say them.
        follow: whether a virtual dataset may lead out of its folder and to the network.
    """

    drivers: tuple[str, ...] = ()
    follow: bool = False


def drivers_of(name: str, trust: Trust) -> list[str] | None:
    """Return the drivers of GDAL that may open a name; None where the name itself says it.

    Args:
        name: what GDAL opens.
        trust: what the user allows.

    Raises:
        UserError: a name that says no driver, and none is allowed.
    """
    if _PREFIX.match(name):
        return None
    suffix = _suffix(name)
    drivers = (*_DRIVERS.get(suffix, ()), *trust.drivers)
    if suffix not in _DRIVERS:
        from rasterio.drivers import raster_driver_extensions

        known = raster_driver_extensions().get(suffix)
        drivers = drivers if known is None else (known, *drivers)
    installed = _installed()
    for driver in trust.drivers:
        if driver not in installed:
            raise UserError(
                f"--drivers={driver}: this GDAL has no such driver; see rio env --formats"
            )
    drivers = [driver for driver in drivers if driver in installed]
    if not drivers:
        raise UserError(
            f"{name}: its name says no format that this GDAL reads; name the driver, as in "
            "--drivers=ENVI, or rename the file"
        )
    return drivers


def open_dataset(name: str, trust: Trust = Trust()):
    """Open a dataset with rasterio, by a driver that its name says.

    Args:
        name: what GDAL opens.
        trust: what the user allows.

    Raises:
        UserError: a name that says no format, or a dataset that leads to files or addresses which
            nobody named.
        rasterio.errors.RasterioError: it cannot be opened; or another of `GDAL_ERRORS`.
    """
    drivers = drivers_of(name, trust)
    archive = _archive(name)
    if archive is not None:
        check_archive(archive)
    _check_hdf5(name)
    limited = drivers is not None and not trust.follow
    options = {}
    if limited:
        _check_references(name, _folder(name))
        if not _is_remote(name):
            options = {"CPL_VSIL_CURL_ALLOWED_FILENAME": "none"}
    with rasterio.Env(**options):
        file = _open_by(drivers, name)
    try:
        if os.path.isfile(name):
            _check_blocks(file, Path(name))
        if limited and file.driver in _REFERRING.values():
            # What GDAL understood of it, which is what it will open.
            understood = file.files[1:]
            if file.driver == "VRT":
                understood += _sources(file.tags(ns="xml:VRT")["xml:VRT"], name)
            for reference in understood:
                _check_place(reference, name, _folder(name))
    except BaseException:
        file.close()
        raise
    return file


def _check_blocks(file, path: Path) -> None:
    """Refuse an image whose blocks take far more than is stored: GDAL reads whole ones."""
    block = max((math.prod(shape) for shape in file.block_shapes), default=0)
    itemsize = max((np.dtype(dtype).itemsize for dtype in file.dtypes), default=0)
    bands = file.count if file.profile.get("interleave") == "pixel" else 1
    check_unpacked(path, "a block of it", block * itemsize * bands, path.stat().st_size)


def _open_by(drivers: Iterable[str] | None, name: str):
    """Open a dataset by the first of some drivers that can."""
    first = None
    with warnings.catch_warnings():
        # Containers of subdatasets have no georeference themselves.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        for driver in drivers or (None,):
            try:
                return rasterio.open(name, driver=driver)
            except GDAL_ERRORS as error:
                first = first or error
    raise first


def _check_references(name: str, root: str, depth: int = 1) -> None:
    """Raise `UserError` for a dataset that leads out of a folder, itself or by what it leads to."""
    driver = _REFERRING.get(_suffix(name))
    if driver is None:
        return
    if not os.path.isfile(name):
        if driver == "VRT" and (name.startswith("/vsi") or "://" in name):
            raise UserError(
                f"{name} is a virtual dataset in an archive or on the network, which may lead "
                "anywhere; give --follow if it may"
            )
        return
    if depth > _NESTED:
        raise UserError(f"{name} is one of more than {_NESTED} virtual datasets in each other")
    with open(name, "rb") as file:
        text = file.read(_MOST_TEXT + 1)
    if len(text) > _MOST_TEXT:
        raise UserError(f"{name} is too long for a {driver} file; give --follow if you trust it")
    found = _sources(text, name) if driver == "VRT" else _images(text, name, driver)
    _check_all(found, name, root, depth)


def files_behind(path: Path) -> list[Path]:
    """Return a file and, of a virtual dataset, the files that it leads to, each once."""
    files = [path]
    for file in files:  # grows meanwhile
        driver, name = _REFERRING.get(_suffix(str(file))), str(file)
        if driver is None or file.stat().st_size > _MOST_TEXT:
            continue
        try:
            text = file.read_bytes()
            found = _sources(text, name) if driver == "VRT" else _images(text, name, driver)
        except UserError:  # is said where it is opened
            continue
        names = map(Path, dict.fromkeys(filter(os.path.isfile, found)))
        files += [one for one in names if one not in files]
    return files


def _check_place(reference: str, name: str, root: str) -> None:
    if not _lies_in(reference, root):
        raise UserError(
            f"{name} leads to {reference}, which is not a file in its folder; give --follow if it "
            "may"
        )


def _check_all(references: Iterable[str], name: str, root: str, depth: int) -> None:
    for reference in references:
        _check_place(reference, name, root)
        if not os.path.isfile(reference) or _is_tiff(reference) or reference == name:
            continue
        _check_hdf5(reference)
        _check_references(reference, root, depth + 1)
        try:
            # GDAL will open it by its content; only what its name says is harmless.
            _open_by(drivers_of(reference, Trust()), reference).close()
        except GDAL_ERRORS as error:
            raise UserError(
                f"{name} leads to {reference}, which is not what its name says; get it again, or "
                "give --follow if you trust it"
            ) from error


def _images(text: bytes, name: str, driver: str) -> list[str]:
    """Return the images that the metadata of a delivery name."""
    before = r"<DATA_FILE_PATH[^>]*href\s*=\s*[\"']" if driver == "DIMAP" else r'filename\s*=\s*"'
    found = re.findall(before + r"([^\"']+)", text.decode("utf-8", errors="replace"), re.IGNORECASE)
    return [os.path.join(os.path.dirname(name), one) for one in found]


def _sources(text: str | bytes, name: str) -> list[str]:
    """Return the files that the XML of a virtual dataset names."""
    try:
        document = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{name} is damaged ({error}); write it again with gdalbuildvrt") from error
    folder, found = os.path.dirname(name), []
    for element in document.iter():
        # GDAL looks at no case in names.
        attributes = {key.lower(): value for key, value in element.attrib.items()}
        if attributes.get("subclass", "").lower() == "vrtprocesseddataset":
            raise UserError(f"{name} is a chain of processing steps; give --follow if you trust it")
        if element.tag.lower() in ("sourcefilename", "sourcedataset"):
            inside = "".join(element.itertext()).strip()
            relative = attributes.get("relativetovrt", "0") not in ("0", "")
            found.append(os.path.join(folder, inside) if relative else inside)
    return found


def _lies_in(reference: str, root: str) -> bool:
    if reference.startswith("/vsi") or root.startswith("/vsi"):
        return os.path.normpath(reference).startswith(os.path.normpath(root) + os.sep)
    if _PREFIX.match(reference) or "://" in reference:
        return False
    return Path(os.path.realpath(reference)).is_relative_to(root)


def _is_remote(name: str) -> bool:
    return (
        "://" in name or re.match(r"/vsi(?!zip|tar|gzip|mem|7z|rar|sparse|crypt)", name) is not None
    )


def _folder(name: str) -> str:
    folder = os.path.dirname(name) or "."
    return folder if name.startswith("/vsi") or "://" in name else os.path.realpath(folder)


def _is_tiff(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) in _TIFF


def _check_hdf5(name: str) -> None:
    """Refuse an HDF5 file whose values lie in other files or fill the memory."""
    quoted = re.search(r'"([^"]+)"', name)
    path = quoted[1] if quoted else re.sub(r"://?.*$", "", _PREFIX.sub("", name, count=1))
    if not os.path.isfile(path) or not is_hdf5(path):
        return
    check_file(Path(path))


def _archive(name: str) -> Path | None:
    """The archive on this machine that a name leads into."""
    inside = re.search(r"/vsi(?:zip|tar|gzip)/(?:\{([^}]+)\}|(.+))", name)
    if inside is None:
        return None
    path = Path(inside[1] or inside[2])
    return next((p for p in (path, *path.parents) if p.is_file()), None)


def _suffix(name: str) -> str:
    """What a name ends in, without an address's query; "" for none."""
    if "://" in name:
        name = urlsplit(name).path if "!" not in name else name
    last = re.split(r"[/\\!]", name)[-1]
    if name.startswith("/vsi"):
        last = last.partition("?")[0]
    return last.rpartition(".")[2].lower() if "." in last else ""


_known_drivers: set[str] = set()


def _installed() -> Set[str]:
    if not _known_drivers:
        with rasterio.Env() as env:
            _known_drivers.update(env.drivers())
    return _known_drivers
