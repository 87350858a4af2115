"""What deliveries do to images beyond the camera: lossy compression and clouds."""

import numpy as np
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from rsfusion_jax.data.synthetic.clouds import Clouds
from rsfusion_jax.data.synthetic.light import draw_light

_SHARE = 30
"""Size in percent of what is compressed, of the uncompressed counts."""
_WHITE = 0.9
"""Brightness of a cloud, as a share of full scale."""


def compressed(image: np.ndarray, max_value: float) -> np.ndarray:
    """Round an image (H, W, C) to counts and pass it through lossy JPEG 2000."""
    bits = int(max_value).bit_length()
    dtype = "uint8" if bits <= 8 else "uint16"
    counts = np.moveaxis(np.rint(image).clip(0, max_value).astype(dtype), -1, 0)
    shape = dict(zip(("count", "height", "width"), counts.shape, strict=True), dtype=dtype)
    how = {"QUALITY": _SHARE, "REVERSIBLE": "NO", "YCC": "NO", "NBITS": bits}
    # Any geotransform, so that rasterio does not warn that there is none.
    transform = from_origin(0, 0, 2, 2)
    with MemoryFile() as memory:
        with memory.open(driver="JP2OpenJPEG", transform=transform, **shape, **how) as file:
            file.write(counts)
        with memory.open() as file:
            return np.moveaxis(file.read(), 0, -1).astype(np.float32)


def clouded(pan: np.ndarray, ms: np.ndarray, max_value: float, seed: int = 0):
    """Draw clouds and their shadows over a pair; MS sees the mean of each of its pixels.

    Args:
        pan: (r H, r W, G) counts, as high as wide.
        ms: (H, W, C) counts.
        max_value: full scale.
        seed: of the clouds.

    Returns:
        The pair under clouds.
    """
    random = np.random.default_rng(seed)
    clouds = Clouds(random, pan.shape[0], draw_light(random))
    ratio = pan.shape[0] // ms.shape[0]

    def under(image, hidden, sunlit):
        ground = image * sunlit[..., None]
        return ground + hidden[..., None] * (_WHITE * max_value - ground)

    def coarse(plane):
        height, width = (size // ratio for size in plane.shape)
        return plane.reshape(height, ratio, width, ratio).mean(axis=(1, 3))

    low = under(ms, coarse(clouds.hidden), coarse(clouds.sunlit))
    return under(pan, clouds.hidden, clouds.sunlit), low
