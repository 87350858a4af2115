"""The first state of a pair: two open files, of which only the metadata have been read."""

import dataclasses
import math

import rasterio
import rasterio.warp
from rasterio.windows import Window

from rsfusion_jax.data.opening import GDAL_ERRORS
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.raster_file import RasterFile, Warp
from rsfusion_jax.scenes.pair.source import find_source
from rsfusion_jax.scenes.pair.systems import horizontal


@dataclasses.dataclass(frozen=True)
class Opened:
    """Two open files in one coordinate system.

    Attributes:
        pan, ms: the files.
        notices: messages for the user.
    """

    pan: RasterFile
    ms: RasterFile
    notices: tuple[str, ...] = ()

    def close(self) -> None:
        """Closes both files."""
        self.pan.close()
        self.ms.close()


def open_pair(
    pan,
    ms,
    *,
    bands: tuple[int, ...] | None = None,
    warp: bool = True,
    nodata: float | None = None,
    related: bool = False,
) -> Opened:
    """Opens PAN and MS; an MS in another coordinate system is warped as it is read.

    Args:
        pan: high-resolution image: file, other name that GDAL opens, or `Source`.
        ms: low-resolution image, likewise, or several files of one grid, one per band.
        bands: MS bands to fuse, from 1; None for all.
        warp: False refuses an MS in another coordinate system.
        nodata: value of invalid pixels in both; None for what the files say.
        related: whether the user relates the grids, so that one coordinate system is enough.

    Raises:
        UserError: unreadable files, or coordinate systems that cannot be related.
    """
    ms = find_source(ms, "MS")
    fine = RasterFile(pan, "PAN", nodata=nodata)
    coarse = RasterFile(ms, "MS", bands=bands, nodata=nodata)
    if (fine.crs is None) != (coarse.crs is None):
        if related:
            return Opened(fine, coarse)
        named, bare = (fine, coarse) if coarse.crs is None else (coarse, fine)
        raise UserError(
            f"{bare.path} has no coordinate system, {named.path} is in {named.crs.to_string()}; "
            "write it with gdal_edit.py -a_srs, or say where MS begins on PAN's grid with "
            "--grid=ROW,COLUMN"
        )
    if horizontal(fine.crs) == horizontal(coarse.crs):
        return Opened(fine, coarse)
    if not warp:
        raise UserError(
            f"{fine.path} is in {fine.crs.to_string()} and {coarse.path} in "
            f"{coarse.crs.to_string()}; warp one with gdalwarp -t_srs, or leave out --no-warp"
        )
    target = _warped_grid(fine, coarse)
    notice = (
        f"MS is warped from {coarse.crs.to_string()} to {fine.crs.to_string()} as it is read, "
        f"cubic, to {target.height}x{target.width} pixels"
    )
    coarse.close()
    return Opened(fine, RasterFile(ms, "MS", target, bands, nodata), (notice,))


def _warped_grid(pan: RasterFile, ms: RasterFile) -> Warp:
    """MS's grid in PAN's system: PAN's corner and directions, pixels of a whole ratio."""
    if pan.transform is None or ms.transform is None:
        raise UserError(
            f"{pan.path} and {ms.path} are in different coordinate systems and not both have a "
            "geotransform; warp one with gdalwarp"
        )
    left, bottom, right, top = rasterio.transform.array_bounds(*ms.size, ms.transform)
    try:
        systems = horizontal(ms.crs), horizontal(pan.crs)
        box = rasterio.warp.transform_bounds(*systems, left, bottom, right, top, 21)
    except GDAL_ERRORS as error:
        raise UserError(
            f"{ms.path} cannot be brought from {ms.crs.to_string()} to {pan.crs.to_string()} "
            f"({error}); warp it with gdalwarp -t_srs"
        ) from error
    box_x, box_y = zip(*((x, y) for x in box[::2] for y in box[1::2]), strict=True)
    rows, columns = rasterio.transform.rowcol(pan.transform, box_x, box_y, op=lambda place: place)
    size = [
        max(columns) - min(columns),
        max(rows) - min(rows),
    ]
    ratio = max(round(math.sqrt(size[0] / ms.size[1] * size[1] / ms.size[0])), 1)
    first = [math.floor(max(min(c), 0) / ratio) for c in (rows, columns)]
    last = [
        math.ceil(min(max(c), n) / ratio) for c, n in zip((rows, columns), pan.size, strict=True)
    ]
    if first[0] >= last[0] or first[1] >= last[1]:
        raise UserError(
            f"{pan.path} and {ms.path} have no area in common; give two images of one place"
        )
    corner = Window(ratio * first[1], ratio * first[0], 1, 1)
    a, b, c, d, e, f, *_ = rasterio.windows.transform(corner, pan.transform)
    transform = rasterio.Affine(ratio * a, ratio * b, c, ratio * d, ratio * e, f)
    return Warp(horizontal(pan.crs), transform, last[0] - first[0], last[1] - first[1])
