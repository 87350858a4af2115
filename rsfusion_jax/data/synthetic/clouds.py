"""Clouds over a scene and their shadows, which affect optical images but not the radar image.

A cloud is a layer of varying optical thickness t. Seen from above it hides the share 1 - exp(-t) of
the light from the ground and adds its own; its shadow, displaced away from the sun, removes direct
sunlight but not skylight. Since the scenes are only hundreds of metres wide, size and height of the
clouds are those of clouds over a Sentinel-2 scene when measured in pixels, not in metres.
"""

import numpy as np
from scipy import ndimage

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.data.synthetic.light import SUN, Light
from rsfusion_jax.data.synthetic.texture import power_law_fields

_COVER = (0.15, 0.65)
"""Least and largest share of the scene that clouds cover."""
_THICKNESS = (1.0, 8.0)
"""Range of the optical thickness where the cloud field exceeds its threshold by one standard
deviation, from thin veils to cumulus (log-uniform)."""
_DISPLACEMENT = (0.08, 0.3)
"""Range of the distance of a shadow from its cloud, as a share of the scene's side."""
_HIDDEN, _SHADED = 0.1, 0.8
"""A pixel is masked if more than the first share of its light is hidden, or if less than the second
share of direct sunlight reaches it."""

# Droplets absorb in the short-wave infrared; up to 1000 nm clouds are white.
_WHITENESS = np.interp(WAVELENGTHS, (1000, 1500, 1650, 2000, 2200), (1.0, 0.7, 0.75, 0.4, 0.5))


class Clouds:
    """The clouds over a scene on one day.

    Attributes:
        hidden: share of the light from the ground that clouds hide, (H, W) float32.
        sunlit: share of direct sunlight that reaches the ground, (H, W) float32.
    """

    def __init__(self, rng: np.random.Generator, pixels: int, light: Light):
        """Draw clouds for a scene of `pixels` x `pixels`."""
        floor = 1 / pixels
        shape, detail = power_law_fields(rng, pixels, (rng.uniform(2.8, 3.4), 2.4), floor)
        field = shape + 0.2 * ndimage.gaussian_filter(detail, 0.8, mode="wrap")
        inside = np.maximum(field - np.quantile(field, 1 - rng.uniform(*_COVER)), 0)
        thickness = np.exp(rng.uniform(*np.log(_THICKNESS))) * inside**1.5
        away = light.azimuth + np.pi
        reach = rng.uniform(*_DISPLACEMENT) * pixels
        shift = np.rint(reach * np.array([np.sin(away), np.cos(away)])).astype(int)
        above = ndimage.gaussian_filter(np.roll(thickness, shift, axis=(0, 1)), 1.5, mode="wrap")
        self.hidden = (1 - np.exp(-thickness)).astype(np.float32)
        self.sunlit = np.exp(-np.minimum(1.2 * above, 2.0)).astype(np.float32)
        # Thick parts are bright, and so are the sides towards the sun.
        slope = np.gradient(ndimage.gaussian_filter(thickness, 1.5, mode="wrap"))
        towards = slope[0] * np.sin(away) + slope[1] * np.cos(away)
        relief = 1 + 0.25 * np.tanh(towards / (np.std(towards) + 1e-9))
        body = rng.uniform(0.6, 0.9) * (0.6 + 0.4 * (1 - np.exp(-0.4 * thickness))) * relief
        self._body = body.astype(np.float32)
        self._light = light

    def over(self, plane: np.ndarray, response: np.ndarray) -> np.ndarray:
        """Return one band of a clear scene as seen through the clouds.

        Args:
            plane: (H, W) top-of-atmosphere reflectance of the clear scene.
            response: (421,) spectral response of the band.

        Returns:
            (H, W) top-of-atmosphere reflectance.
        """
        weights = response * SUN
        weights = weights / weights.sum()
        light = self._light
        direct, diffuse, path = (
            float(spectrum @ weights) for spectrum in (light.direct, light.sky, light.path)
        )
        remaining = (direct * self.sunlit + diffuse) / max(direct + diffuse, 1e-9)
        ground = path + (plane - path) * remaining
        # A third of the air, and so of its absorption, is above the clouds.
        shine = np.sin(light.elevation) ** (2 / 3) * light.direct ** (1 / 3) * _WHITENESS
        cloud = self._body * np.float32(shine @ weights)
        return (1 - self.hidden) * ground + self.hidden * cloud

    def mask(self) -> np.ndarray:
        """Return the mask of clouds and their shadows, (H, W) float32: 1 inside, else 0."""
        return ((self.hidden > _HIDDEN) | (self.sunlit < _SHADED)).astype(np.float32)
