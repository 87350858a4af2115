"""Layout of a scene: streets divide the land into blocks, and each block has one land use.

The layout is drawn on a canvas aligned with the streets and resampled with a rotation and a gentle
bend, so that streets are curved and not parallel to the pixel grid. An avenue or a river may cross
the scene at another angle.
"""

import dataclasses

import numpy as np

from rsfusion_jax.data.synthetic import country, town
from rsfusion_jax.data.synthetic.canvas import Box, Canvas
from rsfusion_jax.data.synthetic.crossing import cross
from rsfusion_jax.data.synthetic.materials import MATERIALS

# By kind of scene: weights of the land uses, mean side of a block in metres, and widths of minor
# and major streets in metres.
_SCENES = {
    "city": (
        {town.centre: 4, town.works: 2, town.homes: 1, country.park: 1, town.sports: 0.6},
        75,
        (7, 16),
    ),
    "suburb": (
        {town.homes: 6, town.works: 1, country.park: 1, town.sports: 0.7, country.woods: 1},
        85,
        (5, 9),
    ),
    "industry": (
        {town.works: 6, country.bare: 1.2, country.scrub: 1, country.woods: 0.7},
        110,
        (7, 12),
    ),
    "farmland": (
        {country.farmland: 8, country.orchard: 1, country.glasshouses: 0.4, town.homes: 0.6},
        170,
        (2.5, 4.5),
    ),
    "village": (
        {
            town.homes: 3,
            country.farmland: 3,
            country.orchard: 1,
            country.scrub: 1,
            town.works: 0.7,
            country.woods: 0.6,
        },
        95,
        (3.5, 6.5),
    ),
    "wild": (
        {country.woods: 3, country.scrub: 3, country.bare: 1.5, country.farmland: 1},
        140,
        (2.5, 4),
    ),
}
_SCENE_SHARE = (0.17, 0.23, 0.12, 0.19, 0.20, 0.09)
_SUPERSAMPLING = 4
"""Sub-pixels along one side of a pixel of the finest image."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The objects of a scene in image geometry.

    Attributes:
        labels: label of every sub-pixel, (4 H, 4 W) int32.
        material, group, shade, height: properties by label, see `Canvas`.
        supersampling: sub-pixels along one side of a pixel.
        gsd: ground sampling distance in metres per pixel.
        kind: kind of scene, e.g. "city".
        for_ms, for_pan: label whose appearance each label has in the exposure of MS or of PAN.
    """

    labels: np.ndarray
    material: np.ndarray
    group: np.ndarray
    shade: np.ndarray
    height: np.ndarray
    supersampling: int
    gsd: float
    kind: str
    for_ms: np.ndarray
    for_pan: np.ndarray


def draw_plan(rng: np.random.Generator, pixels: int, gsd: float, sun_azimuth: float) -> Plan:
    """Draw the layout of a scene.

    Args:
        rng: random generator.
        pixels: side of the scene in pixels.
        gsd: ground sampling distance in metres per pixel.
        sun_azimuth: direction towards the sun as in `Light.azimuth`.
    """
    step = gsd / _SUPERSAMPLING
    extent = pixels * gsd
    kind = str(rng.choice(list(_SCENES), p=_SCENE_SHARE))
    angle = rng.uniform(0, 2 * np.pi)
    side = 1.42 * extent + 2 * _BEND
    canvas = Canvas(side, step, sun_azimuth - angle, rng)
    uses, block, widths = _SCENES[kind]
    canvas.rect((0, 0, side, side), _street(canvas, kind))
    inside = (0.0, 0.0, side, side)
    for box, width in _blocks(rng, inside, block, widths, depth=0):
        _fill(canvas, box, width, uses, kind)
    if kind in ("village", "wild", "farmland", "suburb") and rng.random() < 0.3:
        country.pond(
            canvas, rng.uniform(0.25 * side, 0.75 * side, 2), rng.uniform(0.06, 0.2) * extent
        )
    _litter(canvas, kind)
    labels = _bend_into_image(canvas, rng, pixels * _SUPERSAMPLING, angle)
    if rng.random() < 0.45:
        cross(canvas, rng, labels, kind)
    return Plan(
        labels,
        np.array(canvas.material),
        np.array(canvas.group),
        np.array(canvas.shade),
        np.array(canvas.height),
        _SUPERSAMPLING,
        gsd,
        kind,
        np.array(canvas.for_ms),
        np.array(canvas.for_pan),
    )


_BEND = 14.0
"""Largest displacement in metres when the layout is bent into the image."""


_STREET = 0
"""Label of the streets, which are painted first, below all other objects."""


def _street(canvas, kind):
    if kind in ("farmland", "wild"):
        return canvas.new(str(canvas.rng.choice(("track", "gravel", "dry_grass"))))
    return canvas.new(str(canvas.rng.choice(("asphalt", "old_asphalt", "asphalt"))))


def _blocks(rng, box: Box, target, widths, depth):
    """Divide a box recursively into blocks by streets; yield each block and its street's width."""
    top, left, bottom, right = box
    tall = bottom - top > right - left
    longer = max(bottom - top, right - left)
    if longer < target * rng.uniform(0.9, 2.0):
        yield box, widths[0]
        return
    width = widths[1] if depth < 2 else widths[0]
    cut = (top if tall else left) + longer * rng.uniform(0.35, 0.65)
    low, high = cut - width / 2, cut + width / 2
    first = (top, left, low, right) if tall else (top, left, bottom, low)
    second = (high, left, bottom, right) if tall else (top, high, bottom, right)
    yield from _blocks(rng, first, target, widths, depth + 1)
    yield from _blocks(rng, second, target, widths, depth + 1)


