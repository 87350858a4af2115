"""Fuses a whole scene from file to file."""

import contextlib
import dataclasses
import math
import time
import warnings
from pathlib import Path

import rasterio

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.inputs import Inputs
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.product.finish import all_stores, finish, write_spread
from rsfusion_jax.scenes.product.output import Style, check_target
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.drawing import Denoiser, Field, draw_scene
from rsfusion_jax.scenes.work.journal import (
    Store,
    check_room,
    disk_errors,
    field_path,
    shard_blocks,
    store_paths,
)
from rsfusion_jax.scenes.work.loop import fuse_blocks

_SHARD_SIDE = 512
"""Blocks of a scene in shards, which must be the same on every machine."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a scene.

    Attributes:
        path: of the output; None where other shards still have to do their part.
        notices: what the user was told.
        figures: mean and its drift per band, R-ERGAS, residual shift, clipped share and the phase
            used, as they stand in the file's tags.
        seconds: per stage: fit, draw (of diffusion networks), read, transfer (to the device and
            back), device, write, fuse, assemble, total.
    """

    path: Path | None
    notices: tuple[str, ...]
    figures: dict
    seconds: dict[str, float]


def fuse_scene(pan, ms, out, *, fuser=None, **options) -> Result:
    """Fuses two GeoTIFFs into a third, in bounded memory.

    Args:
        pan: guide.
        ms: low-resolution image.
        out: new GeoTIFF on the grid of `pan`, in the units and type of `ms`.
        fuser: network with its weights; None for a classical method.
        **options: fields of `Options`.

    Returns:
        What was measured; the same stands in the file's tags.

    Raises:
        UserError: inputs that do not fit each other or the method, an output that cannot be
            written; nothing is left behind then.
        KeyboardInterrupt: what is done stays beside the output for `resume`.
    """
    unknown = sorted(set(options) - {field.name for field in dataclasses.fields(Options)})
    if unknown:
        raise UserError(f"option {unknown[0]!r} of fuse_scene is unknown; see its Options")
    chosen = Options(**options)
    out = Path(out)
    style = Style(chosen.format, chosen.compress, chosen.overviews)
    budget = memory.parse_memory(chosen.memory)
    check_target(out, [Path(pan), Path(ms)], chosen.overwrite)
    if chosen.std is not None:
        if Path(chosen.std).absolute() == out.absolute():
            raise UserError(f"--std={chosen.std} is the output itself; choose another name")
        check_target(Path(chosen.std), [Path(pan), Path(ms), out], chosen.overwrite)
    for extra in (chosen.quicklook, chosen.report):
        if extra is not None and not Path(extra).parent.is_dir():
            raise UserError(f"{extra}: its folder does not exist; create it first")
    with rasterio.Env(GDAL_CACHEMAX=memory.CACHE // 2**20), warnings.catch_warnings():
        # Images without a georeference are fused too.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        inputs = Inputs(Path(pan), Path(ms), fuser, chosen)
        with contextlib.ExitStack() as files:
            files.callback(inputs.close)
            return _run(out, inputs, chosen, style, budget, files)


def _run(
    out: Path,
    inputs: Inputs,
    options: Options,
    style: Style,
    budget: int,
    files: contextlib.ExitStack,
) -> Result:
    begin = time.perf_counter()
    inputs.survey()
    run = {**options.of_pixels, "version": __version__, **inputs.fingerprint()}
    store = Store(*store_paths(out, options.shard), {"run": run, "found": {}})
    found = store.header["found"] if options.resume and store.recall() else {}
    shift = inputs.shift(found)
    engine, scene = inputs.prepare(shift, found, budget)
    seconds = {"fit": inputs.seconds}
    if isinstance(engine, Denoiser):
        start = time.perf_counter()
        size = scene.rows.length, scene.columns.length
        field = Field(field_path(out), size, engine.num_bands, engine.process, options)
        with disk_errors(out):
            files.enter_context(field.opened(run, options.resume))
            engine = draw_scene(dataclasses.replace(engine, field=field), scene, budget, options)
        seconds["draw"] = time.perf_counter() - start
    side = options.block or (_SHARD_SIDE if options.shard[1] > 1 else None)
    plan = memory.plan(
        engine, scene, budget, found.get("side", side), found.get("batch", options.batch)
    )
    windows, pixels = plan.windows, inputs.pixels(scene)
    planes = len(inputs.ms.bands) + (pixels.extra is not None)
    block = planes * math.prod(windows.sides) * pixels.dtype.itemsize
    mine = shard_blocks(len(windows.blocks), options.shard)
    store.lay_out({index: slot for slot, index in enumerate(mine)}, block)
    store.header["found"] = {
        "side": windows.side,
        "batch": plan.batch,
        "coefficients": inputs.coefficients or {"kind": "none", "fields": []},
    }
    height, width = scene.size
    whole = planes * height * width * pixels.dtype.itemsize * 4 // 3
    check_room(out.parent, block * (len(mine) - len(store.lines)) + whole)
    try:
        with disk_errors(out):
            store.open_for_writing()
            seconds |= fuse_blocks(engine, plan, pixels, store, mine, options.quiet)
        stores = all_stores(store, out, options.shard, len(windows.blocks))
        if stores is None:
            return Result(None, tuple(inputs.notices), {}, seconds)
        start = time.perf_counter()
        figures = finish(out, inputs, scene, windows, pixels, style, options, stores)
        if options.std is not None:
            scale = engine.max_value
            write_spread(Path(options.std), out, scene, field, scale, style, options.quiet)
        seconds["assemble"] = time.perf_counter() - start
        seconds["total"] = time.perf_counter() - begin
        return Result(out, tuple(inputs.notices), figures, seconds)
    except UserError:
        store.close(remove=True)
        raise
    finally:
        store.close()
