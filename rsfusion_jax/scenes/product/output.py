"""The finished file: tiled, compressed GeoTIFF or COG with overviews, all of it or nothing."""

import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.rpc import RPC
from rasterio.windows import Window

from rsfusion_jax.errors import UserError, check_name
from rsfusion_jax.new_files import new_files
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.journal import disk_errors
from rsfusion_jax.scenes.work.pixels import PixelFormat, difference_name
from rsfusion_jax.scenes.work.tiff import TiffWriter, is_big, read_directories
from rsfusion_jax.scenes.work.tiles import TileCoder

COMPRESSIONS = ("deflate", "zstd", "lzw", "none")
FORMATS = ("gtiff", "cog")
_SMALLEST_OVERVIEW = 256
_LONGEST = 200
"""Bytes of an output's name; file systems take up to 255."""

_PIXELS = "mask", "overviews"
_BESIDE = {".msk": _PIXELS[0], ".ovr": _PIXELS[1], ".aux.xml": "georeference"}
"""What the names of files end in that GDAL reads as parts of the image beside them."""
_PLACE = re.compile(rb"<(GeoTransform|SRS|GCPList|NoDataValue)")
"""What goes before the image's own; most such files hold statistics alone, as viewers leave."""

EncodedPart = tuple[int, int, int, int, Sequence[bytes]]
"""Row, column, height, width and compressed tiles of a part of the output."""


@dataclasses.dataclass(frozen=True)
class Style:
    """How the file is written.

    Attributes:
        format: "gtiff" or "cog".
        compression: "deflate", "zstd", "lzw" or "none".
        overviews: whether reduced copies are stored in it.
    """

    format: str = "gtiff"
    compression: str = "deflate"
    overviews: bool = True

    def __post_init__(self):
        for name, value, known in (
            ("format", self.format, FORMATS),
            ("compress", self.compression, COMPRESSIONS),
        ):
            if value not in known:
                raise UserError(f"--{name}={value} is unknown; choose one of {', '.join(known)}")

    @classmethod
    def of(cls, options: Options) -> "Style":
        """The style that options ask for."""
        return cls(options.format, options.compress, options.overviews)


def check_targets(out: Path, inputs: list[Path], options: Options) -> None:
    """Refuses, before anything is computed, outputs that cannot be written.

    Args:
        out: the output.
        inputs: PAN and MS.
        options: options of the run, with its other outputs.

    Raises:
        UserError: one exists, is an input, has another suffix, or its folder cannot be written.
    """
    Style.of(options)
    if options.rgb is not None and options.quicklook is None:
        raise UserError(f"--rgb={','.join(map(str, options.rgb))} is of --quicklook; give both")
    outputs = [out]
    if options.sensor is not None and Path(str(options.sensor)).suffix == ".json":
        inputs = [*inputs, Path(options.sensor)]
    _check_raster(out)
    widths = None if options.interval is None else options.interval[1]
    for path in (options.std, widths):
        if path is not None:
            _check_raster(Path(path))
    for path in _named(out, options):
        for other in inputs:
            if _is_same(path, other):
                raise UserError(f"{path} is one of the inputs; choose another name for the output")
        if path is not out and any(_is_same(path, other) for other in outputs):
            raise UserError(f"{path} is named for two outputs; choose another name for one")
        _check_place(path, options.overwrite)
        outputs.append(path)
    for name, suffixes, how in (
        (options.quicklook, (".png",), "pictures are written as PNG"),
        (options.report, (".json",), "reports are written as JSON"),
        (options.view, (".html", ".htm"), "pages are written as HTML"),
    ):
        if name is not None and Path(name).suffix.lower() not in suffixes:
            raise UserError(f"{name} must end with {suffixes[0]}; {how}")


def check_weights_stay(weights: str, out: Path, options: Options) -> None:
    """Refuses outputs that would replace a file of the weights.

    Args:
        weights: file or folder of the weights.
        out, options: as of `check_targets`.

    Raises:
        UserError: an output is such a file.
    """
    kept = Path(weights).resolve()
    for path in _named(out, options):
        if path.is_file() and kept in (path.resolve(), *path.resolve().parents):
            raise UserError(f"{path} belongs to the weights; choose another name for the output")


def _named(out: Path, options: Options) -> list[Path]:
    """All files that a run is to write."""
    widths = None if options.interval is None else options.interval[1]
    beside = options.std, widths, options.quicklook, options.report, options.view
    return [out, *(Path(name) for name in beside if name is not None)]


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return os.path.realpath(path) == os.path.realpath(other)


def _check_raster(out: Path) -> None:
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(f"{out} must end with .tif; scenes are written as GeoTIFF")
    for suffix, what in _BESIDE.items():
        beside = Path(f"{out}{suffix}")
        if beside.is_file() and (what in _PIXELS or _PLACE.search(beside.read_bytes())):
            raise UserError(
                f"{beside} is left of another image and would be taken for the {what} of this one; "
                "delete it or choose another name"
            )


def _check_place(out: Path, overwrite: bool) -> None:
    check_name(str(out))
    if len(out.name.encode()) > _LONGEST:
        raise UserError(
            f"{out.name[:40]}... has a name of {len(out.name.encode())} bytes; choose one of at "
            f"most {_LONGEST}, since files beside it have longer ones"
        )
    if not out.parent.is_dir():
        raise UserError(f"{out}: its folder does not exist; create it first")
    # A link that leads nowhere is in the way too.
    if (out.exists() or out.is_symlink()) and not (overwrite and out.is_file()):
        raise UserError(f"{out} exists already; choose another name or give --overwrite")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror}); choose a folder where files may be made"
        ) from error


