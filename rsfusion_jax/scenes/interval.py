"""`rsf.interval`: fuse arrays and say how far each pixel may be wrong."""

import sys
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.registry import method_setting
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.scenes.degraded.calibrate import Calibration, Calibrator, Interval, check_level
from rsfusion_jax.scenes.degraded.camera import scene_camera
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.engines import classical_spec, network_engine
from rsfusion_jax.scenes.work.fitting import fitted_engine
from rsfusion_jax.scenes.work.half_width import IntervalEngine, half_width
from rsfusion_jax.scenes.work.memory import parse_memory, plan_work
from rsfusion_jax.scenes.work.program import network_spec
from rsfusion_jax.sensors import Sensor, get_sensor, unnamed_sensor


def interval(
    pan,
    ms,
    *,
    fuser: Fuser | None = None,
    method: str | None = None,
    level: float = 90,
    sensor: str | Mapping | Sensor | None = None,
    ms_phase: float | None = None,
    valid=None,
    tile: int | None = None,
    memory: str | int = "2GB",
) -> Interval:
    """Fuse one image and give the half widths of intervals that hold a share of its errors.

    The image is degraded by its own ratio (Wald's protocol), so that MS is the truth; the errors
    found there are related to what predicts errors locally, and the half widths are calibrated on
    parts of the image that this relation was not fitted to. docs/intervals.md says how well they
    hold.

    xarray images (extra [dask]) are related by their georeference and give lazy arrays with
    coordinates, coordinate system and attributes: `rsfusion_jax.scenes.xarray.interval`, which has
    further options, is called with them.

    Args:
        pan: guide, (r h, r w, G) or (r h, r w), of any dtype; NaN is nodata. Or an xarray image.
        ms: MS image, (h, w, C), likewise.
        fuser: network with its weights.
        method: classical method, if there is no `fuser`.
        level: share of the errors in percent, at least 50 and less than 100.
        sensor: sensor of the images; None to measure one MTF gain against PAN.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2, (r - 1) / 2 for a pair
            whose outer corners coincide. Georeferenced images say it themselves.
        valid: boolean mask (h, w) of the MS pixels that may calibrate: those that `fuser` was not
            trained on, where it was trained on this image; None for all.
        tile: PAN pixels along a side of blended tiles, for networks that see the whole image.
        memory: budget for blocks, as for `rsfusion fuse`; the arrays come on top of it.

    Raises:
        UserError: arrays that do not fit each other or the method, or too few pixels.
    """
    if _is_labelled(pan) or _is_labelled(ms):
        from rsfusion_jax.scenes.xarray import interval as lazily  # needs the extra [dask]

        if ms_phase is not None:
            raise UserError("ms_phase= is of plain arrays; xarray images lie as they say")
        how = {"fuser": fuser, "method": method, "level": level, "sensor": sensor}
        return lazily(pan, ms, **how, valid=valid, tile=tile, memory_budget=memory)
    if (fuser is None) == (method is None):
        raise UserError("give interval() either fuser= or method=, found both or neither")
    check_level(level)
    centred, ratio = array_scene(pan, ms, ms_phase, valid)
    bands, guides = len(centred.ms.bands), len(centred.pan.bands)
    setting = None
    if fuser is not None:
        spec = network_spec(fuser, tile=tile)
        if (spec.num_bands, spec.guide_bands, spec.ratio) != (bands, guides, ratio):
            raise UserError(
                f"the images have {bands} bands, {guides} guides and ratio {ratio}, the network "
                f"takes {spec.num_bands}, {spec.guide_bands} and {spec.ratio}"
            )
    else:
        record = None if sensor is None else get_sensor(sensor)
        optics = unnamed_sensor(bands) if record is None and guides > 1 else record
        setting = method_setting(method, optics, ratio, bands)
        spec = classical_spec(method, setting, bands, guides)
    finite = [np.asarray(image)[np.isfinite(image)] for image in (pan, ms)]
    if not all(image.size for image in finite):
        raise UserError("pan or ms holds no finite value; give images with data")
    max_value, pan_value = scene_scales(finite, full_scale_from_values(finite), None)
    budget, camera = parse_memory(memory), scene_camera(centred, ratio, sensor, None)[0]
    scales = pan_value or max_value, max_value
    calibration = Calibrator(camera, scales, spec, setting, fuser, level, budget).on_scene(centred)
    if fuser is not None and fuser.diffusion is not None:
        return _drawn(pan, ms, fuser, spec.tile, calibration)
    placed = {"phase": spec.phase, "align": spec.align, "least": spec.tile or 0}
    scene, _ = array_scene(pan, ms, ms_phase, **placed)
    if fuser is None:
        engine, _ = fitted_engine(spec, setting, scene, budget)
    else:
        engine = network_engine(fuser, spec)
    engine = IntervalEngine.of(engine, calibration.widths)
    plan = plan_work(engine, scene, budget, None, 1)
    results = [np.full((*np.shape(pan)[:2], bands), np.nan, np.float32) for _ in range(2)]
    for block in plan.windows.blocks:
        window, inside = plan.windows.read(block)
        fused, _, widths = plan.run(engine.state, stack_windows([window], 1))
        rows, columns = (
            slice(span.start + cut.start, span.start + cut.start + cut.size)
            for span, cut in ((scene.rows, block.rows), (scene.columns, block.columns))
        )
        for result, image in zip(results, (fused, widths), strict=True):
            core = np.asarray(image)[0][block.core]
            result[rows, columns] = np.where(inside[..., None], core, np.nan)
    return Interval(*results, calibration)


def _is_labelled(image) -> bool:
    """Whether an image is one of xarray's, which is imported then."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(image, xarray.DataArray | xarray.Dataset)


def _drawn(pan, ms, fuser: Fuser, tile: int, calibration: Calibration) -> Interval:
    """A diffusion network draws the image as a whole."""
    pan = np.asarray(pan, np.float32)
    pan = pan[..., None] if pan.ndim == 2 else pan
    fused = fuser(pan, ms, tile=min(tile, *pan.shape[:2]))
    lms = interp23(jnp.asarray(ms, jnp.float32), fuser.model.ratio)
    images = (jnp.asarray(image)[None] for image in (pan, lms, fused))
    widths = half_width(*images, fuser.model.ratio, calibration.widths)
    return Interval(fused, np.asarray(widths)[0], calibration)
