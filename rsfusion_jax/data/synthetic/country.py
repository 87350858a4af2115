"""Land use of open blocks: fields, orchards, woods, bare ground, water."""

import itertools

import numpy as np

from rsfusion_jax.data.synthetic.canvas import Box, Canvas

_CROPS = ("young_crop", "green_crop", "dark_crop", "ripe_crop", "maize", "meadow", "dry_grass")
_SOILS = ("bare_soil", "dark_soil", "red_soil", "wet_soil")
_TREES = ("broadleaf", "broadleaf", "light_broadleaf", "conifer", "olive", "autumn_tree", "shrub")


def tree(canvas: Canvas, place, radius: float, kind: str | None = None) -> None:
    """Paint a tree with a dark, a middle and a sunlit part; radius in metres."""
    kind = kind or str(canvas.rng.choice(_TREES))
    height = radius * canvas.rng.uniform(1.4, 2.4)
    middle = canvas.new(kind, height=height)
    dark = canvas.new(kind, shade=0.5, height=0.7 * height, like=middle)
    lit = canvas.new(kind, shade=1.3, height=height, like=middle)
    canvas.crown(place, radius, (dark, middle, lit))


def trees_within(canvas: Canvas, box: Box, density: float, radii, kind: str | None = None) -> None:
    """Scatter trees over a box, small ones more often than large ones.

    Args:
        canvas: canvas to paint on.
        box: area in metres.
        density: mean number of trees per square metre.
        radii: smallest and largest radius in metres.
        kind: material of the trees; None for a random one for each tree.
    """
    rng = canvas.rng
    area = max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
    # Power-law radii between the limits: many saplings, few giants.
    low, high = radii
    for _ in range(min(rng.poisson(density * area), 4000)):
        radius = low * (high / low) ** (rng.random() ** 1.5)
        tree(canvas, canvas.place(box), radius, kind)


def farmland(canvas: Canvas, box: Box) -> None:
    """Paint long strips of crops and soils with grass balks, rows and tractor lanes."""
    rng = canvas.rng
    balk = canvas.new(str(rng.choice(("dry_grass", "weeds", "track", "meadow"))))
    canvas.rect(box, balk)
    along_y = rng.random() < 0.5
    for strip in _strips(rng, box, rng.uniform(14, 50), along_y):
        for field in _strips(rng, strip, rng.uniform(60, 200), not along_y):
            gap = rng.uniform(0.2, 1.2)
            t, l, b, r = field
            _field(canvas, (t + gap, l + gap, b - gap, r - gap), along_y)
    if rng.random() < 0.5:
        edge = (box[0], box[1], box[0] + 3, box[3])
        trees_within(canvas, edge, 0.04, (1.2, 4))


def _field(canvas, box, along_y):
    rng = canvas.rng
    crop = rng.random() < 0.62
    kind = str(rng.choice(_CROPS if crop else _SOILS))
    label = canvas.new(kind)
    canvas.rect(box, label)
    draw = rng.random()
    if draw < 0.35:  # crop rows on soil, coarse enough to be visible in PAN
        other = canvas.new(str(rng.choice(_SOILS)) if crop else "weeds")
        period = rng.uniform(1.0, 3.5)
        canvas.stripes(box, other, period, period * rng.uniform(0.12, 0.45), along_y)
    elif draw < 0.75:  # ploughing and mowing change brightness only
        period = rng.uniform(1.5, 9)
        trace = canvas.new(kind, shade=rng.uniform(0.86, 0.97), like=label)
        canvas.stripes(box, trace, period, period * rng.uniform(0.2, 0.5), along_y)
    if crop and rng.random() < 0.6:  # tractor lanes
        lane = canvas.new(str(rng.choice(_SOILS)))
        canvas.stripes(box, lane, rng.uniform(12, 24), 0.6, along_y)
    for _ in range(rng.poisson(1.0)):  # wet hollows, weeds, missing plants
        place = canvas.place(box)
        radius = min(1.5 * (1 - rng.random()) ** -0.7, 15, 0.4 * (box[3] - box[1]))
        patch = canvas.new(str(rng.choice((kind, "weeds", "wet_soil", "bare_soil"))), shade=0.88)
        if radius > 0.5:
            canvas.blob(place, radius, patch, 0.3)


def orchard(canvas: Canvas, box: Box) -> None:
    """Paint trees of one kind on a regular grid."""
    rng = canvas.rng
    canvas.rect(box, canvas.new(str(rng.choice(("dry_grass", "bare_soil", "weeds", "meadow")))))
    kind = str(rng.choice(("olive", "light_broadleaf", "broadleaf", "vine")))
    pitch = max(rng.uniform(3.5, 8), np.sqrt((box[2] - box[0]) * (box[3] - box[1]) / 900))
    radius = pitch * rng.uniform(0.25, 0.45)
    for y in np.arange(box[0] + pitch / 2, box[2] - pitch / 2, pitch):
        for x in np.arange(box[1] + pitch / 2, box[3] - pitch / 2, pitch):
            if rng.random() < 0.93:
                size = radius * rng.uniform(0.7, 1.2)
                tree(canvas, (y + rng.normal(0, 0.25), x + rng.normal(0, 0.25)), size, kind)


