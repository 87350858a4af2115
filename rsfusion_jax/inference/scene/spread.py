"""How far the draws of a scene differ, pixel by pixel, as a file beside the scene's own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from rsfusion_jax import __version__
from rsfusion_jax.inference.scene.drawing import Field
from rsfusion_jax.inference.scene.output import TILE, Style, assemble
from rsfusion_jax.inference.scene.pixels import Pixels
from rsfusion_jax.inference.scene.progress import Stage
from rsfusion_jax.inference.scene.windows import Scene


def write_spread(
    path: Path, fused: Path, scene: Scene, field: Field, max_value: float, style: Style, quiet: bool
) -> None:
    """Writes the standard deviation of a scene's draws: float32, NaN where the scene is not valid.

    Args:
        path: new GeoTIFF.
        fused: the finished scene, which says what is valid.
        scene: the pair.
        field: drawn to the end.
        max_value: full scale.
        style: how the file is written.
        quiet: no progress on the screen.
    """
    pixels = Pixels(np.dtype(np.float32), float("nan"), None, float("nan"))
    tags = {"RSFUSION_VERSION": f"rsfusion_jax {__version__}", "RSFUSION_DRAWS": str(field.draws)}
    with (
        Stage("writing the spread", scene.size[0] * scene.size[1], quiet=quiet) as stage,
        rasterio.open(fused) as file,
    ):
        parts = _parts(file, scene, field, max_value)
        assemble(path, scene, pixels, style, lambda _: tags, None, parts, stage.advance)


def _parts(file, scene: Scene, field: Field, max_value) -> Iterator[tuple[int, int, np.ndarray]]:
    height, width = scene.size
    for top in range(0, height, TILE):
        rows = min(TILE, height - top)
        begin = scene.rows.start - scene.rows.frame + top
        across = scene.columns.start - scene.columns.frame
        cut = slice(begin, begin + rows), slice(across, across + width)
        squares = field.plane(2 + field.earlier, *cut)
        std = max_value * np.sqrt(squares / (field.draws - 1))
        std[file.dataset_mask(window=Window(0, top, width, rows)) == 0] = np.nan
        yield top, 0, np.moveaxis(std, -1, 0)
