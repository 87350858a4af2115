"""After the last block: figures of the whole scene, and the files with their tags."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.degraded.calibrate import Calibration
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.relate import phase_numbers
from rsfusion_jax.scenes.product import quality
from rsfusion_jax.scenes.product.output import EncodedPart, Style, assemble
from rsfusion_jax.scenes.work.field import Field
from rsfusion_jax.scenes.work.journal import Store, shard_blocks, store_paths
from rsfusion_jax.scenes.work.pixels import difference_format
from rsfusion_jax.scenes.work.placed import Placed
from rsfusion_jax.scenes.work.tiles import TileCoder
from rsfusion_jax.scenes.work.windows import WindowReader

_LEAST = 0.3
"""Share of valid pixels of the parts that are measured, where none is complete."""


def all_stores(own: Store, out: Path, shard: tuple[int, int], blocks: int) -> list[Store] | None:
    """The stores of all shards; None where one is not complete.

    Raises:
        UserError: a shard of other options or blocks.
    """
    stores = []
    if not own.exists:
        return None  # another shard has just put the file together
    for index in range(1, shard[1] + 1):
        if index == shard[0]:
            stores.append(own)
            continue
        store = Store(*store_paths(out, (index, shard[1])), dict(own.header))
        if not store.recall(check=False):
            return None
        for name in ("side", "coefficients", "interval"):
            if store.header["resumed"].get(name) != own.header["resumed"].get(name):
                raise UserError(
                    f"shard {index} of {out.name} has another {name} than this one; run all "
                    "shards on the same files, with --block where memory differs"
                )
        if not store.complete(shard_blocks(blocks, (index, shard[1]))):
            return None
        stores.append(store)
    return stores


def finish(
    out: Path,
    placed: Placed,
    run: dict,
    windows: WindowReader,
    coder: TileCoder,
    options: Options,
    stores: list[Store],
    widths_coder: TileCoder | None = None,
    interval: dict | None = None,
) -> dict:
    """Writes the output, and the half widths where the options ask for them.

    Args:
        out: the output.
        placed: the pair and what fused it.
        run: what the run was started with.
        windows: the scene's blocks.
        coder: how pixels are stored and compressed.
        options: options of the run.
        stores: finished blocks of all shards.
        widths_coder: how the half widths are stored; None without.
        interval: tags of the raster of half widths; None without.

    Returns:
        The figures that stand in the file's tags.
    """
    scene, sensor = placed.scene, placed.choice.sensor
    bands = len(scene.ms.bands)
    lines = {index: line for store in stores for index, line in store.lines.items()}
    camera = quality.camera(sensor, bands)
    figures = _figures(placed, [lines[index] for index in sorted(lines)])
    where = {index: store for store in stores for index in store.lines}

    def parts(begin: Callable[[int, int], int]) -> Iterator[EncodedPart]:
        for block in windows.blocks:
            tiles = where[block.index].tiles(block.index)
            size = block.rows.size, block.columns.size
            yield block.rows.start, block.columns.start, *size, tiles[begin(*size) :]

    def measured(path):
        pairs = quality.fused_parts(path, scene, options.samples, least=_LEAST)
        figures["r_ergas"] = quality.mean_r_ergas(pairs, scene, camera)
        detail = quality.mean_d_rho(pairs, scene)
        figures["d_rho"], figures["d_rho_exp"] = (None, None) if detail is None else detail
        return _tags(placed, run, options, figures)

    with ProgressBar(
        "writing", scene.size[0] * scene.size[1], unit=MEGAPIXELS, quiet=options.quiet
    ) as stage:
        known = sensor is not None and sensor.num_bands == bands
        names = list(sensor.bands) if known else None
        style, fused = Style.of(options), parts(lambda *size: 0)
        assemble(out, scene, coder, style, measured, names, fused, stage.advance)
    if widths_coder is not None:
        with ProgressBar(
            "writing the intervals",
            scene.size[0] * scene.size[1],
            unit=MEGAPIXELS,
            quiet=options.quiet,
        ) as stage:
            path, side = Path(options.interval[1]), widths_coder.side
            # They lie behind the tiles of the fused block.
            widths = parts(lambda *size: -math.prod(-(-n // side) for n in size))
            assemble(
                path,
                scene,
                widths_coder,
                style,
                lambda _: interval,
                names,
                widths,
                stage.advance,
                f"{options.interval[0]:g} % half width",
            )
    for store in stores:
        store.close(remove=True)
    return figures


def _figures(placed: Placed, lines: list[dict]) -> dict:
    """Figures of the whole scene from the counts of its blocks, in their order."""
    valid = sum(line["valid"] for line in lines)
    sums = [np.sum([line[key] for line in lines], axis=0) for key in ("fused", "lms")]
    fused, lms = (value / max(valid, 1) for value in sums)
    clipped = sum(line["clipped"] for line in lines)
    scene, measured = placed.scene, placed.measured
    return {
        "mean": _by_plane(fused, scene),
        "mean_drift": _by_plane(fused - lms, scene),
        "valid": valid / (scene.size[0] * scene.size[1]),
        "clipped": clipped / max(valid * len(fused), 1),
        "residual_shift": None if measured is None else [measured.rows, measured.columns],
        "phase": phase_numbers(scene),
    }


def _by_plane(values: np.ndarray, scene: ScenePair) -> list[float | None]:
    """One value for each band of the output; None for those without a valid pixel."""
    of_planes = dict(zip(scene.ms.planes, values.tolist(), strict=True))
    return [of_planes.get(plane) for plane in range(len(scene.ms.descriptions))]


def _tags(placed: Placed, run: dict, options: Options, figures: dict) -> dict[str, str]:
    choice = placed.choice
    tags = {
        "VERSION": f"rsfusion_jax {__version__}",
        "METHOD": choice.spec.name,
        "INPUTS": json.dumps({label: run[label][0] for label in ("PAN", "MS")}),
        "OPTIONS": json.dumps(options.changed),
        "SENSOR": choice.sensor.name if choice.sensor else "",
        "WEIGHTS_SHA256": run["weights"] or "",
        "MAX_VALUE": f"{choice.fuser.max_value:g}" if choice.fuser else "",
        "FIGURES": json.dumps(figures),
    }
    return {f"RSFUSION_{key}": value for key, value in tags.items() if value}


def interval_tags(calibration: Calibration) -> dict[str, str]:
    """Tags of a raster of half widths: how it was calibrated."""
    found = {"pixels": calibration.pixels, "held_from_below": calibration.from_below}
    return {
        "RSFUSION_VERSION": f"rsfusion_jax {__version__}",
        "RSFUSION_INTERVAL": f"{calibration.level:g}",
        "RSFUSION_CALIBRATION": json.dumps(found),
    }


def write_spread(fused: Path, placed: Placed, field: Field, options: Options) -> None:
    """Writes the standard deviation of a scene's draws: float32, NaN where the scene is not valid.

    Args:
        fused: the finished scene, which says what is valid.
        placed: the pair and what fused it.
        field: state of the draws, all of which are done.
        options: options of the run.
    """
    scene, max_value = placed.scene, placed.choice.spec.max_value
    pixels = difference_format(scene.ms)
    tags = {"RSFUSION_VERSION": f"rsfusion_jax {__version__}", "RSFUSION_DRAWS": str(field.draws)}
    with (
        ProgressBar(
            "writing the spread",
            scene.size[0] * scene.size[1],
            unit=MEGAPIXELS,
            quiet=options.quiet,
        ) as stage,
        rasterio.open(fused) as file,
    ):
        style = Style.of(options)
        coder = TileCoder(len(scene.ms.descriptions), pixels, style.compression)
        parts = _spread_parts(file, scene, field, max_value, coder)
        path = Path(options.std)
        what = "standard deviation"
        assemble(path, scene, coder, style, lambda _: tags, None, parts, stage.advance, what)


def _spread_parts(
    file, scene: ScenePair, field: Field, max_value: float, coder: TileCoder
) -> Iterator[EncodedPart]:
    height, width = scene.size
    for top in range(0, height, coder.side):
        rows = min(coder.side, height - top)
        begin = scene.rows.start - scene.rows.frame + top
        across = scene.columns.start - scene.columns.frame
        cut = slice(begin, begin + rows), slice(across, across + width)
        squares = field.plane(2 + field.earlier, *cut)
        std = max_value * np.sqrt(squares / (field.draws - 1))
        std[file.dataset_mask(window=Window(0, top, width, rows)) == 0] = np.nan
        planes, _ = coder.pixels.convert(std, np.isfinite(std).all(axis=-1))
        yield top, 0, rows, width, coder.encode(planes)
