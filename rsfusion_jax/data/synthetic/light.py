"""Spectra of sunlight, skylight and haze of a scene, in units of top-of-atmosphere reflectance.

Spectra are divided by the sun's irradiance above the atmosphere, so that without an atmosphere a
white target under a sun in the zenith has reflectance 1 in every band. The sun's Planck spectrum
only weights the wavelengths within a band.
"""

import dataclasses

import numpy as np

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.sensors import Sensor

_MICRON = WAVELENGTHS / 1000.0
SUN = _MICRON**-5 / (np.exp(14.388 / (_MICRON * 5.778)) - 1)
"""Planck spectrum at 5778 K on the wavelength grid, arbitrary unit, (421,)."""

# Reflectance at full scale by wavelength in nm. Cameras saturate later in the near infrared.
_HEADROOM = ((400, 0.66), (500, 0.62), (690, 0.62), (740, 0.64), (850, 0.70), (1100, 0.72))


@dataclasses.dataclass(frozen=True)
class Light:
    """Illumination of a scene; spectra have shape (421,).

    Attributes:
        direct: light at the camera from direct sunlight on level white ground.
        sky: light at the camera from skylight on level white ground; the only light in a shadow.
        path: light scattered into the camera by the atmosphere without reaching the ground.
        elevation: elevation of the sun in radians.
        azimuth: direction towards the sun in the image, radians from +x (columns) to +y (rows).
    """

    direct: np.ndarray
    sky: np.ndarray
    path: np.ndarray
    elevation: float
    azimuth: float


def draw_light(rng: np.random.Generator) -> Light:
    """Draw the sun's position and the atmosphere: Rayleigh and aerosol depths, gas absorption."""
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
    """Return the reflectance at which each band saturates, (B,).

    Args:
        responses: (B, 421) unit-sum spectral responses.
        sensor: sensor of the bands.
    """
    if sensor.name == "sen12ms_cr":  # counts are reflectance by definition
        return np.ones(len(responses))
    nodes, levels = zip(*_HEADROOM, strict=True)
    return responses @ np.interp(WAVELENGTHS, nodes, levels)


def _line(centre, width):
    return np.exp(-(((WAVELENGTHS - centre) / width) ** 2))
