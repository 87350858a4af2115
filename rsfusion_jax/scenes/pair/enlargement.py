"""By which factor an image was enlarged before: the trace that interpolation leaves in spectra.

An image that was enlarged by N repeats its spectrum with the period 1/N, weighted by the
interpolation: components that lie 1/N apart rise and fall together, over all rows alike. In an
image that was not enlarged they have nothing to do with each other.

Reference: A. C. Popescu, H. Farid, "Exposing digital forgeries by detecting traces of resampling",
IEEE TSP 53(2), 2005, for the periodic correlation; here it is measured as a coherence.
"""

import itertools

import numpy as np

from rsfusion_jax.scenes.pair.image import Image

FACTORS = (2, 3, 4, 5, 6, 8)
_SIDE = 240
"""Pixels along a side of a window, a multiple of all factors."""
_MOST_PLACES = 3
"""Windows along an axis at most."""
_BAND = 0.55, 0.85
"""Frequencies that are compared with those 1/N below, in units of 1/N: both have energy there."""
_LEAST = 0.5
"""Coherence above which an image counts as enlarged. Nine real images that were not had at most
0.22. Enlarged by nearest, bilinear or cubic interpolation, with rounded values, they had at least
0.60, but for one of 8 bits, doubled bilinearly, with 0.50: such a case may be missed."""
_MOST_BANDS = 4


def find_enlargement(image: Image) -> int | None:
    """Find the whole factor by which an image was enlarged before; None where there is no trace.

    Args:
        image: the image.
    """
    windows = _windows(image)
    found = [factor for factor in FACTORS if _coherence(windows, factor) > _LEAST]
    # One that was enlarged by 4 has a trace of 2 too.
    return max(found, default=None)


def _windows(image: Image) -> list[np.ndarray]:
    """Complete windows of the image, (h, w, C)."""
    sides = [min(_SIDE, size) for size in image.size]
    starts = [
        np.linspace(0, size - side, min(-(-size // side), _MOST_PLACES)).astype(int).tolist()
        for size, side in zip(image.size, sides, strict=True)
    ]
    windows = []
    for place in itertools.product(*starts):
        bounds = [(start, start + side) for start, side in zip(place, sides, strict=True)]
        values, valid = image.read(*bounds)
        if valid.all():
            windows.append(values[..., :_MOST_BANDS].astype(np.float64))
    return windows


def _coherence(windows: list[np.ndarray], factor: int) -> float:
    """Mean coherence, 0 to 1, of spectral components that lie 1 / factor apart."""
    values = []
    for axis in (0, 1):
        sums = None
        for window in windows:
            lines = np.moveaxis(window, axis, -1)
            length = lines.shape[-1] // factor * factor
            period = length // factor
            taken = np.arange(int(np.ceil(_BAND[0] * period)), int(_BAND[1] * period) + 1)
            if len(taken) < 2:
                return 0.0
            lines = lines[..., :length] - lines[..., :length].mean(axis=-1, keepdims=True)
            spectra = np.fft.fft(lines * np.hanning(length))
            high, low = spectra[..., taken], spectra[..., taken - period]
            products = high * low.conj(), np.square(np.abs(high)), np.square(np.abs(low))
            parts = np.stack([product.sum(axis=0) for product in products])
            sums = parts if sums is None else sums + parts
        if sums is not None:
            power = np.sqrt(sums[1].real * sums[2].real)
            coherence = np.where(power > 0, np.abs(sums[0]) / np.maximum(power, 1e-300), 0)
            values.append(coherence.ravel())
    return float(np.concatenate(values).mean()) if values else 0.0
