"""A small colour picture of a scene."""

from pathlib import Path

import numpy as np
import rasterio

from rsfusion_jax.inference.scene.output import disk_errors

_SIDE = 1024
_STRETCH = (1, 99)


def write_quicklook(path: Path, scene: Path, rgb: tuple[int, int, int], side: int = _SIDE) -> None:
    """Writes a PNG, reduced and stretched between the 1st and 99th percentiles of every colour.

    Args:
        path: of the PNG.
        scene: a finished GeoTIFF.
        rgb: bands, from 0.
        side: pixels along its longer side.

    Raises:
        UserError: it cannot be written.
    """
    with rasterio.open(scene) as file:
        step = max(1, -(-max(file.shape) // side))
        shape = tuple(-(-size // step) for size in file.shape)
        bands = [index + 1 for index in rgb]
        image = file.read(
            bands, out_shape=(3, *shape), resampling=rasterio.enums.Resampling.average
        )
        valid = (file.read_masks(bands, out_shape=(3, *shape)) > 0).all(axis=0)
    image = image.astype(np.float32)
    picture = np.zeros((3, *shape), np.uint8)
    for index, band in enumerate(image):
        if valid.any():
            low, high = np.percentile(band[valid], _STRETCH)
            band = np.clip((band - low) / max(high - low, 1e-9), 0, 1)
            picture[index] = np.where(valid, np.rint(255 * band), 0)
    with disk_errors(path):
        profile = {"driver": "PNG", "height": shape[0], "width": shape[1], "count": 3}
        with (
            rasterio.Env(GDAL_PAM_ENABLED="NO"),
            rasterio.open(path, "w", **profile, dtype="uint8") as file,
        ):
            file.write(picture)
