"""Reflectance images of a scene: any spectral band on the finest pixel grid, band by band.

Integrating a spectrum over a band is linear, so no spectral cube is computed: every object has one
value per band, a pixel is the mean over its sub-pixels, and textures are factors on it.
"""

import numpy as np
from scipy import ndimage

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.data.synthetic import light as sky
from rsfusion_jax.data.synthetic.layout import Plan, draw_plan
from rsfusion_jax.data.synthetic.materials import MATERIALS, VARIANTS, draw_spectra
from rsfusion_jax.data.synthetic.relief import cast_shadow
from rsfusion_jax.data.synthetic.texture import power_law_fields

# Spectral shapes of colour changes within an object, relative to its spectrum: near infrared
# against visible (leaf area, age) and blue against red (tint, dryness).
_HUES = np.stack(
    [
        np.tanh((WAVELENGTHS - 715) / 40),
        0.6
        * np.clip((WAVELENGTHS - 560) / 130, -1, 1)
        * np.exp(-np.maximum(WAVELENGTHS - 800, 0) / 300),
    ]
)
_SKY_IN_SHADOW = 0.75
_ROUGHNESS, _WEAR = 0.5, 0.5
"""Standard deviation of the log amplitude of texture, between objects and within objects."""
_GRAIN_OF_A_BAND = 1.2
"""Amplitude of the independent texture of each band and of PAN, relative to the common texture.

It represents effects that differ between two images of a surface: glitter, leaves in the wind,
absorptions narrower than those of the spectra. Without it PAN would almost be a weighted sum of
eight bands.
"""
_ADJACENCY = 0.05
"""Share of a pixel's light that the air scatters into it from the surroundings."""


