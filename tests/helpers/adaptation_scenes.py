"""Small scenes that a network can be adapted to."""

import numpy as np
import scipy.ndimage

from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.sensors import get_sensor

CAMERA = get_sensor({"bands": 3, "mtf_ms": 0.3, "ratio": 4})
STUDENT = {"name": "dicnn"}


def scene(rows, columns, gain=0.3, bands=3, seed=0):
    """Counts of related textures: MS as a camera of that gain sees what PAN is the mean of."""
    random = np.random.default_rng(seed)
    fine = random.standard_normal((4 * rows, 4 * columns, bands + 1))
    fine = scipy.ndimage.gaussian_filter(fine, (2.0, 2.0, 0))
    fine = 900 + 200 * (fine[..., :1] + 0.3 * fine[..., 1:]) / fine.std()
    ms = observe(fine, Psf("mtf"), 4, gains=gain, centred=True)
    pan = fine.mean(-1, keepdims=True)
    return [np.clip(np.rint(image), 1, 2046).astype(np.uint16) for image in (pan, ms)]