def _fill(canvas, box, street_width, uses, kind):
    rng = canvas.rng
    top, left, bottom, right = box
    built = kind not in ("farmland", "wild")
    if built:
        _traffic(canvas, box, street_width)
        kerb = rng.uniform(1.2, 2.5)
        canvas.rect(box, canvas.new(str(rng.choice(("concrete", "worn_concrete", "paving")))))
        box = (top + kerb, left + kerb, bottom - kerb, right - kerb)
    shares = np.array(list(uses.values()), float)
    use = list(uses)[rng.choice(len(shares), p=shares / shares.sum())]
    use(canvas, box)
    if built and rng.random() < 0.5:
        spacing = rng.uniform(6, 14)
        for x in np.arange(left + 2, right - 2, spacing):
            country.tree(canvas, (top + 0.6 * kerb, x), rng.uniform(1.2, 3))


def _traffic(canvas, box, width):
    """Paint centre lines and vehicles on the streets above and left of a block."""
    rng = canvas.rng
    top, left, bottom, right = box
    paint = canvas.new("road_paint")
    for start, stop, along_y in ((left, right, False), (top, bottom, True)):
        edge = (left if along_y else top) - width / 2
        dashes = np.arange(start, stop, 6.0)
        for dash in dashes if width > 5.5 else ():
            line = (edge - 0.08, dash, edge + 0.08, dash + 3.0)
            canvas.rect(line if not along_y else (line[1], line[0], line[3], line[2]), paint)
        for _ in range(rng.poisson((stop - start) / 28)):
            along = rng.uniform(start, stop)
            lane = edge + rng.choice((-1, 1)) * width * 0.24 - 0.9
            place = (along, lane) if along_y else (lane, along)
            if rng.random() < 0.6:
                town.moving_car(canvas, *place, along_y, ground=_STREET)
            else:
                town.car(canvas, *place, along_y)


def _litter(canvas, kind):
    """Scatter small objects (bushes, stones, crates, posts) whose sizes follow a power law."""
    rng = canvas.rng
    natural = ("shrub", "weeds", "dry_grass", "rock", "bare_soil", "wet_soil")
    artificial = (
        "bitumen",
        "concrete",
        "new_asphalt",
        "grey_metal",
        "white_car",
        "brown_tile",
        "shrub",
    )
    labels = np.array(
        [
            [
                canvas.new(name, shade=float(shade), height=float(rng.uniform(0, 1.2)))
                for name in (*natural, *artificial)
            ]
            for shade in rng.uniform(0.6, 1.3, 6)
        ]
    )
    pixel = canvas.step * _SUPERSAMPLING
    count = int((canvas.side / pixel) ** 2 / (220 if kind in ("farmland", "wild") else 60))
    corners = rng.uniform(0, canvas.side, (count, 2))
    # Sides are about one to ten pixels whatever the pixel size, so finer images have finer objects.
    sides = pixel * np.minimum(1.2 * (1 - rng.random((count, 2))) ** -0.45, 10)
    below = np.minimum((corners / canvas.step).astype(int), canvas.labels.shape[0] - 1)
    below = canvas.labels[below[:, 0], below[:, 1]]
    family = np.array([MATERIALS[index].family for index in canvas.material])[below]
    green = (family == "plant") | (family == "soil")
    # Artificial objects lie mostly on artificial surfaces and rarely on lawns and fields.
    lot = np.where(
        green & (rng.random(count) < 0.9),
        rng.integers(0, len(natural), count),
        rng.integers(2, len(natural) + len(artificial), count),
    )
    chosen = labels[rng.integers(0, len(labels), count), lot]
    free = (np.array(canvas.height)[below] <= 1.2) & (family != "water")
    for (top, left), (tall, wide), label in zip(
        corners[free].tolist(), sides[free].tolist(), chosen[free].tolist(), strict=True
    ):
        canvas.rect((top, left, top + tall, left + wide), label)


def _bend_into_image(canvas: Canvas, rng, cells: int, angle: float) -> np.ndarray:
    """Sample the canvas at the image's sub-pixels by nearest neighbour, (cells, cells) int32."""
    source = canvas.labels
    last = source.shape[0] - 1
    # The displacement along an axis is a function of the other coordinate, tabulated per sub-pixel.
    grid = np.arange(source.shape[0]) * canvas.step
    tables = []
    for _ in range(2):
        wavelength = rng.uniform(0.6, 1.8) * max(canvas.side, 280)
        sway = rng.uniform(0, _BEND) * np.sin(2 * np.pi * grid / wavelength + rng.uniform(0, 6.3))
        tables.append((sway / canvas.step).astype(np.float32))
    axis = (np.arange(cells) - cells / 2 + 0.5).astype(np.float32)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    middle = np.float32(source.shape[0] / 2)
    labels = np.empty((cells, cells), np.int32)
    for start in range(0, cells, 32):  # in strips that fit in the cache
        y, x = axis[start : start + 32, None], axis[None, :]
        column = cosine * x + sine * y + middle
        row = cosine * y - sine * x + middle
        bent_row = row + tables[0][np.clip(column, 0, last).astype(np.intp)]
        bent_column = column + tables[1][np.clip(row, 0, last).astype(np.intp)]
        index_row = np.clip(bent_row, 0, last).astype(np.intp)
        index_column = np.clip(bent_column, 0, last).astype(np.intp)
        labels[start : start + 32] = source[index_row, index_column]
    return labels