class Mixture:
    """Means over the sub-pixels of each pixel, fast because most pixels contain one object only."""

    def __init__(self, labels: np.ndarray, supersampling: int):
        height, width = (size // supersampling for size in labels.shape)
        parts = labels.reshape(height, supersampling, width, supersampling).transpose(0, 2, 1, 3)
        parts = parts.reshape(height * width, supersampling**2)
        self.shape = (height, width)
        self._first = np.ascontiguousarray(parts[:, 0])
        self._mixed = np.flatnonzero((parts != parts[:, :1]).any(axis=1))
        self._parts = parts[self._mixed]

    def mean(self, column: np.ndarray) -> np.ndarray:
        """Return the mean over each pixel, (H, W), of a value given by label."""
        plane = column[self._first]
        plane[self._mixed] = column[self._parts].mean(axis=1)
        return plane.reshape(self.shape)

    def pick(self, column: np.ndarray) -> np.ndarray:
        """Return the value at the first sub-pixel of each pixel, (H, W).

        It replaces the mean where accuracy does not matter, as for texture amplitudes.
        """
        return column[self._first].reshape(self.shape)


class Scene:
    """A random scene.

    Attributes:
        plan: objects of the scene.
        light: illumination of the scene.
        mixture: means over sub-pixels; its labels are `2 * label + in_shadow`.
    """

    def __init__(self, seed: np.random.SeedSequence, pixels: int, gsd: float):
        """Draw a scene of `pixels` x `pixels` pixels of `gsd` metres."""
        streams = [np.random.default_rng(child) for child in seed.spawn(5)]
        self.light = sky.draw_light(streams[0])
        self.plan: Plan = draw_plan(streams[1], pixels, gsd, self.light.azimuth)
        plan = self.plan
        shadow = cast_shadow(
            plan.labels,
            plan.height,
            gsd,
            plan.supersampling,
            self.light.elevation,
            self.light.azimuth,
        )
        self.mixture = Mixture(2 * plan.labels + shadow, plan.supersampling)
        self._draw_objects(streams[2])
        self._draw_textures(streams[3], pixels)
        self._own_texture = streams[4].integers(2**32)

    def planes(
        self, responses: np.ndarray, pan: np.ndarray, *, guide: bool = False, moved: bool = False
    ):
        """Yield the top-of-atmosphere reflectance in each band, (H, W) float32.

        Args:
            responses: (B, 421) unit-sum spectral responses.
            pan: (421,) response of PAN, in which colour changes within objects are invisible.
            guide: whether the bands are those of a guide image, whose independent texture differs
                from that of the MS bands.
            moved: whether vehicles are at their positions in the exposure of the guide, not of MS.
        """
        self._shown = self.plan.for_pan if moved else self.plan.for_ms
        weights = responses * sky.SUN
        weights = weights / weights.sum(axis=1, keepdims=True)
        direct = self._spectra @ (self.light.direct * weights).T
        diffuse = self._spectra @ (self.light.sky * weights).T
        path = weights @ self.light.path
        pan_light = self._spectra * (self.light.direct * sky.SUN * pan)
        hues = []
        for shape in _HUES:
            # Subtract the mean in PAN, so that the colour changes at constant PAN.
            level = (pan_light @ shape) / pan_light.sum(axis=1)
            changed = (self._spectra * shape) @ (self.light.direct * weights).T
            hues.append(changed - level[:, None] * direct)
        for band in range(len(responses)):
            lit = self._shade * self._per_object(direct[:, band])
            dim = _SKY_IN_SHADOW * self._per_object(diffuse[:, band])
            plane = self._mean(lit + dim / _SKY_IN_SHADOW, dim) * self._brightness
            for hue, field in zip(hues, self._hue_fields, strict=True):
                change = self._hue_amplitude * self._shade * self._per_object(hue[:, band])
                plane += self._pick(change, 0.2 * change) * field
            plane *= 1 + self._own_amplitude * self._own_field(band, guide)
            plane = np.maximum(plane, 0.001) + np.float32(path[band])
            yield _adjacency(plane)

    def lean(self, plane: np.ndarray, per_metre: np.ndarray) -> np.ndarray:
        """Apply the parallax of a slightly different viewing direction to a band.

        Args:
            plane: (H, W) band.
            per_metre: displacement (y, x) in pixels per metre of object height.

        Returns:
            (H, W).
        """
        height = self.mixture.mean(np.repeat(self.plan.height, 2).astype(np.float32))
        # A displaced object covers the ground next to it, so heights are dilated.
        height = ndimage.maximum_filter(height, 3)
        rows, columns = np.nonzero(height * np.abs(per_metre).max() > 0.05)
        raised = height[rows, columns]
        places = [rows - raised * per_metre[0], columns - raised * per_metre[1]]
        leaning = plane.copy()
        leaning[rows, columns] = ndimage.map_coordinates(plane, places, order=1, mode="nearest")
        return leaning

    def _draw_objects(self, rng):
        """Draw each object's brightness and spectrum, a mixture of two variants of its material."""
        plan = self.plan
        self._spectra = draw_spectra(rng)
        count = len(plan.material)
        spread = np.array([material.spread for material in MATERIALS])[plan.material]
        gain = np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
        pair = rng.integers(VARIANTS, size=(2, count))
        share = rng.random(count)
        group = plan.group
        self._gain = gain[group]
        self._share = share[group]
        self._rows = plan.material * VARIANTS + pair[:, group]
        self._shade = plan.shade
        self._hue_amplitude = self._texture_amplitude(2)

    def _per_object(self, column):
        first, second = column[self._rows]
        return self._gain * (first + self._share * (second - first))

    def _texture_amplitude(self, kind):
        return np.array([material.texture[kind] for material in MATERIALS])[self.plan.material]

    def _draw_textures(self, rng, pixels):
        fine, patch, *self._hue_fields = power_law_fields(rng, pixels, (0.5, 2.0, 0.9, 1.6))
        # The roughness varies between objects and, by wear, within an object.
        roughness = np.exp(_ROUGHNESS * rng.standard_normal(len(self.plan.group)))
        grain = self._texture_amplitude(0) * roughness[self.plan.group]
        patches = self._texture_amplitude(1)
        self._shown = self.plan.for_ms
        rough = self._pick(grain, grain) * np.exp(_WEAR * self._hue_fields[1])
        brightness = 1 + rough * fine + self._pick(patches, patches) * patch
        self._brightness = np.clip(brightness, 0.3, 2.2)
        self._own_amplitude = _GRAIN_OF_A_BAND * np.minimum(rough, 0.08)

    def _own_field(self, band, guide):
        """Return the independent texture of a band, of unit variance.

        All bands use the same periodic field, each shifted by a random displacement.
        """
        rng = np.random.default_rng([self._own_texture, guide, band])
        field = self._hue_fields[0]
        return np.roll(field, rng.integers(0, field.shape), axis=(0, 1))

    def _mean(self, lit: np.ndarray, shadowed: np.ndarray) -> np.ndarray:
        """Return pixel means of values by label, given for lit and for shadowed sub-pixels."""
        return self.mixture.mean(self._pairs(lit, shadowed))

    def _pick(self, lit: np.ndarray, shadowed: np.ndarray) -> np.ndarray:
        """Return the value at the first sub-pixel of each pixel; arguments as for `_mean`."""
        return self.mixture.pick(self._pairs(lit, shadowed))

    def _pairs(self, lit, shadowed):
        return np.stack([lit, shadowed], axis=1)[self._shown].ravel().astype(np.float32)


def _adjacency(plane: np.ndarray, reduction: int = 8) -> np.ndarray:
    """Add light from the surroundings, blurred over some tens of pixels (adjacency effect)."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % reduction), (0, -width % reduction)), mode="edge")
    rows, columns = (size // reduction for size in padded.shape)
    coarse = padded.reshape(rows, reduction, columns, reduction).mean(axis=(1, 3))
    coarse = ndimage.gaussian_filter(coarse, 2.5, mode="nearest")
    blurred = ndimage.zoom(coarse, reduction, order=1, mode="nearest", grid_mode=True)
    return (1 - _ADJACENCY) * plane + _ADJACENCY * blurred[:height, :width]
