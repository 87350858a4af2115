"""From two grids to one scene: which MS pixel lies under which PAN pixels."""

import dataclasses
import math

import rasterio.transform

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import (
    Axis,
    ScenePair,
    axes_by_transforms,
    choose_ratio,
    written_span,
)
from rsfusion_jax.scenes.pair.image import GeoImage, Image

_LARGEST = 1e12
"""Of a geotransform's numbers, in any unit from degrees to millimetres."""


@dataclasses.dataclass(frozen=True)
class Relation:
    """Where MS lies on PAN's grid.

    Attributes:
        axes: (offset, scale) of rows and of columns; see `geometry`.
        ratio: whole ratio to work at.
    """

    axes: tuple[tuple[float, float], tuple[float, float]]
    ratio: int


def relate_grids(
    pan: GeoImage, ms: GeoImage, grid: tuple[float, float] | None = None, ratio: int | None = None
) -> Relation:
    """Relates the grids by geotransforms, by `grid`, or by the sizes where there is neither.

    Args:
        pan, ms: the images.
        grid: (row, column) of the PAN corner at which MS begins, for files that do not say.
        ratio: ratio of the network; None for the nearest whole one.

    Raises:
        UserError: nothing relates them, or their ratio is not the network's.
    """
    transforms = pan.transform, ms.transform
    for image in (pan, ms):
        _check_transform(image)
    if grid is not None and not all(map(math.isfinite, grid)):
        raise UserError(f"--grid={grid[0]:g},{grid[1]:g} must be two finite numbers of PAN pixels")
    if grid is None and None not in transforms:
        axes = axes_by_transforms(*transforms, ms.size)
    elif grid is None and (transforms[0] is None) != (transforms[1] is None):
        bare = pan if pan.transform is None else ms
        raise UserError(
            f"{bare.path} has no geotransform, the other image has one; write it with gdal_edit.py "
            "-a_ullr, or relate the grids with --grid=ROW,COLUMN"
        )
    else:
        axes = _axes_by_size(pan, ms, grid, ratio)
    scales = axes[0][1], axes[1][1]
    return Relation(tuple(axes), choose_ratio(scales, ratio))


def _check_transform(image: GeoImage) -> None:
    """Raise `UserError` for a geotransform with numbers that no image of the Earth has."""
    if image.transform is None:
        return
    numbers = image.transform[:6]
    if not all(abs(number) < _LARGEST for number in numbers):  # NaN is not below it either
        raise UserError(
            f"the geotransform of {image.path} is {', '.join(f'{n:g}' for n in numbers)}; write "
            "a right one with gdal_edit.py -a_ullr"
        )


def make_scene(
    pan: Image,
    ms: Image,
    relation: Relation,
    *,
    phase: float,
    shift: tuple[float, float],
    extent: str,
    align: int,
    least: int = 0,
) -> ScenePair:
    """Places a pair on the frame that a method works in.

    Args:
        pan, ms: the images.
        relation: where MS lies on PAN's grid.
        phase: PAN index of MS pixel 0's centre that the method was made for.
        shift: residual shift (rows, columns) in PAN pixels to correct.
        extent, align, least: see `geometry.written_span`.
    """
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
    return ScenePair(pan, ms, *spans)


def phase_notices(scene: ScenePair) -> tuple[str, ...]:
    """What is resampled, and by which numbers."""
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
    return tuple(notices)


def phase_numbers(scene: ScenePair) -> dict[str, tuple[float, float]]:
    """o, phi, n and f of `geometry`, each for rows and columns."""
    axes = scene.rows.axis, scene.columns.axis
    return {
        "o": tuple(axis.offset for axis in axes),
        "phi": tuple(axis.phi for axis in axes),
        "n": tuple(float(axis.whole) for axis in axes),
        "f": tuple(axis.fraction for axis in axes),
    }


def _axes_by_size(pan: GeoImage, ms: GeoImage, grid, ratio: int | None):
    scales = [pan.size[axis] / ms.size[axis] for axis in (0, 1)]
    if grid is not None:
        ratio = ratio or max(round(math.sqrt(scales[0] * scales[1])), 1)
        return [(float(offset), float(ratio)) for offset in grid]
    by_rpcs = " and RPCs alone do not" if pan.rpcs or ms.rpcs else ""
    if not by_rpcs and not _agree_by_gcps(pan, ms):
        by_rpcs = ", and their ground control points do not put their corners in one place"
    if scales[0] != scales[1] or scales[0] != int(scales[0]) or by_rpcs:
        raise UserError(
            f"{pan.path} of {pan.size[0]}x{pan.size[1]} and {ms.path} of {ms.size[0]}x{ms.size[1]} "
            f"have no geotransforms that relate them{by_rpcs}; give the PAN pixel where MS begins "
            "as --grid=ROW,COLUMN"
        )
    return [(0.0, scale) for scale in scales]


def _agree_by_gcps(pan: GeoImage, ms: GeoImage) -> bool:
    """Whether ground control points, where there are any, put the images' corners in one place."""
    points, systems = zip(pan.gcps, ms.gcps, strict=True)
    if not any(points):
        return True
    if not all(len(some) >= 3 for some in points) or systems[0] != systems[1]:
        return False
    grids = [rasterio.transform.from_gcps(some) for some in points]
    pixel = math.sqrt(abs(grids[0].determinant))
    corners = [
        [(x, y) for y in (0, image.size[0]) for x in (0, image.size[1])] for image in (pan, ms)
    ]
    places = [
        [rasterio.transform.xy(grid, y, x, offset="ul") for x, y in some]
        for grid, some in zip(grids, corners, strict=True)
    ]
    return all(math.dist(one, other) <= pixel for one, other in zip(*places, strict=True))
