"""Images of a scene read from GeoTIFF (with georeference), `.mat` or `.npy`, with nodata masks."""

import dataclasses
import math
import warnings
from pathlib import Path

import numpy as np
import scipy

from rsfusion_jax.data.opening import GDAL_ERRORS, open_dataset
from rsfusion_jax.data.stored.families import NAMES
from rsfusion_jax.data.stored.npyfile import read_npy
from rsfusion_jax.data.stored.unpacking import check_unpacked
from rsfusion_jax.errors import UserError, check_name, not_a_file

_GEOTIFF = (".tif", ".tiff")
_SMALLEST_COLLAR = 64
"""Least number of pixels of a zero region at the border that is taken as nodata.

Smaller regions may be dark roofs."""
_LARGEST = 1e18
"""Of pixel values: the sums of squares of larger ones leave float32."""


@dataclasses.dataclass(frozen=True)
class Raster:
    """One image of a pair.

    Attributes:
        name: file name, for messages.
        image: (H, W, C), stored dtype; values of nodata pixels are arbitrary.
        valid: (H, W) bool, True where every band has a value.
        geometry: the file's affine transform as (a, b, c, d, e, f), which maps the pixel corner
            (column, row) to map coordinates (a column + b row + c, d column + e row + f); None
            without georeference.
        crs: coordinate reference system as text, e.g. `EPSG:32642`; None without one.
        bit_depth: bits per count if the file states them (`L` in the toolbox's files), else None.
        notices: messages for the user.
    """

    name: str
    image: np.ndarray
    valid: np.ndarray
    geometry: tuple[float, ...] | None = None
    crs: str | None = None
    bit_depth: int | None = None
    notices: tuple[str, ...] = ()


def read_raster(path: str | Path, key: str, num_bands: int | None = None) -> Raster:
    """Read a whole image into memory.

    Args:
        path: `.tif` or `.tiff` file; `.mat` file with array names as in `data.stored.families`; or
            `.npy` file of (H, W, C), (C, H, W) if only the first axis has `num_bands`, or (H, W).
        key: image to read from a `.mat` file, "pan", "ms" or "gt"; also names the image in
            messages.
        num_bands: number of bands, if known; otherwise a first axis of length 1 is taken as the
            band axis.

    Raises:
        UserError: the file cannot be read, has no such image, or not `num_bands` bands.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{not_a_file(path)}; give {key} as a .tif, .mat or .npy image")
    suffix = path.suffix.lower()
    if suffix in _GEOTIFF:
        raster = read_geotiff(path)
    elif suffix == ".mat":
        raster = _read_mat(path, key, num_bands)
    elif suffix == ".npy":
        raster = _from_array(path, _load_npy(path), num_bands)
    else:
        raise UserError(f"{path} has no suffix of .tif, .mat or .npy; convert {key} to one of them")
    if raster.image.dtype.kind not in "uif":
        raise UserError(f"{path} holds {raster.image.dtype}, expected real numbers; convert {key}")
    bands = raster.image.shape[2]
    if num_bands is not None and bands != num_bands:
        raise UserError(
            f"{path} has {bands} bands, expected {num_bands} for {key}; choose the bands with "
            "gdal_translate -b, or name the right sensor"
        )
    return _without_holes(raster)


def fill_holes(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Replace every invalid pixel by the nearest valid one.

    Args:
        image: (H, W, C).
        valid: (H, W) bool.

    Returns:
        (H, W, C); zeros if no pixel is valid.
    """
    if valid.all():
        return image
    if not valid.any():
        return np.zeros_like(image)
    rows, columns = scipy.ndimage.distance_transform_edt(
        ~valid, return_distances=False, return_indices=True
    )
    return image[rows, columns]


def is_number(image: np.ndarray) -> np.ndarray:
    """Tell which values can be computed with: finite, and their squares within float32 too."""
    return np.abs(image) < _LARGEST  # NaN is not below it either


