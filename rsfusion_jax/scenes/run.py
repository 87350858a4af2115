"""Fusion of a whole scene: open the files, survey their values, place MS on PAN's grid, fuse."""

import contextlib
import dataclasses
import math
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import rasterio

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.new_files import check_room, remove_leftovers
from rsfusion_jax.scenes.degraded.calibrate import Calibration
from rsfusion_jax.scenes.degraded.placed import calibrate_placed
from rsfusion_jax.scenes.extras import write_extras
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.opened import Opened, open_pair
from rsfusion_jax.scenes.pair.source import Source, coarsened, find_source
from rsfusion_jax.scenes.pair.surveyed import survey
from rsfusion_jax.scenes.product.colours import choose_rgb
from rsfusion_jax.scenes.product.finish import all_stores, finish, interval_tags, write_spread
from rsfusion_jax.scenes.product.output import check_targets
from rsfusion_jax.scenes.product.quality import doubts, report_notices
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.choice import choose
from rsfusion_jax.scenes.work.drawing import draw_scene
from rsfusion_jax.scenes.work.engines import Engine, network_engine
from rsfusion_jax.scenes.work.field import Field
from rsfusion_jax.scenes.work.fingerprint import fingerprint
from rsfusion_jax.scenes.work.fitting import fitted_engine
from rsfusion_jax.scenes.work.half_width import IntervalEngine
from rsfusion_jax.scenes.work.journal import (
    DamagedBlock,
    Store,
    disk_errors,
    field_path,
    shard_blocks,
    shard_mark,
    store_paths,
)
from rsfusion_jax.scenes.work.lock import locked
from rsfusion_jax.scenes.work.loop import fuse_blocks
from rsfusion_jax.scenes.work.pixels import choose_format, difference_format
from rsfusion_jax.scenes.work.placed import Placed, place
from rsfusion_jax.scenes.work.tiles import TileCoder, tile_side

_SHARD_SIDE = 512
"""PAN pixels along a side of the blocks of shards, which must be the same on every machine."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a scene.

    Attributes:
        path: path of the output; None where other shards still have to do their part.
        notices: messages for the user.
        figures: mean and its drift per band, R-ERGAS, residual shift, clipped share and the phase
            used, as they stand in the file's tags.
        seconds: per stage: fit, draw (of diffusion networks), read, transfer (to the device and
            back), device (waiting for it), write, fuse (all of these, by the clock), assemble,
            total.
    """

    path: Path | None
    notices: tuple[str, ...]
    figures: dict
    seconds: dict[str, float]


def fuse_scene(pan, ms, out, *, fuser: Fuser | None = None, **options) -> Result:
    """Fuses two images, or a product as delivered, into a GeoTIFF, in bounded memory.

    Args:
        pan: high-resolution image: a file or another name that GDAL opens; or a product as
            delivered (folder, archive or file of metadata), with `ms` None.
        ms: low-resolution image, likewise; or several files of one grid, one per band.
        out: new GeoTIFF on the grid of `pan`, in the units and type of `ms`.
        fuser: network with its weights; None for a classical method.
        **options: fields of `rsfusion_jax.scenes.Options`.

    Returns:
        A `Result`; its figures also stand in the file's tags.

    Raises:
        UserError: inputs that do not fit each other or the method, an output that cannot be
            written; nothing is left behind then.
        KeyboardInterrupt: finished blocks stay in the output's folder for `resume`.
    """
    unknown = sorted(set(options) - {field.name for field in dataclasses.fields(Options)})
    if unknown:
        raise UserError(f"option {unknown[0]!r} of fuse_scene is unknown; see its Options")
    results = []
    with opened_jobs(pan, ms, out, Options(**options)) as jobs:
        for job in jobs:
            with opened_pair(job.pan, job.ms, job.out, job.options) as opened:
                choice = choose(opened, fuser, job.options)
                surveyed = survey(opened)
                if surveyed.ms.bands != opened.ms.bands:
                    choice = choose(surveyed, fuser, job.options)
                placed = place(surveyed, choice, job.options)
                results.append(fuse_placed(placed, job.out, job.options))
    return results[0]


@dataclasses.dataclass(frozen=True)
class Job:
    """One image to fuse: its pair, its output, its options, and what tells it from the first."""

    pan: Source
    ms: Source
    out: Path
    options: Options
    suffix: str = ""


