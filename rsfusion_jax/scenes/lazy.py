"""xarray images as scenes are read from them, and the tasks that compute a scene by chunks."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import dask
import dask.array
import numpy as np
import rasterio
import rioxarray  # noqa: F401  (gives arrays their .rio)
import scipy
import xarray

from rsfusion_jax.compilation import jit
from rsfusion_jax.data.raster import is_number, zero_collars
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.full_scale import check_full_scale
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.image import GeoImage
from rsfusion_jax.scenes.pair.raster_file import ZeroBorder
from rsfusion_jax.scenes.pair.systems import horizontal
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.engines import Engine
from rsfusion_jax.scenes.work.pixels import PixelFormat
from rsfusion_jax.scenes.work.windows import Block, WindowReader

_SAMPLE = 512
"""Pixels along a side of the part from whose values the scale is judged."""


class LazyImage(GeoImage):
    """An array, or the part of one that a task holds."""

    has_alpha = has_mask = False
    rpcs = bits = None

    def __init__(
        self,
        label,
        values,
        size,
        *,
        corner=(0, 0),
        nodata=None,
        border=None,
        transform=None,
        crs=None,
        allowed=None,
    ):
        self.label, self.path = label, Path(label)
        self.values, self.size, self.corner = values, size, corner
        self.nodata, self.transform, self.crs = nodata, transform, crs
        self._border, self._allowed = border, allowed
        self.dtype, self.bands = np.dtype(values.dtype), list(range(1, values.shape[0] + 1))

    @classmethod
    def of(cls, array: xarray.DataArray, label: str) -> "LazyImage":
        """The image that an array in the one layout is."""
        if array.dtype.kind not in "uif":
            raise UserError(f"{label} holds {array.dtype}, expected real numbers")
        values = array.data if array.chunks else array.chunk({"y": _SAMPLE, "x": _SAMPLE}).data
        transform, nodata = array.rio.transform(), array.rio.nodata
        return cls(
            label,
            values,
            array.shape[1:],
            nodata=nodata,
            border=_zero_border(values) if nodata is None else None,
            transform=None if transform.is_identity else transform,
            crs=array.rio.crs,
        )

    @property
    def may_have_holes(self) -> bool:
        """Whether a pixel may be nodata."""
        return self.nodata is not None or self._border is not None or self.dtype.kind == "f"

    def inside(self, rows: slice, columns: slice):
        """Read a window: its pixels, (C, h, w), and their mask, (h, w)."""
        top, left = self.corner
        cut = np.s_[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        image = np.asarray(self.values[cut])
        valid = np.ones(image.shape[1:], bool)
        if image.dtype.kind == "f":
            valid &= is_number(image).all(axis=0)
        if self.nodata is not None and not np.isnan(self.nodata):
            valid &= (image != image.dtype.type(self.nodata)).all(axis=0)
        if self._border is not None:
            valid &= ~(self._border.covers(rows, columns) & (image == 0).all(axis=0))
        if self._allowed is not None:
            valid &= self._allowed[rows, columns]
        return image, valid

    def part(self, bounds) -> tuple[dask.array.Array, tuple[int, int]]:
        """The pixels within ((start, stop), (start, stop)), and the corner where they begin."""
        (top, bottom), (left, right) = (
            (min(max(start, 0), size - 1), max(min(stop, size), 1))
            for (start, stop), size in zip(bounds, self.size, strict=True)
        )
        return self.values[:, top:bottom, left:right], (top, left)

    def holding(self, values, corner=(0, 0)) -> "LazyImage":
        """The same image, of which only `values` is at hand."""
        known = {"nodata": self.nodata, "border": self._border}
        return type(self)(self.label, values, self.size, corner=corner, **known)

    def only(self, allowed: np.ndarray) -> "LazyImage":
        """The same image, of which only the pixels of a mask (h, w) count as valid."""
        known = {"nodata": self.nodata, "border": self._border, "allowed": allowed}
        return type(self)(self.label, self.values, self.size, **known)

    def sample(self) -> np.ndarray:
        """Valid values (N, C) of every few pixels."""
        step = max(1, -(-max(self.size) // _SAMPLE))
        image = self.values[:, ::step, ::step].compute()
        thin = type(self)(self.label, image, image.shape[1:], nodata=self.nodata)
        return np.moveaxis(image, 0, -1)[thin.inside(*(slice(0, n) for n in thin.size))[1]]


class Job:
    """What all tasks of a scene have in common; small, but for the weights."""

    def __init__(
        self, engine: Engine, scene: ScenePair, formats: list[PixelFormat], block: int, batch: int
    ):
        self.engine, self.formats, self.side, self.batch = engine, formats, block, batch
        empty = [s.holding(np.zeros((len(s.bands), 0, 0), s.dtype)) for s in (scene.pan, scene.ms)]
        self._scene = dataclasses.replace(scene, pan=empty[0], ms=empty[1])

    def __getstate__(self):
        # A compiled program stays where it was compiled.
        return {key: value for key, value in self.__dict__.items() if key != "_run"}

    @functools.cached_property
    def _run(self):
        return jit(self.engine.run)

    def windows(self, pan: LazyImage | None = None, ms: LazyImage | None = None) -> WindowReader:
        """The scene's blocks, over `pan` and `ms` where pixels are read."""
        scene = self._scene
        if pan is not None:
            scene = dataclasses.replace(scene, pan=pan, ms=ms)
        return WindowReader.of(self.engine, scene, self.side)

    def lazily(self, arrays: Sequence[LazyImage], chunk: int) -> list[dask.array.Array]:
        """The images (C, H, W) that the engine computes, one task per chunk of all of them."""
        windows = self.windows()
        height, width = self._scene.size
        edges = [
            [*range(0, size, max(chunk // side, 1) * side), size]
            for size, side in zip((height, width), windows.sides, strict=True)
        ]
        job = dask.delayed(self, traverse=False)
        task = dask.delayed(_fuse_chunk)
        bands = len(self._scene.ms.bands)
        images = [[] for _ in self.formats]
        for top, bottom in itertools.pairwise(edges[0]):
            for image in images:
                image.append([])
            for left, right in itertools.pairwise(edges[1]):
                place = top, left, bottom - top, right - left
                needed = windows.needed(windows.over(*place))
                parts = [s.part(bounds) for s, bounds in zip(arrays, needed, strict=True)]
                (pan, pan_corner), (ms, ms_corner) = parts
                pieces = task(job, pan, ms, pan_corner, ms_corner, place)
                shape = bands, *place[2:]
                for index, (image, pixels) in enumerate(zip(images, self.formats, strict=True)):
                    piece = dask.array.from_delayed(pieces[index], shape, dtype=pixels.dtype)
                    image[-1].append(piece)
        return [dask.array.block([image]) for image in images]

    def chunk(self, pan: LazyImage, ms: LazyImage, place) -> list[np.ndarray]:
        """(C, h, w) of every image at `place` (row, column, height, width) of the output."""
        windows = self.windows(pan, ms)
        outs = [np.empty((len(ms.bands), *place[2:]), pixels.dtype) for pixels in self.formats]
        blocks = windows.over(*place)
        for start in range(0, len(blocks), self.batch):
            group = blocks[start : start + self.batch]
            inputs, valids = zip(*(windows.read(block) for block in group), strict=True)
            batch = stack_windows(inputs, self.batch)
            # Between the fused image and its half widths stands the sum over MS.
            images = [np.asarray(image) for image in self._run(self.engine.state, batch)[::2]]
            for index, (block, valid) in enumerate(zip(group, valids, strict=True)):
                cut = np.s_[:, *self._inside(block, place)]
                for out, pixels, image in zip(outs, self.formats, images, strict=True):
                    out[cut], _ = pixels.convert(image[index][block.core], valid)
        return outs

    def _inside(self, block: Block, place) -> tuple[slice, slice]:
        """Rows and columns of a block in the part of the output at `place`."""
        cuts = block.rows, block.columns
        return tuple(
            slice(cut.start - first, cut.start - first + cut.size)
            for cut, first in zip(cuts, place[:2], strict=True)
        )


def _fuse_chunk(job: Job, pan, ms, pan_corner, ms_corner, place) -> list[np.ndarray]:
    scene = job._scene
    return job.chunk(scene.pan.holding(pan, pan_corner), scene.ms.holding(ms, ms_corner), place)


def _zero_border(values: dask.array.Array) -> ZeroBorder | None:
    """A border of zeros that counts as nodata, as in files; read from every few pixels."""
    if values.dtype.kind == "f":
        return None
    step = max(1, -(-max(values.shape[1:]) // _SAMPLE))
    zero = (values[:, ::step, ::step] == 0).all(axis=0).compute()
    collar = zero_collars(zero, step**2)
    if not collar.any() or collar.all():
        return None
    return ZeroBorder(scipy.ndimage.binary_dilation(collar, np.ones((3, 3))), step)


def check_pair(pan: LazyImage, ms: LazyImage) -> None:
    """Raise `UserError` for images that were swapped or have different coordinate systems."""
    if len(pan.bands) != 1 and len(pan.bands) >= len(ms.bands):
        raise UserError(f"pan has {len(pan.bands)} bands and ms {len(ms.bands)}; swap them")
    if horizontal(pan.crs) != horizontal(ms.crs):
        raise UserError(
            f"pan is in {pan.crs} and ms in {ms.crs}; bring ms there with ms.rio.reproject(pan.rio"
            ".crs)"
        )


def check_network(fuser, pan: LazyImage, ms: LazyImage) -> None:
    """Bands, and whether the values' scale can be that of the weights."""
    model = fuser.model
    for array, wanted, scale in (
        (pan, model.guide_bands, fuser.pan_value),
        (ms, model.num_bands, fuser.max_value),
    ):
        if len(array.bands) != wanted:
            raise UserError(
                f"{array.label} has {len(array.bands)} bands, the weights take {wanted}; choose "
                "them with .sel(band=[...])"
            )
        cut = [slice(max(0, (n - _SAMPLE) // 2), (n + _SAMPLE) // 2) for n in array.size]
        image, valid = array.inside(
            *(slice(c.start, min(c.stop, n)) for c, n in zip(cut, array.size, strict=True))
        )
        if valid.any():
            values = np.moveaxis(image, 0, -1)[valid]
            check_full_scale(array.label, values, None, scale, False)


def described(data, scene: ScenePair, pixels: PixelFormat, pan, ms) -> xarray.DataArray:
    """The result with its coordinates, bands, coordinate system and nodata."""
    band = ms.coords["band"] if "band" in ms.dims else [1]
    out = xarray.DataArray(data, dims=("band", "y", "x"), coords={"band": band}, name=ms.name)
    out.attrs = {key: value for key, value in ms.attrs.items() if key != "_FillValue"}
    transform = pan.rio.transform()
    if not transform.is_identity:
        corner = rasterio.windows.Window(scene.columns.start, scene.rows.start, 1, 1)
        out = out.rio.write_transform(rasterio.windows.transform(corner, transform))
        out = out.assign_coords(_centres(out, transform, scene))
    if pan.rio.crs is not None:
        out = out.rio.write_crs(pan.rio.crs)
    return out if pixels.nodata is None else out.rio.write_nodata(pixels.nodata)


def _centres(out, transform, scene: ScenePair) -> dict:
    """Map coordinates of the pixels' centres, for grids that are not rotated."""
    if transform.b or transform.d:
        return {}
    rows = scene.rows.start + np.arange(scene.rows.size) + 0.5
    columns = scene.columns.start + np.arange(scene.columns.size) + 0.5
    return {"y": transform.f + transform.e * rows, "x": transform.c + transform.a * columns}
