"""Surface materials: random reflectance spectra from 400 to 2500 nm for every scene.

Four parametric families (plants, soils, waters, artificial surfaces) replace measured spectral
libraries: chlorophyll absorbs at 430-490 and 680 nm and causes the red edge, leaf water absorbs at
970, 1190, 1450 and 1940 nm, iron oxides redden soils, water is black beyond 900 nm. The parameters
were chosen such that spectra resemble published libraries; none is a measurement.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from rsfusion_jax.data.responses import WAVELENGTHS

VARIANTS = 6
"""Number of spectra drawn per material and scene; the spectrum of an object mixes two of them."""

_FEATURE_WIDTH, _FEATURE_DEPTH = 2.5, 0.10  # grid steps of 5 nm; relative
_KNOTS = np.array([400, 480, 550, 620, 680, 760, 900, 1050, 1650, 2300.0])


@dataclasses.dataclass(frozen=True)
class Material:
    """A surface material.

    Attributes:
        name: name of the material.
        family: "plant", "soil", "water" or "made" (artificial); selects the spectral formula.
        parameters: parameters of the formula: plant (chlorophyll, near-infrared plateau, leaf
            water, dry share), soil (brightness, redness, moisture), water (turbidity, algae, bottom
            reflectance), artificial (reflectance at ten wavelengths from 400 to 2300 nm).
        spread: relative standard deviation of the brightness between objects.
        texture: relative amplitudes of texture at pixel scale, of patches, and of colour changes
            that are invisible in PAN.
        backscatter: mean radar backscatter in dB, (VV, VH).
    """

    name: str
    family: str
    parameters: tuple[float, ...]
    spread: float
    texture: tuple[float, float, float]
    backscatter: tuple[float, float]


def _plant(name, parameters, texture, backscatter=(-11, -17), spread=0.16):
    return Material(name, "plant", parameters, spread, texture, backscatter)


def _soil(name, parameters, texture, backscatter=(-14, -23), spread=0.16):
    return Material(name, "soil", parameters, spread, texture, backscatter)


def _water(name, parameters, texture, backscatter=(-20, -28), spread=0.10):
    return Material(name, "water", parameters, spread, texture, backscatter)


def _made(name, parameters, texture, backscatter=(-9, -18), spread=0.12):
    return Material(name, "made", parameters, spread, texture, backscatter)


def _road(name, parameters):
    return _made(name, parameters, _PAVED, (-17, -26))


def _sheet(name, parameters):
    return _made(name, parameters, _ROOF, (-4, -15))


def _vehicle(name, parameters):
    return _made(name, parameters, _PLAIN, (-3, -12), spread=0.2)


_LAWN, _CROP, _TREE = (0.10, 0.06, 0.10), (0.08, 0.07, 0.11), (0.30, 0.06, 0.14)
_EARTH, _PAVED, _ROOF, _PLAIN = (
    (0.10, 0.07, 0.05),
    (0.07, 0.05, 0.04),
    (0.07, 0.04, 0.04),
    (0, 0, 0),
)
_FIELD, _WOOD = (-12, -19), (-9, -15)

MATERIALS = (
    _plant("lawn", (1.15, 0.44, 0.9, 0.10), _LAWN, _FIELD),
    _plant("meadow", (1.00, 0.38, 0.8, 0.28), _LAWN, _FIELD),
    _plant("dry_grass", (0.45, 0.34, 0.3, 0.70), _LAWN, _FIELD),
    _plant("weeds", (0.80, 0.33, 0.6, 0.40), _LAWN, _FIELD),
    _plant("young_crop", (0.95, 0.30, 0.7, 0.35), _CROP, _FIELD),
    _plant("green_crop", (1.45, 0.50, 1.1, 0.05), _CROP, _FIELD),
    _plant("dark_crop", (1.80, 0.42, 1.1, 0.05), _CROP, _FIELD),
    _plant("ripe_crop", (0.30, 0.40, 0.2, 0.85), _CROP, _FIELD),
    _plant("maize", (1.30, 0.42, 1.0, 0.15), _CROP, _FIELD),
    _plant("vine", (1.25, 0.36, 0.8, 0.20), _CROP, _FIELD),
    _plant("shrub", (1.10, 0.28, 0.6, 0.35), _TREE, _WOOD),
    _plant("broadleaf", (1.60, 0.42, 1.0, 0.05), _TREE, _WOOD),
    _plant("light_broadleaf", (1.20, 0.46, 1.0, 0.08), _TREE, _WOOD),
    _plant("conifer", (1.80, 0.27, 0.9, 0.10), _TREE, _WOOD),
    _plant("olive", (0.85, 0.28, 0.6, 0.30), _TREE, _WOOD),
    _plant("autumn_tree", (0.45, 0.40, 0.7, 0.40), _TREE, _WOOD),
    _plant("forest_floor", (0.90, 0.17, 0.5, 0.60), _LAWN, _WOOD),
    _plant("reed", (0.80, 0.30, 1.2, 0.40), _CROP, _FIELD),
    _soil("bare_soil", (0.34, 0.50, 0.15), _EARTH),
    _soil("dark_soil", (0.20, 0.45, 0.40), _EARTH),
    _soil("red_soil", (0.36, 0.85, 0.15), _EARTH),
    _soil("wet_soil", (0.15, 0.45, 0.90), _EARTH),
    _soil("sand", (0.48, 0.40, 0.05), _EARTH),
    _soil("track", (0.40, 0.42, 0.05), _EARTH),
    _soil("gravel", (0.33, 0.22, 0.05), _EARTH),
    _soil("rock", (0.30, 0.25, 0.05), (0.14, 0.12, 0.06)),
    _soil("limestone", (0.55, 0.22, 0.02), _EARTH),
    _water("clear_water", (0.15, 0.1, 0.0), (0.02, 0.05, 0.02)),
    _water("turbid_water", (1.0, 0.3, 0.0), (0.02, 0.10, 0.04)),
    _water("green_water", (0.35, 0.5, 0.0), (0.02, 0.10, 0.05)),
    _water("pool", (0.1, 0.0, 0.45), (0.03, 0.05, 0.02)),
    _road("new_asphalt", (0.05, 0.05, 0.055, 0.06, 0.06, 0.06, 0.07, 0.07, 0.09, 0.10)),
    _road("asphalt", (0.07, 0.08, 0.09, 0.10, 0.105, 0.11, 0.12, 0.125, 0.15, 0.16)),
    _road("old_asphalt", (0.10, 0.12, 0.135, 0.15, 0.155, 0.16, 0.17, 0.18, 0.2, 0.2)),
    _road("concrete", (0.18, 0.22, 0.26, 0.29, 0.30, 0.31, 0.33, 0.34, 0.36, 0.32)),
    _made("worn_concrete", (0.13, 0.16, 0.19, 0.21, 0.22, 0.23, 0.24, 0.25, 0.28, 0.26), _PAVED),
    _made("paving", (0.11, 0.14, 0.18, 0.23, 0.25, 0.27, 0.29, 0.30, 0.33, 0.30), _PAVED),
    _road("tartan", (0.06, 0.06, 0.08, 0.20, 0.25, 0.28, 0.32, 0.33, 0.30, 0.20)),
    _made("artificial_turf", (0.04, 0.05, 0.09, 0.05, 0.05, 0.10, 0.25, 0.28, 0.22, 0.15), _PAVED),
    _made("red_tile", (0.06, 0.08, 0.11, 0.22, 0.26, 0.29, 0.31, 0.33, 0.40, 0.35), _ROOF),
    _made("orange_tile", (0.08, 0.11, 0.17, 0.31, 0.35, 0.38, 0.39, 0.41, 0.46, 0.40), _ROOF),
    _made("brown_tile", (0.05, 0.06, 0.08, 0.12, 0.14, 0.16, 0.19, 0.21, 0.28, 0.26), _ROOF),
    _made("slate", (0.07, 0.08, 0.09, 0.09, 0.09, 0.095, 0.10, 0.11, 0.12, 0.12), _ROOF),
    _made("shingle", (0.08, 0.09, 0.10, 0.12, 0.13, 0.14, 0.15, 0.16, 0.2, 0.2), _ROOF),
    _made("bitumen", (0.04, 0.045, 0.05, 0.05, 0.05, 0.055, 0.06, 0.06, 0.08, 0.08), _ROOF),
    _made("gravel_roof", (0.15, 0.18, 0.21, 0.24, 0.25, 0.26, 0.27, 0.28, 0.3, 0.28), _ROOF),
    _sheet("white_roof", (0.33, 0.50, 0.55, 0.57, 0.57, 0.57, 0.55, 0.52, 0.40, 0.25)),
    _sheet("grey_metal", (0.22, 0.27, 0.29, 0.30, 0.30, 0.30, 0.30, 0.31, 0.33, 0.3)),
    _sheet("bright_metal", (0.34, 0.42, 0.46, 0.47, 0.47, 0.47, 0.45, 0.45, 0.4, 0.35)),
    _sheet("blue_metal", (0.19, 0.27, 0.20, 0.10, 0.09, 0.16, 0.25, 0.27, 0.22, 0.15)),
    _sheet("green_metal", (0.07, 0.11, 0.18, 0.10, 0.08, 0.12, 0.22, 0.26, 0.2, 0.15)),
    _sheet("red_metal", (0.05, 0.06, 0.07, 0.24, 0.31, 0.35, 0.38, 0.38, 0.3, 0.25)),
    _made("fibre_cement", (0.15, 0.19, 0.22, 0.24, 0.24, 0.25, 0.25, 0.26, 0.25, 0.2), _ROOF),
    _sheet("solar_panel", (0.05, 0.045, 0.04, 0.035, 0.035, 0.04, 0.06, 0.13, 0.1, 0.08)),
    _made("greenhouse", (0.22, 0.30, 0.34, 0.35, 0.35, 0.39, 0.43, 0.44, 0.36, 0.20), _ROOF),
    _road("road_paint", (0.24, 0.36, 0.40, 0.42, 0.42, 0.42, 0.42, 0.41, 0.35, 0.3)),
    _vehicle("white_car", (0.30, 0.50, 0.52, 0.53, 0.53, 0.52, 0.50, 0.48, 0.4, 0.3)),
    _vehicle("silver_car", (0.20, 0.25, 0.27, 0.28, 0.28, 0.28, 0.28, 0.28, 0.3, 0.3)),
    _vehicle("black_car", (0.03, 0.03, 0.03, 0.03, 0.03, 0.035, 0.05, 0.06, 0.08, 0.08)),
    _vehicle("red_car", (0.05, 0.05, 0.05, 0.25, 0.32, 0.36, 0.40, 0.40, 0.3, 0.25)),
    _vehicle("blue_car", (0.14, 0.22, 0.13, 0.07, 0.06, 0.12, 0.30, 0.32, 0.25, 0.2)),
    _made("glint", (1.0, 1.3, 1.4, 1.4, 1.4, 1.4, 1.3, 1.2, 1.0, 0.8), _PLAIN, (2, -9), 0.5),
)  # fmt: skip

INDEX = {material.name: index for index, material in enumerate(MATERIALS)}
"""Position of a material in `MATERIALS` by its name."""


def _band(centre, width):
    return np.exp(-(((WAVELENGTHS - centre) / width) ** 2))


def _liquid_water(amount):
    """Return the transmission of water in leaves or soil, which absorbs at 970 to 1940 nm."""
    depth = (
        0.12 * _band(970, 35)
        + 0.25 * _band(1190, 50)
        + 1.3 * _band(1450, 75)
        + 1.9 * _band(1940, 95)
        + 0.7 / (1 + np.exp(-(WAVELENGTHS - 1380) / 50))
    )
    return np.exp(-amount * depth)


def _plant_spectrum(chlorophyll, plateau, water, dry):
    pigment = (
        _band(430, 60)
        + 0.75 * _band(490, 45)
        + 0.28 * _band(550, 60)
        + 0.30 * _band(595, 35)
        + 0.65 * _band(632, 40)
        + 1.00 * _band(678, 24)
    )
    leaf = 0.018 + plateau * np.exp(-2.8 * chlorophyll * pigment)
    litter = 0.05 + 0.95 * plateau * (1 - np.exp(-(WAVELENGTHS - 380) / 330))
    return ((1 - dry) * leaf + dry * litter) * _liquid_water(water)


def _soil_spectrum(brightness, redness, moisture):
    grey = 1 - np.exp(-(WAVELENGTHS - 150) / (220 + 500 * redness))
    iron = 1 - 0.25 * redness * _band(490, 70) - 0.12 * redness * _band(880, 90)
    clay = 1 - 0.10 * _band(2205, 35)
    return brightness * grey * iron * clay * _liquid_water(0.8 * moisture)


def _water_spectrum(turbidity, algae, bottom):
    deep = 0.035 * np.exp(-(WAVELENGTHS - 400) / 150)
    silt = 0.10 * turbidity * (_band(570, 110) + 0.25 * _band(800, 40))
    cells = algae * (0.05 * _band(555, 35) + 0.03 * _band(708, 18) - 0.012 * _band(440, 50))
    floor = bottom * _band(475, 80)
    return np.maximum(0.008 + deep + silt + cells + floor, 0.004)


def _made_spectrum(*reflectance):
    # Interpolate the ten knots linearly, then smooth, so that narrow bands show no kinks.
    line = np.interp(WAVELENGTHS, _KNOTS, np.concatenate(reflectance))
    kernel = np.hanning(25)
    return np.convolve(np.pad(line, 12, mode="edge"), kernel / kernel.sum(), mode="valid")


_FAMILIES = {
    "plant": (_plant_spectrum, 0.10),
    "soil": (_soil_spectrum, 0.12),
    "water": (_water_spectrum, 0.25),
    "made": (_made_spectrum, 0.04),
}


def draw_spectra(rng: np.random.Generator) -> np.ndarray:
    """Draw reflectance spectra of all materials, (len(MATERIALS) * VARIANTS, 421).

    Variant v of material m is row `m * VARIANTS + v`. Parameters are log-normally distributed
    around those of the table, so that chlorophyll, moisture or tint differ between variants, not
    only brightness. Random features about 30 nm wide represent spectral detail that the formulas
    lack.
    """
    rows = []
    for material in MATERIALS:
        formula, scatter = _FAMILIES[material.family]
        parameters = np.array(material.parameters)
        factors = np.exp(scatter * rng.standard_normal((VARIANTS, parameters.size)))
        for variant in parameters * factors:
            rows.append(formula(*variant[:, None]))
    spectra = np.stack(rows)
    features = ndimage.gaussian_filter1d(rng.standard_normal(spectra.shape), _FEATURE_WIDTH)
    features *= _FEATURE_DEPTH / features.std()
    return np.clip(spectra * np.exp(features), 0.002, 2.0)
