"""Radar image of a scene: VV and VH backscatter of a side-looking radar, with speckle."""

import numpy as np

from rsfusion_jax.data.synthetic.materials import MATERIALS
from rsfusion_jax.data.synthetic.relief import height_map, march
from rsfusion_jax.data.synthetic.scene import Scene
from rsfusion_jax.data.synthetic.texture import power_law_fields

DB_RANGE = ((-25.0, 0.0), (-32.5, 0.0))
"""Ranges of VV and VH in dB that are mapped to [0, 1], as in the baselines of SEN12MS-CR."""

_LOOKS = 4.5
_COTANGENT_OF_INCIDENCE = 1 / np.tan(np.deg2rad(38))
_BOUNCE = (1.6, 0.25)
"""Linear VV and VH power of the double bounce between a wall and the ground in front of it."""


def backscatter(scene: Scene, rng: np.random.Generator, margin: int, size: int) -> np.ndarray:
    """Simulate the radar image of a scene.

    Walls that face the radar are displaced towards it over the ground (layover) and cause a double
    bounce at their foot; speckle is gamma distributed with 4.5 looks.

    Args:
        scene: scene to image.
        rng: random generator.
        margin: pixels that are cut off at each side of the scene.
        size: side of the image in pixels.

    Returns:
        VV and VH mapped from `DB_RANGE` to [0, 1], (size, size, 2) float32.
    """
    plan = scene.plan
    azimuth = rng.uniform(0, 2 * np.pi)  # from the ground towards the radar
    step = 2 * plan.gsd / plan.supersampling
    heights = height_map(plan.labels, plan.height)
    # A roof of height h appears h cot(incidence) nearer to the radar, so cells within this distance
    # in front of it contain both returns. They are found by looking away from the radar.
    ahead = march(heights, azimuth + np.pi, 1 / _COTANGENT_OF_INCIDENCE, step)
    foot = march(heights, azimuth + np.pi, 4.0, step)
    layover = _pixels((ahead > heights + 1.5).astype(np.float32), plan)
    corner = _pixels((foot > heights + 2.5).astype(np.float32), plan)
    texture = np.exp(0.25 * power_law_fields(rng, layover.shape[0], (1.2,))[0])
    channels = []
    for channel, (low, high) in enumerate(DB_RANGE):
        decibel = np.array([material.backscatter[channel] for material in MATERIALS])
        power = 10 ** (decibel[plan.material] / 10)
        power = power * np.exp(0.2 * rng.standard_normal(len(power)))[plan.group]
        image = scene.mixture.mean(np.repeat(power, 2).astype(np.float32)) * texture
        image = image * (1 + 1.5 * layover) + _BOUNCE[channel] * corner
        image = image * rng.gamma(_LOOKS, 1 / _LOOKS, image.shape)
        scaled = (10 * np.log10(np.maximum(image, 1e-6)) - low) / (high - low)
        channels.append(np.clip(scaled, 0, 1))
    inner = slice(margin, margin + size)
    return np.stack(channels, axis=-1)[inner, inner].astype(np.float32)


def _pixels(cells, plan):
    """Average the cells of `march` over each pixel."""
    per_pixel = plan.supersampling // 2
    pixels = cells.shape[0] // per_pixel
    return cells.reshape(pixels, per_pixel, pixels, per_pixel).mean(axis=(1, 3))
