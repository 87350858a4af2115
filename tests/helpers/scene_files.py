"""Scenes as files, for the tests of `rsfusion fuse`."""

import contextlib
import types
import warnings

import numpy as np
import rasterio

from rsfusion_jax.ops.resample import interp23

CRS = "EPSG:32642"
CORNER = 400000.0, 4200000.0


def write_tif(path, image, *, pixel, origin=(0.0, 0.0), crs=CRS, transform=None, **profile):
    """Writes `image` (H, W, C) north up; `origin` is (metres south, metres east) of the corner."""
    if transform is None:
        transform = rasterio.Affine(
            pixel, 0, CORNER[0] + origin[1], 0, -pixel, CORNER[1] - origin[0]
        )
    height, width, count = image.shape
    # Without it the fourth of four 8-bit bands is tagged alpha.
    profile = {"photometric": "MINISBLACK"} | profile
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count} | profile
    profile = {"dtype": image.dtype, "transform": transform, "crs": crs} | profile
    with without_georeference(), rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(image, -1, 0))
    return path


def write_pair(folder, pan, ms, *, offset=(0.0, 0.0), ratio=4, pixel=0.5, **options):
    """Two files; `offset` is the PAN corner (row, column) where MS begins."""
    origin = [pixel * value for value in offset]
    return (
        write_tif(folder / "pan.tif", pan, pixel=pixel, **options),
        write_tif(folder / "ms.tif", ms, pixel=pixel * ratio, origin=origin, **options),
    )


def counts(rows, columns, bands=4, ratio=4, seed=0):
    """Counts whose bands and PAN are related: pan (r rows, r columns, 1), ms, uint16."""
    random = np.random.default_rng(seed)
    base = random.random((rows, columns, 1))
    ms = 300 + 900 * base + 300 * random.random((rows, columns, bands))
    lms = interp23(ms, ratio)
    pan = lms.mean(axis=-1, keepdims=True) + 60 * random.standard_normal((*lms.shape[:2], 1))
    return np.clip(pan, 1, 2000).astype(np.uint16), np.clip(ms, 1, 2000).astype(np.uint16)


def field(rows, columns, bands=3):
    """A smooth scene read at map positions (rows, columns): (H, W, bands), 500 to 1500."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    waves = [np.sin(y / (7 + band) + x / (9 - band) + band) for band in range(bands)]
    return np.stack([1000 + 500 * wave for wave in waves], axis=-1)


def read(path):
    """(H, W, C) as stored, and what the file says of itself."""
    names = "descriptions units scales offsets nodata dtypes count shape crs transform profile rpcs"
    with without_georeference(), rasterio.open(path) as file:
        known = {name: getattr(file, name) for name in names.split()}
        known |= {"tags": file.tags(), "colours": [c.name for c in file.colorinterp]}
        return np.moveaxis(file.read(), 0, -1), types.SimpleNamespace(**known)


@contextlib.contextmanager
def without_georeference():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def left_behind(folder):
    """Names in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
