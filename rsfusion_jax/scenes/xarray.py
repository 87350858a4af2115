"""Lazy fusion of xarray images: `fuse(pan, ms)` gives a DataArray that dask computes by chunks.

Needs the extra [dask]. The arrays are rioxarray's: dimensions (band, y, x) or (y, x), georeference
and nodata under `.rio`. A chunk of the result is one task, which holds the parts of PAN and MS that
it needs and nothing else; inside it the device takes windows of one fixed shape, whatever the
chunks are. Tasks run wherever dask runs them: threads, processes, a cluster.
"""

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

from rsfusion_jax.classical.registry import method_setting
from rsfusion_jax.compilation import jit
from rsfusion_jax.data.raster import is_number, zero_collars
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.arrays import arrange, at_time, times
from rsfusion_jax.scenes.pair.full_scale import check_full_scale
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.image import GeoImage
from rsfusion_jax.scenes.pair.raster_file import ZeroBorder
from rsfusion_jax.scenes.pair.relate import make_scene, relate_grids
from rsfusion_jax.scenes.pair.systems import horizontal
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.engines import Engine, classical_spec, network_engine
from rsfusion_jax.scenes.work.fitting import fitted_engine
from rsfusion_jax.scenes.work.pixels import PixelFormat, choose_format
from rsfusion_jax.scenes.work.program import network_spec
from rsfusion_jax.scenes.work.windows import WindowReader
from rsfusion_jax.sensors import get_sensor

_SAMPLE = 512
"""Pixels along a side of the part from whose values the scale is judged."""


def fuse(
    pan: xarray.DataArray,
    ms: xarray.DataArray,
    *,
    fuser=None,
    method: str | None = None,
    sensor: str | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    extent: str = "intersection",
    dtype: str | None = None,
    chunk: int = 1024,
    block: int = 256,
    batch: int = 1,
    tile: int | None = None,
    overlap: int | None = None,
    memory_budget: str | int = "2GB",
) -> xarray.DataArray:
    """Fuses two georeferenced arrays, lazily.

    A classical method is fitted to the whole scene when this is called, window by window; all else
    waits until the result is computed or written.

    Args:
        pan: guide, (band, y, x) or (y, x), also with `time`, in any order; y may rise or fall. A
            Dataset's variables are bands.
        ms: low-resolution image, likewise, in the same coordinate system.
        fuser: network with its weights, as `rsf.load` gives it.
        method: classical method, if there is no `fuser`.
        sensor: whose pixels these are, for methods that need to know.
        shift: residual shift (rows, columns) of MS in PAN pixels; `rsfusion fuse` measures it.
        extent: "intersection", "union", "pan" or "refuse", as for `rsfusion fuse`.
        dtype: of the result; None for that of `ms`.
        chunk: PAN pixels along a side of the result's chunks; a multiple of `block` is taken.
        block: PAN pixels along a side of what the device takes, without its margin.
        batch: such windows taken at once.
        tile, overlap: of networks that see the whole image, as for `rsfusion fuse`.
        memory_budget: for the statistics of methods that need all pixels at once.

    Returns:
        (band, y, x) on PAN's grid and in its order, with `ms`'s bands and attributes, coordinate
        system and nodata; with `time` before them where `ms` has several.

    Raises:
        UserError: arrays that do not fit each other or the method.
    """
    if (fuser is None) == (method is None):
        raise UserError("give fuse() either fuser= or method=, found both or neither")
    places = times(pan, ms)
    if places is not None:
        options = {name: value for name, value in locals().items() if name in _OPTIONS}
        fused = [fuse(at_time(pan, place), at_time(ms, place), **options) for place in places]
        return xarray.concat(fused, dim=ms["time"])
    layouts = arrange(pan, "pan"), arrange(ms, "ms")
    pan, ms = (layout.array for layout in layouts)
    arrays = _Array.of(pan, "pan"), _Array.of(ms, "ms")
    _check_pair(*arrays)
    relation = relate_grids(*arrays, ratio=None if fuser is None else fuser.model.ratio)
    if fuser is not None:
        spec = network_spec(fuser, tile=tile, overlap=overlap)
        engine = network_engine(fuser, spec)
        _check_network(fuser, *arrays)
    else:
        record = None if sensor is None else get_sensor(sensor)
        bands = len(arrays[1].bands)
        setting = method_setting(method, record, relation.ratio, bands)
        spec = classical_spec(method, setting, bands)
    scene = make_scene(
        *arrays,
        relation,
        phase=spec.phase,
        shift=shift,
        extent=extent,
        align=spec.align,
        least=spec.tile or 0,
    )
    if fuser is None:
        engine, _ = fitted_engine(spec, setting, scene, memory.parse_memory(memory_budget))
    gaps = extent in ("pan", "union")
    pixels = choose_format(*arrays, dtype, gaps)
    job = _Job(engine, scene, pixels, block, batch)
    return layouts[0].restore(_described(job.lazily(arrays, chunk), scene, pixels, pan, ms))


_OPTIONS = (
    "fuser method sensor shift extent dtype chunk block batch tile overlap memory_budget"
).split()


@xarray.register_dataarray_accessor("rsfusion")
class Accessor:
    """`pan.rsfusion`: fusion as a method of the guide."""

    def __init__(self, pan: xarray.DataArray):
        self._pan = pan

    def fuse(self, ms, **options) -> xarray.DataArray:
        """Fuse this guide with `ms`; `fuse` of this module explains the options."""
        return fuse(self._pan, ms, **options)