def assemble(
    out: Path,
    scene: ScenePair,
    coder: TileCoder,
    style: Style,
    measure: Callable[[Path], Mapping[str, str]],
    names: list[str] | None,
    parts: Iterator[EncodedPart],
    advance: Callable[[int], None],
    difference: str | None = None,
) -> None:
    """Writes the file under another name beside `out` and renames it when it is complete.

    Args:
        out: the output.
        scene: the pair.
        coder: how pixels are stored and compressed.
        style: how the file is written.
        measure: called with the file once its pixels are there; returns tags to add to those of
            `ms`.
        names: names of the bands that were fused, where `ms` has none.
        parts: parts that cover the scene and begin with a tile.
        advance: called with the pixels written.
        difference: what the values are if they are no pixel values but distances between some, such
            as "half width"; None.

    Raises:
        UserError: the disk is full or the file cannot be written.
    """
    with disk_errors(out), new_files([out], overwrite=True) as places:
        unfinished = places[out]
        _write_tiles(unfinished, scene, coder, names, parts, advance, difference)
        tags = measure(unfinished)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(unfinished, "r+") as file:
                file.update_tags(**tags)
            if style.format == "cog":
                _copy_as_cog(unfinished, unfinished.with_name("cog.tif"), style)
            elif style.overviews:
                _add_overviews(unfinished, scene.size)


def _write_tiles(
    path: Path,
    scene: ScenePair,
    coder: TileCoder,
    names: list[str] | None,
    parts: Iterator[EncodedPart],
    advance: Callable[[int], None],
    difference: str | None,
) -> None:
    with MemoryFile() as memory:
        with coder.environment(), memory.open(**_profile(scene, coder), sparse_ok=True) as file:
            _describe(file, scene, coder.pixels, names, difference)
            coder.begin_mask(file)
        data = memory.getbuffer()
        directories, big = read_directories(data), is_big(data)
    across = -(-scene.size[1] // coder.side)
    tables = [[None] * len(list(directory.tiles)) for directory in directories]
    writer = TiffWriter(path, big)
    try:
        for row, column, height, width, tiles in parts:
            tiles = iter(tiles)
            for table in tables:
                for down in range(row, row + height, coder.side):
                    for right in range(column, column + width, coder.side):
                        index = down // coder.side * across + right // coder.side
                        table[index] = writer.add(next(tiles))
            advance(height * width)
        writer.close(zip(directories, tables, strict=True))
    finally:
        writer.abandon()


def _profile(scene: ScenePair, coder: TileCoder) -> dict:
    height, width = scene.size
    pan = scene.pan
    profile = {**coder.profile, "height": height, "width": width, "crs": pan.crs}
    if pan.transform is not None:
        corner = Window(scene.columns.start, scene.rows.start, width, height)
        profile["transform"] = rasterio.windows.transform(corner, pan.transform)
    return profile | {"bigtiff": "IF_SAFER"}


def _describe(file, scene: ScenePair, pixels: PixelFormat, names, difference) -> None:
    ms = scene.ms
    names = {} if names is None else dict(zip(ms.planes, names, strict=True))
    for index, description in enumerate(ms.descriptions):
        description = description or names.get(index)
        if difference:
            description = difference_name(difference, description)
        if description:
            file.set_band_description(index + 1, description)
        file.update_tags(index + 1, **ms.band_tags[index])
    alpha = [None] if pixels.extra == "alpha" else []
    file.units = [unit or "" for unit in [*ms.units, *alpha]]
    # Between two values the offset cancels.
    offsets = [0.0 for _ in ms.offsets] if difference else [*ms.offsets]
    if {*ms.scales} != {1.0} or {*offsets} != {0.0}:
        file.scales = [*ms.scales, *(1.0 for _ in alpha)]
        file.offsets = [*offsets, *(0.0 for _ in alpha)]
    colours = list(ms.colours)
    if alpha:
        colours.append(ColorInterp.alpha)
    file.colorinterp = colours
    file.update_tags(**ms.tags)
    points, system = scene.pan.gcps
    if points:
        # The output begins elsewhere than PAN.
        moved = [
            GroundControlPoint(
                gcp.row - scene.rows.start, gcp.col - scene.columns.start, gcp.x, gcp.y, gcp.z
            )
            for gcp in points
        ]
        file.gcps = moved, system
    if scene.pan.rpcs is not None:
        moved = scene.pan.rpcs.to_dict()
        moved["line_off"] -= scene.rows.start
        moved["samp_off"] -= scene.columns.start
        file.rpcs = RPC(**moved)


def _copy_as_cog(path: Path, copied: Path, style: Style) -> None:
    options = {"COMPRESS": style.compression.upper(), "BIGTIFF": "IF_SAFER"}
    options["NUM_THREADS"] = "ALL_CPUS"
    options["OVERVIEWS"] = "AUTO" if style.overviews else "NONE"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        rasterio.shutil.copy(path, copied, driver="COG", **options)
    copied.replace(path)


def _add_overviews(path: Path, size: tuple[int, int]) -> None:
    factors, factor = [], 2
    while max(size) // factor * 2 > _SMALLEST_OVERVIEW:
        factors.append(factor)
        factor *= 2
    if factors:
        with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"), rasterio.open(path, "r+") as file:
            file.build_overviews(factors, Resampling.average)