def read_geotiff(path: Path) -> Raster:
    """Read a GeoTIFF without its alpha bands; `valid` follows its masks and nodata values.

    Raises:
        UserError: the file cannot be read.
    """
    import rasterio
    from rasterio.enums import ColorInterp

    check_name(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with open_dataset(str(path)) as file:
                bands = [
                    index
                    for index, meaning in zip(file.indexes, file.colorinterp, strict=True)
                    if meaning != ColorInterp.alpha
                ]
                claimed = file.width * file.height * np.dtype(file.dtypes[0]).itemsize * len(bands)
                check_unpacked(path, "the image", claimed, path.stat().st_size)
                image = np.moveaxis(file.read(bands), 0, -1)
                valid = (file.read_masks(bands) > 0).all(axis=0)
                geometry = None if file.transform.is_identity else tuple(file.transform)[:6]
                crs = None if file.crs is None else file.crs.to_string()
                scaled = {*file.scales} != {1.0} or {*file.offsets} != {0.0}
    except GDAL_ERRORS as error:
        raise UserError(
            f"{path} cannot be read as GeoTIFF ({' '.join(str(error).split())}); expected a "
            "complete file, so check the path or copy it again"
        ) from error
    notices = ()
    if scaled:
        notices = (f"{path.name}: its scale and offset tags are not applied, counts stay counts",)
    return Raster(path.name, image, valid, geometry, crs, notices=notices)


def _read_mat(path: Path, key: str, num_bands: int | None) -> Raster:
    # Imported where they are needed: scenes are seldom MATLAB files.
    from rsfusion_jax.data.stored.hdf5 import Hdf5File, is_hdf5
    from rsfusion_jax.data.stored.matfile import MatFile

    is_new = is_hdf5(path)  # MATLAB 7.3 and later
    names = NAMES[key]
    storage = Hdf5File(path) if is_new else MatFile(path, (*names, "L"))
    arrays = storage.arrays()
    name = next((name for name in names if name in arrays), None)
    if name is None:
        raise UserError(
            f"{path}: key {key!r} is missing, found {', '.join(storage.keys()) or 'none'}; "
            f"expected one of {', '.join(names)}, so rename the array"
        )
    image = np.asarray(arrays[name])
    raster = _from_array(path, image.T if is_new else image, num_bands)
    bits = float(np.ravel(arrays["L"])[0]) if "L" in arrays else 0
    return dataclasses.replace(raster, bit_depth=int(bits) if 1 <= bits <= 16 else None)


def _load_npy(path: Path) -> np.ndarray:
    try:
        return read_npy(path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be read as .npy ({' '.join(str(error).split())}); expected one "
            "numerical array, so save it again"
        ) from error


def _from_array(path: Path, image: np.ndarray, num_bands: int | None) -> Raster:
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or 0 in image.shape:
        raise UserError(
            f"{path} holds an array of shape {image.shape}, expected one image (height, width, "
            "bands); save a single image"
        )
    if image.shape[0] == (num_bands or 1) != image.shape[2]:
        image = np.moveaxis(image, 0, -1)
    return Raster(path.name, image, np.ones(image.shape[:2], bool))


def zero_collars(zero: np.ndarray, area: int = 1) -> np.ndarray:
    """Return the regions of zero pixels at the image border that are large enough to be nodata.

    Args:
        zero: (H, W) bool, True at pixels that are zero in every band.
        area: number of image pixels that each element represents, if `zero` is subsampled.

    Returns:
        (H, W) bool.
    """
    if not any(edge.any() for edge in (zero[0], zero[-1], zero[:, 0], zero[:, -1])):
        return np.zeros_like(zero)
    regions, _ = scipy.ndimage.label(zero, np.ones((3, 3)))  # needs more memory than the image
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    sizes = np.bincount(regions.ravel()) * area
    return np.isin(regions, [n for n in np.unique(border) if n and sizes[n] >= _SMALLEST_COLLAR])


def _without_holes(raster: Raster) -> Raster:
    """Mark NaN and infinite pixels as invalid, and zero collars if no tag marks any nodata."""
    notices, valid = list(raster.notices), raster.valid
    if raster.image.dtype.kind == "f":
        valid = valid & np.isfinite(raster.image).all(axis=2)
    zero = (raster.image == 0).all(axis=2) if valid.all() else np.zeros((1, 1), bool)
    collars = zero_collars(zero)
    if collars.any():
        valid = ~collars
        notices.append(
            f"{raster.name}: no nodata tag, but a border of zeros "
            f"({math.ceil(1000 * np.mean(collars)) / 10:g} % of the image), taken as nodata"
        )
    if not valid.any():
        raise UserError(f"{raster.name} holds no valid pixel; give another image")
    return dataclasses.replace(raster, valid=valid, notices=tuple(notices))
