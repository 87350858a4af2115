"""Small synthetic scenes that metrics without ground truth are tested on, and Q by definition."""

import numpy as np

from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate

SENSOR = {"bands": ("a", "b", "c"), "mtf_ms": (0.2, 0.3, 0.4)}
OPTICS = {"sensor": SENSOR, "ratio": 4}


def scene(bands=3, height=16, width=24, ratio=4, seed=0, dtype=np.float64):
    """A smooth textured (fused, ms, pan) in [0, 1]; `fused` degraded is nearly `ms`."""
    random = np.random.default_rng(seed)
    texture = mtf_filter(random.normal(size=(ratio * height, ratio * width, bands + 1)), 0.4, 2)
    image = 0.5 + 0.3 * texture / np.abs(texture).max()
    fused = 0.6 * image[..., :bands] + 0.4 * image[..., bands:]
    ms = decimate(mtf_filter(fused, 0.3, ratio), ratio) + 0.01 * random.normal(
        size=(height, width, bands)
    )
    pan = fused.mean(axis=-1, keepdims=True) + 0.05 * image[..., bands:]
    return tuple(part.astype(dtype) for part in (fused, ms, pan))


def plain_q(x, y):
    """Q of one window or block of one band, as the definition reads."""
    c = np.mean((x - x.mean()) * (y - y.mean()))
    mean_x, mean_y = x.mean(), y.mean()
    return 4 * c * mean_x * mean_y / ((x.var() + y.var()) * (mean_x**2 + mean_y**2))
