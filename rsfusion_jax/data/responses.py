"""Spectral responses of sensors and guide images.

The limits of MS bands in nm are the nominal edges published by the operators (Maxar, Space Imaging,
CRESDA); the response between them is a box with soft edges and a slight tilt. PAN is wider than the
single bands, covers the gaps between them and misses part of the outermost bands.
"""

import itertools

import numpy as np
from scipy.special import expit

from rsfusion_jax.sensors import Sensor

WAVELENGTHS = np.arange(400.0, 2501.0, 5.0)
"""Fine wavelength grid in nm, shape (421,)."""

_WORLDVIEW = (
    (400, 450),
    (450, 510),
    (510, 580),
    (585, 625),
    (630, 690),
    (705, 745),
    (770, 895),
    (860, 1040),
)
_MS = {
    "wv2": _WORLDVIEW,
    "wv3": _WORLDVIEW,
    "wv4": ((450, 510), (510, 580), (655, 690), (780, 920)),
    "ge1": ((450, 510), (510, 580), (655, 690), (780, 920)),
    "qb": ((450, 520), (520, 600), (630, 690), (760, 900)),
    "ikonos": ((445, 516), (506, 595), (632, 698), (757, 853)),
    "gf2": ((450, 520), (520, 590), (630, 690), (770, 890)),
    "sen12ms_cr": (
        (433, 453),
        (458, 523),
        (543, 578),
        (650, 680),
        (698, 713),
        (733, 748),
        (773, 793),
        (785, 900),
        (855, 875),
        (935, 955),
        (1360, 1390),
        (1565, 1655),
        (2100, 2280),
    ),
}
_SPECTROMETERS = {
    "cave": (395, 705),
    "harvard": (415, 725),
    "pavia": (430, 860),
    "chikusei": (363, 1018),
}
"""Spectral range in nm of imaging spectrometers, divided evenly into their bands."""
# Effective half-power limits. They are chosen so that the regression of PAN on the bands resembles
# that of real GeoEye-1 and IKONOS images; the nominal 450-800 and 526-929 nm overstate the near
# infrared.
_PAN = {
    "wv2": (455, 760),
    "wv3": (455, 760),
    "wv4": (455, 760),
    "ge1": (455, 760),
    "qb": (470, 850),
    "ikonos": (480, 845),
    "gf2": (465, 840),
}
_PAN_OTHERS = (455, 780)
_PAN_HYPERSPECTRAL = (400, 700)
_GUIDES = {
    "rgb": ((570, 680), (490, 590), (410, 515)),
    "msi4": ((445, 516), (506, 595), (632, 698), (757, 853)),
}
# At 1340-1430 and 1790-1960 nm the atmosphere is opaque; no instrument delivers those bands.
_WINDOWS_VNIR = ((400, 1000),)
_WINDOWS_ALL = ((400, 1340), (1430, 1790), (1960, 2450))
_EDGE, _PAN_EDGE = 7.0, 15.0


def _response(limits: tuple[float, float], softness: float = _EDGE) -> np.ndarray:
    low, high = limits
    edge = min(softness, (high - low) / 4)
    rise = expit((WAVELENGTHS - low) / edge)
    fall = expit((high - WAVELENGTHS) / edge)
    tilt = 1 + 0.15 * np.tanh((WAVELENGTHS - (low + high) / 2) / (high - low))
    weights = rise * fall * tilt
    return weights / weights.sum()


def ms_responses(sensor: Sensor) -> np.ndarray:
    """Return the unit-sum responses of a sensor's MS bands on `WAVELENGTHS`, (C, 421).

    Bands whose centres and widths nobody states are spread evenly over 430-900 nm.
    """
    limits = _MS.get(sensor.name)
    if (limits is None or len(limits) != sensor.num_bands) and sensor.widths is not None:
        pairs = zip(sensor.wavelengths or (), sensor.widths, strict=False)
        limits = tuple((centre - width / 2, centre + width / 2) for centre, width in pairs)
    if limits is None or len(limits) != sensor.num_bands:
        outer = _SPECTROMETERS.get(sensor.name, (430, 900))
        limits = tuple(itertools.pairwise(np.linspace(*outer, sensor.num_bands + 1)))
    return np.stack([_response(pair) for pair in limits])


def hyperspectral_limits(num_bands: int) -> np.ndarray:
    """Return the edges in nm of `num_bands` contiguous narrow bands, (num_bands, 2).

    Up to 100 bands cover 400-1000 nm; more bands cover 400-2450 nm without the two water absorption
    bands.
    """
    windows = np.array(_WINDOWS_VNIR if num_bands <= 100 else _WINDOWS_ALL, float)
    reached = np.cumsum(windows[:, 1] - windows[:, 0])
    counts = np.diff(np.round(num_bands * reached / reached[-1]).astype(int), prepend=0)
    edges = [
        np.linspace(low, high, count + 1)
        for (low, high), count in zip(windows, counts, strict=True)
    ]
    return np.concatenate([np.stack([e[:-1], e[1:]], axis=1) for e in edges])


def hyperspectral_responses(num_bands: int) -> np.ndarray:
    """Return the unit-sum responses of `num_bands` contiguous narrow bands, (num_bands, 421)."""
    return np.stack([_response(tuple(pair)) for pair in hyperspectral_limits(num_bands)])


def guide_responses(guide: str, sensor: Sensor, hyperspectral: bool) -> np.ndarray:
    """Return the unit-sum responses of a guide's channels on `WAVELENGTHS`, (G, 421).

    Args:
        guide: "pan", "rgb", "msi4" or "sar"; "sar" returns the response of PAN.
        sensor: sensor whose PAN response is used.
        hyperspectral: whether the MS bands are narrow contiguous ones, for which PAN covers
            400-700 nm.
    """
    if guide in _GUIDES:
        return np.stack([_response(pair) for pair in _GUIDES[guide]])
    narrow = hyperspectral or sensor.name in _SPECTROMETERS
    limits = (
        _PAN_HYPERSPECTRAL if narrow else _PAN.get(sensor.name, sensor.pan_range or _PAN_OTHERS)
    )
    return _response(limits, _PAN_EDGE)[None]
