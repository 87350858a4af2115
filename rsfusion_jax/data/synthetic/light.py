"""Sun, sky and haze of one scene as spectra, in units of top-of-atmosphere reflectance.

Dividing by the sun's irradiance above the atmosphere makes a white target under a clear zenith sun
one in every band; Planck's curve then only weights wavelengths inside a band.
"""

import dataclasses

import numpy as np

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.sensors import Sensor

_MICRON = WAVELENGTHS / 1000.0
SUN = _MICRON**-5 / (np.exp(14.388 / (_MICRON * 5.778)) - 1)
"""Planck's law at 5778 K over the wavelength grid, arbitrary unit, (421,)."""

# Full scale in reflectance against wavelength: cameras give the near infrared more head-room.
_HEADROOM = ((400, 0.66), (500, 0.62), (690, 0.62), (740, 0.64), (850, 0.70), (1100, 0.72))


@dataclasses.dataclass(frozen=True)
class Light:
    """Illumination of one scene; spectra have shape (421,).

    Attributes:
        direct: sunlight on level ground that reaches the camera after reflection by white.
        sky: the same for the blue skylight, the only light in a cast shadow.
        path: light scattered into the camera without touching the ground.
        elevation: the sun's elevation in radians.
        azimuth: direction towards the sun in the image, radians from +x (columns) to +y (rows).
    """

    direct: np.ndarray
    sky: np.ndarray
    path: np.ndarray
    elevation: float
    azimuth: float


def draw_light(rng: np.random.Generator) -> Light:
    """Draws the sun's place and the haze: Rayleigh and aerosol optical depths, gas absorption."""
    elevation = np.deg2rad(rng.uniform(38, 68))
    rayleigh = 0.0088 * _MICRON**-4.05
    aerosol = 10 ** rng.uniform(-1.5, -0.5) * _MICRON ** -rng.uniform(1.0, 1.5)
    vapour = rng.uniform(0.6, 1.3)
    gas = np.exp(
        -0.35 * _line(762, 6)
        - vapour
        * (
            0.05 * _line(720, 10)
            + 0.08 * _line(820, 12)
            + 0.35 * _line(940, 25)
            + 0.5 * _line(1130, 35)
            + 2.5 * _line(1385, 45)
            + 3.0 * _line(1870, 60)
        )
    )
    sine = np.sin(elevation)
    down = np.exp(-(0.5 * rayleigh + 0.35 * aerosol) / sine)
    beam = np.exp(-(rayleigh + aerosol) / sine)
    up = np.exp(-(0.5 * rayleigh + 0.25 * aerosol))
    haze = 0.32 * (1 - np.exp(-rayleigh)) + 0.10 * (1 - np.exp(-aerosol))
    return Light(
        direct=sine * beam * up * gas,
        sky=sine * (down - beam) * up * gas,
        path=haze * gas * rng.uniform(0.85, 1.15),
        elevation=float(elevation),
        azimuth=float(rng.uniform(0, 2 * np.pi)),
    )


def saturation_reflectance(responses: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Reflectance at which each response's counts reach full scale, (bands,)."""
    if sensor.name == "sen12ms_cr":  # counts are reflectance by definition
        return np.ones(len(responses))
    nodes, levels = zip(*_HEADROOM, strict=True)
    return responses @ np.interp(WAVELENGTHS, nodes, levels)


def _line(centre, width):
    return np.exp(-(((WAVELENGTHS - centre) / width) ** 2))
