"""Lazy fusion of xarray images: `fuse(pan, ms)` gives a DataArray that dask computes by chunks.

Needs the extra [dask]. The arrays are rioxarray's: dimensions (band, y, x) or (y, x), georeference
and nodata under `.rio`. A chunk of the result is one task, which holds the parts of PAN and MS that
it needs and nothing else; inside it the device takes windows of one fixed shape, whatever the
chunks are. Tasks run wherever dask runs them: threads, processes, a cluster. `interval` computes a
chunk of the fused image and that of its half widths in one task.
"""

import dataclasses

import numpy as np
import xarray

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.registry import method_setting
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.arrays import Layout, arrange, at_time, times
from rsfusion_jax.scenes.degraded.calibrate import Calibrator, Interval, check_level
from rsfusion_jax.scenes.degraded.camera import scene_camera
from rsfusion_jax.scenes.degraded.placed import centred_scene
from rsfusion_jax.scenes.lazy import Job, LazyImage, check_network, check_pair, described
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.relate import Relation, make_scene, relate_grids
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.engines import Engine, classical_spec, network_engine
from rsfusion_jax.scenes.work.fitting import fitted_engine
from rsfusion_jax.scenes.work.half_width import IntervalEngine
from rsfusion_jax.scenes.work.pixels import (
    PixelFormat,
    choose_format,
    difference_format,
    difference_name,
)
from rsfusion_jax.scenes.work.program import WindowSpec, network_spec
from rsfusion_jax.sensors import get_sensor


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
    places = times(pan, ms)
    if places is not None:
        options = {name: value for name, value in locals().items() if name in _OPTIONS}
        fused = [fuse(at_time(pan, place), at_time(ms, place), **options) for place in places]
        return xarray.concat(fused, dim=ms["time"])
    pair = _Pair.of(pan, ms, fuser, method, sensor, shift, extent, tile, overlap)
    engine = pair.engine(memory.parse_memory(memory_budget))
    (fused,) = pair.lazily(engine, [pair.format(dtype)], chunk, block, batch)
    return fused


_OPTIONS = (
    "fuser method sensor shift extent dtype chunk block batch tile overlap memory_budget"
).split()


