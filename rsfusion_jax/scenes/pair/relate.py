"""From two files to one scene: which pixels pair with which, and what should be told of it."""

import dataclasses
import math

import rasterio
import rasterio.warp
from rasterio.windows import Window

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import Axis, Scene, choose_ratio, relate, written_span
from rsfusion_jax.scenes.pair.samples import read_samples
from rsfusion_jax.scenes.pair.shift import Shift, estimate_shift
from rsfusion_jax.scenes.pair.source import Source, Warp

_SAMPLE = 128
"""MS pixels along a side of the samples on which a residual shift is measured."""
_SAMPLES = 9


@dataclasses.dataclass(frozen=True)
class Relation:
    """How the grids lie: (offset, scale) of rows and columns, and the whole ratio to work at."""

    axes: tuple[tuple[float, float], tuple[float, float]]
    ratio: int


def open_pair(pan_path, ms_path, bands, warp: bool) -> tuple[Source, Source, list[str]]:
    """Opens both files; MS in another coordinate system is warped as it is read.

    Args:
        pan_path, ms_path: files.
        bands: of MS to fuse, from 1; None for all.
        warp: False refuses MS of another coordinate system.

    Raises:
        UserError: unreadable files, or coordinate systems that cannot be related.
    """
    pan, ms = Source(pan_path, "PAN"), Source(ms_path, "MS", bands=bands)
    if (pan.crs is None) != (ms.crs is None):
        named, bare = (pan, ms) if ms.crs is None else (ms, pan)
        raise UserError(
            f"{bare.path} has no coordinate system, {named.path} is in {named.crs.to_string()}; "
            "write it with gdal_edit.py -a_srs"
        )
    if pan.crs == ms.crs:
        return pan, ms, []
    if not warp:
        raise UserError(
            f"{pan.path} is in {pan.crs.to_string()} and {ms.path} in {ms.crs.to_string()}; warp "
            "one with gdalwarp -t_srs, or allow it with --warp"
        )
    target = _warped_grid(pan, ms)
    notice = (
        f"MS is warped from {ms.crs.to_string()} to {pan.crs.to_string()} as it is read, cubic, "
        f"to {target.height}x{target.width} pixels"
    )
    ms.close()
    return pan, Source(ms_path, "MS", target, bands), [notice]


def relate_files(pan: Source, ms: Source, grid, wanted: int | None) -> Relation:
    """How the grids lie, from geotransforms, from `grid`, or from the sizes where neither is there.

    Args:
        pan, ms: files.
        grid: (row, column) of the PAN corner at which MS begins, for files that do not say.
        wanted: ratio of the network; None for the nearest whole one.

    Raises:
        UserError: nothing relates them.
    """
    transforms = pan.transform, ms.transform
    if grid is None and None not in transforms:
        axes = relate(*transforms, pan.size, ms.size)
    elif grid is None and (transforms[0] is None) != (transforms[1] is None):
        bare = pan if pan.transform is None else ms
        raise UserError(
            f"{bare.path} has no geotransform, the other image has one; write it with gdal_edit.py "
            "-a_ullr, or relate the grids with --grid=ROW,COLUMN"
        )
    else:
        axes = _by_size(pan, ms, grid, wanted)
    scales = axes[0][1], axes[1][1]
    return Relation(tuple(axes), choose_ratio(scales, wanted))


def make_scene(
    pan: Source, ms: Source, relation: Relation, *, phase: float, shift, extent: str, align, least=0
) -> Scene:
    """The pair on the frame that a method works in; see `geometry.written_span`."""
    spans = []
    for index, name in enumerate(("rows", "columns")):
        axis = Axis(
            fine=pan.size[index],
            coarse=ms.size[index],
            offset=relation.axes[index][0],
            scale=relation.axes[index][1],
            ratio=relation.ratio,
            phase=phase,
            shift=shift[index],
        )
        spans.append(written_span(axis, extent, align, name, least))
    return Scene(pan, ms, *spans)


def measure_shift(pan: Source, ms: Source, relation: Relation) -> Shift | None:
    """The residual shift of a pair; None where nothing can be said."""
    ratio = relation.ratio
    scene = make_scene(
        pan,
        ms,
        relation,
        phase=ratio // 2,
        shift=(0.0, 0.0),
        extent="intersection",
        align=ratio,
    )
    samples = read_samples(scene, _SAMPLE * ratio, _SAMPLES)
    scale = math.sqrt(relation.axes[0][1] * relation.axes[1][1])
    return estimate_shift([(s.pan.mean(axis=-1), s.raw, s.place) for s in samples], scale)


def phase_notices(scene: Scene) -> list[str]:
    """What was resampled, and with which numbers."""
    notices = []
    axes = scene.rows.axis, scene.columns.axis
    if any(abs(axis.scale - axis.ratio) * axis.coarse > 0.02 for axis in axes):
        notices.append(
            f"MS pixels are {axes[0].scale:.5g} x {axes[1].scale:.5g} PAN pixels: MS is resampled "
            f"once to the ratio {axes[0].ratio}"
        )
    numbers = phase_numbers(scene)
    notices.append(
        "phase (rows, columns): "
        + ", ".join(f"{key} {low:+.3f} {high:+.3f}" for key, (low, high) in numbers.items())
        + ("; MS pixels are used as they are" if all(axis.exact for axis in axes) else "")
    )
    return notices


def phase_numbers(scene: Scene) -> dict[str, tuple[float, float]]:
    """o, phi, n and f of PROTOCOL's scene rule, rows and columns."""
    axes = scene.rows.axis, scene.columns.axis
    return {
        "o": tuple(axis.offset for axis in axes),
        "phi": tuple(axis.phi for axis in axes),
        "n": tuple(float(axis.whole) for axis in axes),
        "f": tuple(axis.fraction for axis in axes),
    }


def _by_size(pan: Source, ms: Source, grid, wanted):
    scales = [pan.size[axis] / ms.size[axis] for axis in (0, 1)]
    if grid is not None:
        ratio = wanted or max(round(math.sqrt(scales[0] * scales[1])), 1)
        return [(float(offset), float(ratio)) for offset in grid]
    rational = " and RPCs alone do not" if pan.rpcs or ms.rpcs else ""
    if scales[0] != scales[1] or scales[0] != int(scales[0]) or pan.rpcs or ms.rpcs:
        raise UserError(
            f"{pan.path} of {pan.size[0]}x{pan.size[1]} and {ms.path} of {ms.size[0]}x{ms.size[1]} "
            f"have no geotransforms that relate them{rational}; give the PAN pixel where MS begins "
            "as --grid=ROW,COLUMN"
        )
    return [(0.0, scale) for scale in scales]


def _warped_grid(pan: Source, ms: Source) -> Warp:
    """MS's grid in PAN's system: PAN's corner and directions, pixels of a whole ratio."""
    if pan.transform is None or ms.transform is None:
        raise UserError(
            f"{pan.path} and {ms.path} are in different coordinate systems and not both have a "
            "geotransform; warp one with gdalwarp"
        )
    left, bottom, right, top = rasterio.transform.array_bounds(*ms.size, ms.transform)
    try:
        box = rasterio.warp.transform_bounds(ms.crs, pan.crs, left, bottom, right, top, 21)
    except rasterio.errors.RasterioError as error:
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
    return Warp(pan.crs, transform, last[0] - first[0], last[1] - first[1])
