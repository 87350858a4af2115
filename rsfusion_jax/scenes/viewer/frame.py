"""Where the images lie on each other: every one is placed on the pixels of the fused scene."""

import dataclasses
import math

import numpy as np
import rasterio
import rasterio.warp
from rasterio import Affine
from rasterio.enums import MaskFlags, Resampling
from rasterio.vrt import WarpedVRT

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.systems import horizontal

_ASKEW = 0.25
"""Pixels of the scene by which a grid may be turned against it over its whole length."""
_METRES_PER_DEGREE = 111_320
"""On the equator."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A grid on the pixels of the fused scene.

    Attributes:
        scale: pixels of the scene (rows, columns) that one pixel of the image covers.
        offset: row and column of the scene's pixels at which the image begins.
        note: what the user should know about it; "" where there is nothing.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    note: str = ""


def place(file, scene) -> tuple[object, Place]:
    """Place an open image on the grid of an open scene.

    Args:
        file: dataset of the image.
        scene: dataset of the fused scene.

    Returns:
        What to read the image from, `file` or a warped view of it, and its place.

    Raises:
        UserError: it lies elsewhere than the scene.
    """
    if file.transform.is_identity or scene.transform.is_identity:
        scale = scene.height / file.height, scene.width / file.width
        bare = file.transform.is_identity and scene.transform.is_identity
        note = "placed by its size" + ("" if bare else ", for want of a geotransform")
        return file, Place(scale, note="" if scale == (1, 1) and bare else note)
    systems = horizontal(file.crs), horizontal(scene.crs)
    if None not in systems and systems[0] != systems[1]:
        return _warped(file, scene, systems)
    relative = np.linalg.inv(_matrix(scene)) @ _matrix(file)
    _check_overlap(file, scene, relative, (file.width, file.height))
    (a, b, c), (d, e, f), _ = relative
    turned = max(abs(b) * file.height, abs(d) * file.width) > _ASKEW
    if turned or a <= 0 or e <= 0:
        return _warped(file, scene, systems)
    return file, Place((float(e), float(a)), (float(f), float(c)))


def metres_per_pixel(scene) -> float | None:
    """Return the width of the scene's pixels in metres; None where nothing tells.

    Raises:
        UserError: its geotransform is none.
    """
    _matrix(scene)
    if scene.crs is None or scene.transform.is_identity:
        return None
    width = math.hypot(scene.transform.a, scene.transform.d)
    if scene.crs.is_geographic:
        latitude = (_matrix(scene) @ (scene.width / 2, scene.height / 2, 1))[1]
        return float(width * _METRES_PER_DEGREE * math.cos(math.radians(latitude)))
    try:
        return width * scene.crs.linear_units_factor[1]
    except rasterio.errors.CRSError:
        return None


def _matrix(file) -> np.ndarray:
    matrix = np.reshape(tuple(file.transform)[:9], (3, 3))
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) == 0:
        raise UserError(
            f"{file.name} has a geotransform that is none; write a right one with gdal_edit.py "
            "-a_ullr"
        )
    return matrix


def _warped(file, scene, systems) -> tuple[WarpedVRT, Place]:
    """A view of an image on the scene's axes, by nearest neighbours: the values stay its own."""
    source, target = systems[0] or systems[1], systems[1] or systems[0]
    own, width, height = rasterio.warp.calculate_default_transform(
        source, target, file.width, file.height, *file.bounds
    )
    own = np.reshape(tuple(own)[:9], (3, 3))
    relative = np.linalg.inv(_matrix(scene)) @ own
    _check_overlap(file, scene, relative, (width, height))
    scale = max(math.sqrt(abs(np.linalg.det(relative[:2, :2]))), 1.0)
    view = WarpedVRT(
        file,
        src_crs=source,
        crs=target,
        transform=Affine(*(_matrix(scene) @ np.diag((scale, scale, 1))).ravel()[:6]),
        width=math.ceil(scene.width / scale),
        height=math.ceil(scene.height / scale),
        resampling=Resampling.nearest,
        add_alpha=all(MaskFlags.all_valid in flags for flags in file.mask_flag_enums),
    )
    return view, Place((scale, scale), note="brought to the scene's grid by nearest neighbours")


def _check_overlap(file, scene, relative: np.ndarray, size: tuple[int, int]) -> None:
    corners = np.array([[x, y, 1] for x in (0, size[0]) for y in (0, size[1])], float)
    places = corners @ relative.T
    for axis, length in enumerate((scene.width, scene.height)):
        if not (places[:, axis].min() < length and places[:, axis].max() > 0):
            raise UserError(
                f"{file.name} lies elsewhere than {scene.name}; give images of one place"
            )