@contextlib.contextmanager
def opened_jobs(pan, ms, out, options: Options) -> Iterator[list[Job]]:
    """Yields what is to be fused: one pair, or the images of a product.

    Args:
        pan, ms, out: files; see `fuse_scene`.
        options: options of the run.

    Raises:
        UserError: images or a product that cannot be found, outputs that cannot be written.
    """
    out = Path(out)
    if ms is not None:
        trust = options.trust
        yield [Job(find_source(pan, "PAN", trust), find_source(ms, "MS", trust), out, options)]
        return
    if options.drivers or options.follow:
        raise UserError(
            "--drivers and --follow are for PAN and MS; a product is opened as its own format"
        )
    from rsfusion_jax.scenes.products.find import opened_product  # reads HDF5 and XML

    check_targets(out, [], options)
    with opened_product(pan) as product:
        if not options.quiet:
            _print_notices((f"{product.title}: {product.pan} and {product.ms}", *product.notices))
        bands = options.bands or product.bands
        jobs = [Job(product.pan, product.ms, out, dataclasses.replace(options, bands=bands))]
        alone = dict.fromkeys(("bands", "quicklook", "report", "view", "std", "interval"))
        for suffix, other in product.others.items() if options.bands is None else ():
            path = out.with_name(f"{out.stem}_{suffix}{out.suffix}")
            reduced = dataclasses.replace(options, **alone)
            jobs.append(Job(product.pan, other, path, reduced, suffix))
        for job in jobs:
            inputs = [*job.pan.on_disk, *job.ms.on_disk]
            check_targets(job.out, inputs, job.options)
        yield jobs


@contextlib.contextmanager
def opened_pair(pan, ms, out, options: Options) -> Iterator[Opened]:
    """Opens the inputs of a run whose outputs can be written, and closes them at the end.

    No other process can write the output meanwhile.

    Args:
        pan, ms, out: files; see `fuse_scene`.
        options: options of the run.

    Raises:
        UserError: an output that cannot be written or that another process writes, or inputs that
            cannot be read or related.
    """
    pan, ms = (find_source(p, label, options.trust) for p, label in ((pan, "PAN"), (ms, "MS")))
    if pan.dataset == ms.dataset:
        raise UserError(f"{pan} is given as PAN and as MS; give two images")
    check_targets(Path(out), [*pan.on_disk, *ms.on_disk], options)
    memory.parse_memory(options.memory)
    out = Path(out)
    if options.ratio is not None:
        ms = coarsened(ms, "MS", options.ratio)
    with (
        locked(out, shard_mark(options.shard)),
        warnings.catch_warnings(),
        # The cache in bytes, where GDAL's own option takes MB too.
        # An image must not bring code along.
        rasterio.Env(
            GDAL_CACHEMAX=memory.CACHE,
            GDAL_NUM_THREADS="ALL_CPUS",
            GDAL_VRT_ENABLE_PYTHON="NO",
        ),
        contextlib.closing(
            open_pair(
                pan,
                ms,
                bands=options.bands,
                warp=options.warp,
                nodata=options.nodata,
                related=options.grid is not None,
            )
        ) as opened,
    ):
        if options.shard[1] == 1:
            remove_leftovers(out)
        # Images without a georeference are fused too.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield opened