def interval(
    pan: xarray.DataArray,
    ms: xarray.DataArray,
    *,
    fuser=None,
    method: str | None = None,
    level: float = 90,
    sensor: str | None = None,
    valid=None,
    shift: tuple[float, float] = (0.0, 0.0),
    extent: str = "intersection",
    dtype: str | None = None,
    chunk: int = 1024,
    block: int = 256,
    batch: int = 1,
    tile: int | None = None,
    overlap: int | None = None,
    memory_budget: str | int = "2GB",
) -> Interval:
    """Fuses two georeferenced arrays and says how far each pixel may be wrong, lazily.

    The intervals are calibrated, and a classical method is fitted, when this is called. The rest
    waits: `dask.compute(fused, half_width)` computes both at once, each alone computes the other
    too and drops it.

    Args:
        pan, ms: images of one time, as for `fuse`.
        level: share of the errors in percent, at least 50 and less than 100.
        valid: boolean mask (y, x) of the MS pixels that may calibrate, in `ms`'s order: those that
            `fuser` was not trained on, where it was trained on this image; None for all.
        fuser, method, sensor, shift, extent, chunk, block, batch: as for `fuse`.
        tile, overlap, memory_budget: as for `fuse`.
        dtype: of the fused image; None for that of `ms`.

    Returns:
        The fused image as `fuse` returns it; the half widths, float32 in the units of `ms`, NaN
        where the fused image is nodata, with its bands, coordinates and coordinate system; and how
        they were calibrated.

    Raises:
        UserError: arrays that do not fit each other or the method, or too few pixels.
    """
    check_level(level)
    if times(pan, ms) is not None:
        raise UserError("intervals are of images of one time; choose one with .isel(time=0)")
    pair = _Pair.of(pan, ms, fuser, method, sensor, shift, extent, tile, overlap)
    ratio, budget = pair.relation.ratio, memory.parse_memory(memory_budget)
    if ratio < 2:
        raise UserError("pan and ms have pixels of one size, so that no scale lies below them")
    calibrating = pair.scene
    if valid is not None:
        calibrating = dataclasses.replace(calibrating, ms=pair.arrays[1].only(pair.mask(valid)))
    centred = centred_scene(calibrating, ratio)
    values = [array.sample() for array in pair.arrays]
    if not all(image.size for image in values):
        raise UserError("pan or ms holds no valid value; give images with data")
    max_value, pan_value = scene_scales(values, full_scale_from_values(values), None)
    camera, scales = (
        scene_camera(centred, ratio, sensor, None)[0],
        (pan_value or max_value, max_value),
    )
    tool = Calibrator(camera, scales, pair.spec, pair.setting, fuser, level, budget)
    calibration = tool.on_scene(centred)
    engine = IntervalEngine.of(pair.engine(budget), calibration.widths)
    formats = [pair.format(dtype), difference_format(pair.arrays[1])]
    fused, widths = pair.lazily(engine, formats, chunk, block, batch)
    return Interval(fused, _as_half_width(widths, level), calibration)


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Two arrays placed on each other, and what fuses them."""

    layouts: tuple[Layout, Layout]
    arrays: tuple[LazyImage, LazyImage]
    relation: Relation
    scene: ScenePair
    spec: WindowSpec
    setting: Setting | None
    fuser: Fuser | None
    extent: str

    @classmethod
    def of(cls, pan, ms, fuser, method, sensor, shift, extent, tile, overlap) -> "_Pair":
        """The pair; the arguments are those of `fuse`."""
        if (fuser is None) == (method is None):
            raise UserError("give either fuser= or method=, found both or neither")
        layouts = arrange(pan, "pan"), arrange(ms, "ms")
        arrays = tuple(
            LazyImage.of(layout.array, label)
            for layout, label in zip(layouts, ("pan", "ms"), strict=True)
        )
        check_pair(*arrays)
        relation = relate_grids(*arrays, ratio=None if fuser is None else fuser.model.ratio)
        setting = None
        if fuser is not None:
            spec = network_spec(fuser, tile=tile, overlap=overlap)
            network_engine(fuser, spec)  # refuses diffusion networks
            check_network(fuser, *arrays)
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
        return cls(layouts, arrays, relation, scene, spec, setting, fuser, extent)

    def engine(self, budget: int) -> Engine:
        """What fuses the pair; a classical method is fitted to it."""
        if self.fuser is not None:
            return network_engine(self.fuser, self.spec)
        return fitted_engine(self.spec, self.setting, self.scene, budget)[0]

    def format(self, dtype: str | None) -> PixelFormat:
        """How the fused image is stored."""
        return choose_format(*self.arrays, dtype, self.extent in ("pan", "union"))

    def mask(self, valid) -> np.ndarray:
        """(h, w) bool in the one layout, of a mask in the order of MS.

        Raises:
            UserError: it has another size.
        """
        layout = self.layouts[1]
        if isinstance(valid, xarray.DataArray) and {*valid.dims} == {*layout.spatial}:
            valid = valid.transpose(*layout.spatial)
        valid = np.asarray(valid, bool)
        if valid.shape != self.arrays[1].size:
            raise UserError(f"valid is {valid.shape}, expected that of ms, {self.arrays[1].size}")
        return valid[tuple(slice(None, None, -1 if flip else 1) for flip in layout.flipped)]

    def lazily(
        self, engine: Engine, formats: list[PixelFormat], chunk: int, block: int, batch: int
    ) -> list[xarray.DataArray]:
        """The images that an engine computes, each stored as one of the formats says."""
        images = Job(engine, self.scene, formats, block, batch).lazily(self.arrays, chunk)
        pan, ms = (layout.array for layout in self.layouts)
        return [
            self.layouts[0].restore(described(image, self.scene, pixels, pan, ms))
            for image, pixels in zip(images, formats, strict=True)
        ]


@xarray.register_dataarray_accessor("rsfusion")
class Accessor:
    """`pan.rsfusion`: fusion as a method of the guide."""

    def __init__(self, pan: xarray.DataArray):
        self._pan = pan

    def fuse(self, ms, **options) -> xarray.DataArray:
        """Fuse this guide with `ms`; `fuse` of this module explains the options."""
        return fuse(self._pan, ms, **options)

    def interval(self, ms, **options) -> Interval:
        """Fuse it and say how far pixels may be wrong; see `interval` of this module."""
        return interval(self._pan, ms, **options)


def _as_half_width(widths: xarray.DataArray, level: float) -> xarray.DataArray:
    """Half widths with attributes that suit them: MS's scale, without its offset, names."""
    bands, names = widths.sizes["band"], widths.attrs.get("long_name")
    attributes = {"add_offset": 0.0, "offsets": (0.0,) * bands}
    attributes = {key: value for key, value in attributes.items() if key in widths.attrs}
    if names is not None:
        names = [names] * bands if isinstance(names, str) else names
        attributes["long_name"] = tuple(
            difference_name(f"{level:g} % half width", name) for name in names
        )
    return widths.assign_attrs(attributes, RSFUSION_INTERVAL=f"{level:g}").rename("half_width")
