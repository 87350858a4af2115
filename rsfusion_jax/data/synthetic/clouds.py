"""Clouds over a scene and their shadows: what a camera sees on a clouded day, and the radar not.

A cloud is a layer of varying optical thickness t. Seen from above it hides the share 1 - exp(-t)
of the ground's light and shows its own; its shadow, displaced away from the sun, takes direct
sunlight from the ground and leaves skylight. Our scenes are hundreds of metres wide, so clouds are
as large and as high as they would be over a scene of Sentinel-2, both in pixels.
"""

import numpy as np
from scipy import ndimage

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.data.synthetic.light import SUN, Light
from rsfusion_jax.data.synthetic.texture import power_law_fields

_COVER = (0.15, 0.65)
"""Least and largest share of the scene below clouds."""
_THICKNESS = (1.0, 8.0)
"""Optical thickness one standard deviation of the field inside a cloud's edge, from veil to cumulus
(drawn in logarithms)."""
_DISPLACEMENT = (0.08, 0.3)
"""How far a shadow falls from its cloud, as a share of the scene's side."""
_HIDDEN, _SHADED = 0.1, 0.8
"""From which share of hidden light, or below which share of direct light, a pixel is masked."""

# Droplets absorb in the short-wave infrared; up to 1000 nm clouds are white.
_WHITENESS = np.interp(WAVELENGTHS, (1000, 1500, 1650, 2000, 2200), (1.0, 0.7, 0.75, 0.4, 0.5))


class Clouds:
    """One day's clouds over a scene.

    Attributes:
        hidden: share of the ground's light that clouds take away, (H, W) float32.
        sunlit: share of direct sunlight that reaches the ground, (H, W) float32.
    """

    def __init__(self, rng: np.random.Generator, pixels: int, light: Light):
        """Draws clouds for a scene of `pixels` x `pixels`."""
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
        """A clear plane of top-of-atmosphere reflectance as seen through the clouds.

        Args:
            plane: (H, W).
            response: (421,) of the band.
        """
        weights = response * SUN
        weights = weights / weights.sum()
        light = self._light
        direct, diffuse, path = (
            float(spectrum @ weights) for spectrum in (light.direct, light.sky, light.path)
        )
        kept = (direct * self.sunlit + diffuse) / max(direct + diffuse, 1e-9)
        ground = path + (plane - path) * kept
        # Above the clouds there is a third of the air, and of what it absorbs.
        shine = np.sin(light.elevation) ** (2 / 3) * light.direct ** (1 / 3) * _WHITENESS
        cloud = self._body * np.float32(shine @ weights)
        return (1 - self.hidden) * ground + self.hidden * cloud

    def mask(self) -> np.ndarray:
        """1 where a cloud or its shadow lies, (H, W) float32."""
        return ((self.hidden > _HIDDEN) | (self.sunlit < _SHADED)).astype(np.float32)