def fuse_placed(
    placed: Placed, out, options: Options, calibration: Calibration | None = None
) -> Result:
    """Fuses a placed pair into a GeoTIFF; `fuse_scene` says more.

    Args:
        placed: the pair and what fuses it.
        out: new GeoTIFF.
        options: options of the run.
        calibration: of the intervals that the options ask for; None to calibrate them now, on a
            scene that nothing was trained on.
    """
    begin, out = time.perf_counter(), Path(out)
    choice, scene = placed.choice, placed.scene
    bands, budget = len(scene.ms.bands), memory.parse_memory(options.memory)
    choose_rgb(scene.ms, choice.sensor, options.rgb)
    notices = placed.notices
    if options.report is not None:
        notices = (*notices, *report_notices(choice.sensor, bands))
    if not options.quiet:
        _print_notices(notices)
    run = {**options.of_pixels, "version": __version__}
    run |= fingerprint(scene.pan, scene.ms, choice.fuser)
    if options.interval is not None:
        run["interval"] = options.interval[0]
    store = Store(*store_paths(out, options.shard), {"run": run, "resumed": {}})
    with contextlib.ExitStack() as files:
        resumed = store.header["resumed"] if options.resume and store.recall() else {}
        if options.interval is not None:
            if "interval" in resumed:
                calibration = Calibration.of_dict(resumed["interval"])
            calibration = calibration or calibrate_placed(placed, options)
            notices = (*notices, calibration.sentence)
            if not options.quiet:
                _print_notices((calibration.sentence,))
        prepared = _prepare(placed, out, options, run, resumed, files)
        engine = prepared.engine
        if calibration is not None:
            engine = IntervalEngine.of(engine, calibration.widths)
        side = options.block or (_SHARD_SIDE if options.shard[1] > 1 else None)
        side, batch_size = resumed.get("side", side), resumed.get("batch", options.batch)
        if not options.quiet:
            print("compiling: some seconds the first time, then kept", file=sys.stderr)
        plan = memory.plan_work(engine, scene, budget, side, batch_size)
        windows = plan.windows
        pixels = choose_format(scene.pan, scene.ms, options.dtype, scene.reaches_beyond)
        written = len(scene.ms.descriptions)
        planes = written + (pixels.extra is not None)
        coder = TileCoder(written, pixels, options.compress, tile_side(windows.side))
        widths_coder = None
        if calibration is not None:
            widths_coder = dataclasses.replace(coder, pixels=difference_format(scene.ms))
            planes += 4 * written / pixels.dtype.itemsize
        mine = shard_blocks(len(windows.blocks), options.shard)
        store.header["resumed"] = {
            "side": windows.side,
            "batch": plan.batch_size,
            "coefficients": prepared.coefficients,
        }
        if calibration is not None:
            store.header["resumed"]["interval"] = calibration.as_dict()
        # Blocks that are to come, and all of them once more in the output with its overviews, as
        # if nothing could be compressed.
        whole = planes * math.prod(scene.size) * pixels.dtype.itemsize
        left = 1 - len(store.lines) / len(windows.blocks)
        check_room(out.parent, int(whole * (left + 4 / 3)))
        seconds = dict(prepared.seconds)
        try:
            state = engine.state
            with disk_errors(out):
                store.open_for_writing()
                seconds |= fuse_blocks(state, plan, coder, store, mine, options.quiet, widths_coder)
            if options.shard[1] > 1:
                files.enter_context(locked(out, wait=True))
            stores = all_stores(store, out, options.shard, len(windows.blocks))
            if stores is None:
                return Result(None, notices, {}, seconds)
            start = time.perf_counter()
            interval = None if calibration is None else interval_tags(calibration)
            figures = finish(
                out, placed, run, windows, coder, options, stores, widths_coder, interval
            )
            doubtful = doubts(figures)
            if not options.quiet:
                _print_notices(doubtful)
            notices = (*notices, *doubtful)
            if options.std is not None:
                write_spread(out, placed, prepared.field, options)
            write_extras(out, placed, figures, options)
            end = time.perf_counter()
            seconds["assemble"] = end - start
            seconds["total"] = placed.seconds + end - begin
            return Result(out, notices, figures, seconds)
        except DamagedBlock:
            raise  # the other blocks stay for a resumed run
        except UserError:
            store.close(remove=True)
            raise
        finally:
            store.close()


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """An engine with its weights or coefficients.

    Attributes:
        engine: what fuses the windows.
        seconds: per stage: fit, and draw of diffusion networks.
        coefficients: coefficients of a classical method, as JSON holds them.
        field: state of the draws of a diffusion network; None with other methods.
    """

    engine: Engine
    seconds: dict[str, float]
    coefficients: dict = dataclasses.field(default_factory=lambda: {"kind": "none", "fields": []})
    field: Field | None = None


def _prepare(
    placed: Placed,
    out: Path,
    options: Options,
    run: dict,
    resumed: dict,
    files: contextlib.ExitStack,
) -> _Prepared:
    """Fits the classical method, or draws the residual of a diffusion network."""
    choice, scene = placed.choice, placed.scene
    budget, start = memory.parse_memory(options.memory), time.perf_counter()
    if choice.fuser is None:
        engine, coefficients = fitted_engine(
            choice.spec,
            choice.setting,
            scene,
            budget - memory.resident_bytes(),
            resumed=resumed.get("coefficients"),
            quiet=options.quiet,
        )
        return _Prepared(engine, {"fit": time.perf_counter() - start}, coefficients)
    if choice.fuser.diffusion is None:
        return _Prepared(network_engine(choice.fuser, choice.spec), {"fit": 0.0})
    size = scene.rows.length, scene.columns.length
    process = choice.fuser.diffusion
    field = Field(field_path(out), size, choice.spec.num_bands, process, options)
    with disk_errors(out):
        files.enter_context(field.opened(run, options.resume))
        engine = draw_scene(choice.spec, choice.fuser, field, scene, budget, options)
    seconds = {"fit": 0.0, "draw": time.perf_counter() - start}
    return _Prepared(engine, seconds, field=field)


def _print_notices(notices: tuple[str, ...]) -> None:
    for notice in notices:
        print(f"notice: {notice}", file=sys.stderr)
