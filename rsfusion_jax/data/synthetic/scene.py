"""One scene as light sees it: any band's image on the finest pixel grid, made plane by plane.

Integrating a spectrum over a band is linear, so no radiance cube is ever built: every object has
one number per band, a pixel is the mean of its sub-pixels' objects, and textures multiply that.
"""

import numpy as np
from scipy import ndimage

from rsfusion_jax.data.responses import WAVELENGTHS
from rsfusion_jax.data.synthetic import light as sky
from rsfusion_jax.data.synthetic.layout import Plan, draw_plan
from rsfusion_jax.data.synthetic.materials import MATERIALS, VARIANTS, draw_spectra
from rsfusion_jax.data.synthetic.relief import cast_shadow
from rsfusion_jax.data.synthetic.texture import power_law_fields

# Colour changes inside an object, relative to its spectrum: near infrared against visible
# (leaf area, age) and blue against red (tint, dryness).
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
"""Spread of texture between objects and within them, as logarithms."""
_GRAIN_OF_A_BAND = 1.2
"""Texture that one band or PAN has to itself, relative to the texture that all share.

It stands for what makes two looks at one surface differ: glitter, leaves in the wind, absorptions
narrower than our spectra. Without it PAN would be all but a weighted sum of eight bands.
"""
_ADJACENCY = 0.05
"""Share of a pixel's light that comes from its surroundings, scattered by the air."""


class Mixture:
    """Means over the sub-pixels of each pixel, quick because most pixels hold one object."""

    def __init__(self, labels: np.ndarray, supersampling: int):
        height, width = (size // supersampling for size in labels.shape)
        parts = labels.reshape(height, supersampling, width, supersampling).transpose(0, 2, 1, 3)
        parts = parts.reshape(height * width, supersampling**2)
        self.shape = (height, width)
        self._first = np.ascontiguousarray(parts[:, 0])
        self._mixed = np.flatnonzero((parts != parts[:, :1]).any(axis=1))
        self._parts = parts[self._mixed]

    def mean(self, column: np.ndarray) -> np.ndarray:
        """Mean of a per-label number over each pixel, (H, W)."""
        plane = column[self._first]
        plane[self._mixed] = column[self._parts].mean(axis=1)
        return plane.reshape(self.shape)

    def pick(self, column: np.ndarray) -> np.ndarray:
        """The number of one label of each pixel, (H, W): enough for how strong a texture is."""
        return column[self._first].reshape(self.shape)


class Scene:
    """A drawn scene.

    Attributes:
        plan, light: what is where, and what shines on it.
        mixture: sub-pixel means; its labels are `2 * label + in_shadow`.
    """

    def __init__(self, seed: np.random.SeedSequence, pixels: int, gsd: float):
        """Draws a scene of `pixels` x `pixels` pixels of `gsd` metres."""
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
        """Yields one (H, W) float32 plane of top-of-atmosphere reflectance per response.

        Args:
            responses: (B, 421) normalised spectral responses.
            pan: (421,) response to which the changes of hue inside objects stay invisible.
            guide: whether PAN or another guide looks, whose own texture MS does not see.
            moved: whether vehicles are where they are when the guide is exposed.
        """
        self._shown = self.plan.for_pan if moved else self.plan.for_ms
        weights = responses * sky.SUN
        weights = weights / weights.sum(axis=1, keepdims=True)
        direct = self._spectra @ (self.light.direct * weights).T
        diffuse = self._spectra @ (self.light.sky * weights).T
        path = weights @ self.light.path
        seen = self._spectra * (self.light.direct * sky.SUN * pan)
        hues = []
        for shape in _HUES:
            # Taking out the mean that PAN sees leaves a change of colour at constant PAN.
            level = (seen @ shape) / seen.sum(axis=1)
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
        """A plane seen from a slightly other direction: what is high moves.

        Args:
            plane: (H, W).
            per_metre: displacement (y, x) in pixels per metre of height.
        """
        height = self.mixture.mean(np.repeat(self.plan.height, 2).astype(np.float32))
        # A wall's foot on the far side is covered by what leans over it.
        height = ndimage.maximum_filter(height, 3)
        rows, columns = np.nonzero(height * np.abs(per_metre).max() > 0.05)
        raised = height[rows, columns]
        places = [rows - raised * per_metre[0], columns - raised * per_metre[1]]
        leaning = plane.copy()
        leaning[rows, columns] = ndimage.map_coordinates(plane, places, order=1, mode="nearest")
        return leaning

    def _draw_objects(self, rng):
        """Brightness and spectrum of every object: two variants of its material, mixed."""
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
        # Smooth surfaces lie beside rough ones, and a surface is worn in places.
        roughness = np.exp(_ROUGHNESS * rng.standard_normal(len(self.plan.group)))
        grain = self._texture_amplitude(0) * roughness[self.plan.group]
        patches = self._texture_amplitude(1)
        self._shown = self.plan.for_ms
        rough = self._pick(grain, grain) * np.exp(_WEAR * self._hue_fields[1])
        brightness = 1 + rough * fine + self._pick(patches, patches) * patch
        self._brightness = np.clip(brightness, 0.3, 2.2)
        self._own_amplitude = _GRAIN_OF_A_BAND * np.minimum(rough, 0.08)

    def _own_field(self, band, guide):
        """Texture of one response alone, unit variance: one field, displaced far (it wraps)."""
        rng = np.random.default_rng([self._own_texture, guide, band])
        field = self._hue_fields[0]
        return np.roll(field, rng.integers(0, field.shape), axis=(0, 1))

    def _mean(self, lit: np.ndarray, shadowed: np.ndarray) -> np.ndarray:
        """Pixel means of per-label numbers for the lit and the shadowed part of a label."""
        return self.mixture.mean(self._pairs(lit, shadowed))

    def _pick(self, lit: np.ndarray, shadowed: np.ndarray) -> np.ndarray:
        """The same for one sub-pixel of each pixel."""
        return self.mixture.pick(self._pairs(lit, shadowed))

    def _pairs(self, lit, shadowed):
        return np.stack([lit, shadowed], axis=1)[self._shown].ravel().astype(np.float32)


def _adjacency(plane: np.ndarray, reduction: int = 8) -> np.ndarray:
    """Mixes in the light of the surroundings, blurred over some tens of pixels."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % reduction), (0, -width % reduction)), mode="edge")
    rows, columns = (size // reduction for size in padded.shape)
    coarse = padded.reshape(rows, reduction, columns, reduction).mean(axis=(1, 3))
    coarse = ndimage.gaussian_filter(coarse, 2.5, mode="nearest")
    blurred = ndimage.zoom(coarse, reduction, order=1, mode="nearest", grid_mode=True)
    return (1 - _ADJACENCY) * plane + _ADJACENCY * blurred[:height, :width]