class _Array(GeoImage):
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
    ):
        self.label, self.path = label, Path(label)
        self.values, self.size, self.corner = values, size, corner
        self.nodata, self.transform, self.crs = nodata, transform, crs
        self._border = border
        self.dtype, self.bands = np.dtype(values.dtype), list(range(1, values.shape[0] + 1))

    @classmethod
    def of(cls, array: xarray.DataArray, label: str) -> "_Array":
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
        return self.nodata is not None or self._border is not None or self.dtype.kind == "f"

    def inside(self, rows: slice, columns: slice):
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
        return image, valid

    def part(self, bounds) -> tuple[dask.array.Array, tuple[int, int]]:
        """The pixels within ((start, stop), (start, stop)), and the corner where they begin."""
        (top, bottom), (left, right) = (
            (min(max(start, 0), size - 1), max(min(stop, size), 1))
            for (start, stop), size in zip(bounds, self.size, strict=True)
        )
        return self.values[:, top:bottom, left:right], (top, left)

    def holding(self, values, corner=(0, 0)) -> "_Array":
        """The same image, of which only `values` is at hand."""
        known = {"nodata": self.nodata, "border": self._border}
        return type(self)(self.label, values, self.size, corner=corner, **known)


class _Job:
    """What all tasks of a scene have in common; small, but for the weights."""

    def __init__(
        self, engine: Engine, scene: ScenePair, pixels: PixelFormat, block: int, batch: int
    ):
        self.engine, self.pixels, self.side, self.batch = engine, pixels, block, batch
        empty = [s.holding(np.zeros((len(s.bands), 0, 0), s.dtype)) for s in (scene.pan, scene.ms)]
        self._scene = dataclasses.replace(scene, pan=empty[0], ms=empty[1])

    def __getstate__(self):
        # A compiled program stays where it was compiled.
        return {key: value for key, value in self.__dict__.items() if key != "_run"}

    @functools.cached_property
    def _run(self):
        return jit(self.engine.run)

    def windows(self, pan: _Array | None = None, ms: _Array | None = None) -> WindowReader:
        """The scene's blocks, over `pan` and `ms` where pixels are read."""
        scene = self._scene
        if pan is not None:
            scene = dataclasses.replace(scene, pan=pan, ms=ms)
        return WindowReader.of(self.engine, scene, self.side)

    def lazily(self, arrays: Sequence[_Array], chunk: int) -> dask.array.Array:
        """The fused image (C, H, W), one task per chunk."""
        windows = self.windows()
        height, width = self._scene.size
        edges = [
            [*range(0, size, max(chunk // side, 1) * side), size]
            for size, side in zip((height, width), windows.sides, strict=True)
        ]
        job = dask.delayed(self, traverse=False)
        task = dask.delayed(_fuse_chunk)
        bands = len(self._scene.ms.bands)
        rows = []
        for top, bottom in itertools.pairwise(edges[0]):
            row = []
            for left, right in itertools.pairwise(edges[1]):
                place = top, left, bottom - top, right - left
                needed = windows.needed(windows.over(*place))
                parts = [s.part(bounds) for s, bounds in zip(arrays, needed, strict=True)]
                (pan, pan_corner), (ms, ms_corner) = parts
                piece = task(job, pan, ms, pan_corner, ms_corner, place)
                shape = bands, *place[2:]
                row.append(dask.array.from_delayed(piece, shape, dtype=self.pixels.dtype))
            rows.append(row)
        return dask.array.block([rows])

    def chunk(self, pan: _Array, ms: _Array, place) -> np.ndarray:
        """(C, h, w) at `place` (row, column, height, width) of the output."""
        windows = self.windows(pan, ms)
        out = np.empty((len(ms.bands), *place[2:]), self.pixels.dtype)
        blocks = windows.over(*place)
        for start in range(0, len(blocks), self.batch):
            group = blocks[start : start + self.batch]
            inputs, valids = zip(*(windows.read(block) for block in group), strict=True)
            batch = stack_windows(inputs, self.batch)
            fused = np.asarray(self._run(self.engine.state, batch)[0])
            for block, valid, image in zip(group, valids, fused, strict=False):
                planes, _ = self.pixels.convert(image[block.core], valid)
                top, left = (
                    cut.begin + cut.core - offset - first
                    for cut, offset, first in zip(
                        (block.rows, block.columns), self._offsets, place[:2], strict=True
                    )
                )
                height, width = planes.shape[1:]
                out[:, top : top + height, left : left + width] = planes
        return out

    @property
    def _offsets(self) -> tuple[int, int]:
        """Where what is written begins in the frame."""
        spans = self._scene.rows, self._scene.columns
        return tuple(span.start - span.frame for span in spans)


def _fuse_chunk(job: _Job, pan, ms, pan_corner, ms_corner, place) -> np.ndarray:
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


def _check_pair(pan: _Array, ms: _Array) -> None:
    if len(pan.bands) != 1 and len(pan.bands) >= len(ms.bands):
        raise UserError(f"pan has {len(pan.bands)} bands and ms {len(ms.bands)}; swap them")
    if horizontal(pan.crs) != horizontal(ms.crs):
        raise UserError(
            f"pan is in {pan.crs} and ms in {ms.crs}; bring ms there with ms.rio.reproject(pan.rio"
            ".crs)"
        )


def _check_network(fuser, pan: _Array, ms: _Array) -> None:
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


def _described(data, scene: ScenePair, pixels: PixelFormat, pan, ms) -> xarray.DataArray:
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