def woods(canvas: Canvas, box: Box) -> None:
    """Paint a closed or open canopy over forest floor."""
    rng = canvas.rng
    canvas.rect(box, canvas.new("forest_floor"))
    for _ in range(rng.poisson(2)):
        clearing = canvas.new(str(rng.choice(("meadow", "weeds", "dry_grass"))))
        canvas.blob(canvas.place(box), rng.uniform(5, 18), clearing)
    mean_radius = rng.uniform(2.4, 4.2)
    density = rng.uniform(0.5, 1.0) / (np.pi * mean_radius**2)
    kind = (
        str(rng.choice(("broadleaf", "conifer", "light_broadleaf"))) if rng.random() < 0.5 else None
    )
    trees_within(canvas, box, density, (0.6 * mean_radius, 1.8 * mean_radius), kind)


def park(canvas: Canvas, box: Box) -> None:
    """Paint a lawn with paths, a pond and groups of trees."""
    rng = canvas.rng
    canvas.rect(box, canvas.new(str(rng.choice(("lawn", "meadow")))))
    path = canvas.new(str(rng.choice(("gravel", "paving", "track"))))
    for angle in rng.uniform(0, np.pi, 4):
        canvas.turned(canvas.place(box), (0.9, 18.0), angle, path)
    if rng.random() < 0.4:
        pond(canvas, canvas.place(box), rng.uniform(5, 14))
    trees_within(canvas, box, rng.uniform(0.004, 0.012), (1.8, 6.0))


def pond(canvas: Canvas, place, radius: float) -> None:
    """Paint a pond with a rim of reed, sand, soil or grass."""
    rng = canvas.rng
    rim = canvas.new(str(rng.choice(("reed", "sand", "wet_soil", "meadow"))))
    water = canvas.new(str(rng.choice(("clear_water", "turbid_water", "green_water"))))
    state = rng.bit_generator.state
    canvas.blob(place, radius * 1.12 + 1, rim)
    rng.bit_generator.state = state  # repeat the same outline with a smaller radius
    canvas.blob(place, radius, water)


def bare(canvas: Canvas, box: Box) -> None:
    """Paint bare ground (quarries, building sites, beaches): patches of soil, sand and rock."""
    rng = canvas.rng
    canvas.rect(box, canvas.new(str(rng.choice(("bare_soil", "sand", "rock", "gravel", "track")))))
    kinds = (*_SOILS, "sand", "rock", "gravel", "limestone", "weeds", "dry_grass")
    area = (box[2] - box[0]) * (box[3] - box[1])
    for _ in range(min(int(area / 60), 400)):
        radius = min(0.8 * (1 - rng.random()) ** -0.65, 18)
        patch = canvas.new(str(rng.choice(kinds)))
        canvas.blob(canvas.place(box), radius, patch, 0.35)
    trees_within(canvas, box, 0.002, (0.8, 2.5), "shrub")


def scrub(canvas: Canvas, box: Box) -> None:
    """Paint rough pasture: patches of grass, shrubs, single trees."""
    rng = canvas.rng
    canvas.rect(box, canvas.new(str(rng.choice(("dry_grass", "weeds", "meadow")))))
    area = (box[2] - box[0]) * (box[3] - box[1])
    for _ in range(min(int(area / 120), 300)):
        radius = min(1.2 * (1 - rng.random()) ** -0.65, 20)
        kind = str(rng.choice(("dry_grass", "weeds", "meadow", "bare_soil", "shrub", "rock")))
        canvas.blob(canvas.place(box), radius, canvas.new(kind), 0.35)
    trees_within(canvas, box, 0.004, (0.7, 4.0))


def glasshouses(canvas: Canvas, box: Box) -> None:
    """Paint plastic tunnels side by side."""
    rng = canvas.rng
    canvas.rect(box, canvas.new("track"))
    cover = canvas.new("greenhouse", height=3)
    valley = canvas.new("greenhouse", shade=0.7, height=3, like=cover)
    period = rng.uniform(5, 9)
    canvas.stripes(box, cover, period, period - 0.8, True)
    canvas.stripes(box, valley, period, period * 0.35, True)


def _strips(rng, box, width, along_y):
    """Cut a box into strips of about `width`, parallel to y or to x."""
    top, left, bottom, right = box
    start, stop = (left, right) if along_y else (top, bottom)
    edges = [start]
    while stop - edges[-1] > 1.6 * width:
        edges.append(edges[-1] + width * np.exp(0.4 * rng.standard_normal()))
    edges = [edge for edge in edges if edge < stop] + [stop]
    for low, high in itertools.pairwise(edges):
        yield (top, low, bottom, high) if along_y else (low, left, high, right)
