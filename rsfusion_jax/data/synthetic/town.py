"""Land use of built-up blocks: houses, halls, car parks, gardens, sports fields."""

import numpy as np

from rsfusion_jax.data.synthetic.canvas import Box, Canvas
from rsfusion_jax.data.synthetic.country import tree, trees_within

_PITCHED = ("red_tile", "orange_tile", "brown_tile", "slate", "shingle", "shingle", "fibre_cement")
_FLAT = (
    "gravel_roof",
    "bitumen",
    "white_roof",
    "grey_metal",
    "bright_metal",
    "blue_metal",
    "green_metal",
    "red_metal",
    "fibre_cement",
    "worn_concrete",
)
_FLAT_SHARE = (0.27, 0.13, 0.07, 0.15, 0.06, 0.04, 0.03, 0.04, 0.11, 0.10)
CARS = ("white_car", "silver_car", "black_car", "red_car", "blue_car")
CAR_SHARE = (0.28, 0.30, 0.26, 0.08, 0.08)
WAY = (1.0, 6.0)
"""Range in metres of a vehicle's movement between the exposures of MS and PAN, about 0.3 s."""


def car(canvas: Canvas, y: float, x: float, along_y: bool) -> None:
    """Paint a parked vehicle with a dark windscreen and, rarely, sun glint."""
    rng = canvas.rng
    length, width = rng.uniform(3.8, 5.2), rng.uniform(1.7, 2.0)
    if rng.random() < 0.06:
        length, width = rng.uniform(8, 15), 2.6
    size = (length, width) if along_y else (width, length)
    label = canvas.new(rng.choice(CARS, p=CAR_SHARE), height=1.6)
    canvas.rect((y, x, y + size[0], x + size[1]), label)
    if length < 6:
        glass = canvas.new("black_car", height=1.6)
        ahead = (0.28 * size[0], 0) if along_y else (0, 0.28 * size[1])
        deep = (0.6, width) if along_y else (width, 0.6)
        corner = (y + ahead[0], x + ahead[1])
        canvas.rect((*corner, corner[0] + deep[0], corner[1] + deep[1]), glass)
    if rng.random() < 0.015:
        canvas.rect((y + 0.5, x + 0.5, y + 0.9, x + 0.9), canvas.new("glint", height=1.6))


def moving_car(canvas: Canvas, y: float, x: float, along_y: bool, ground: int) -> None:
    """Paint a vehicle that moves by some metres on `ground` between the exposures of MS and PAN."""
    rng = canvas.rng
    length, width = rng.uniform(3.8, 5.2), rng.uniform(1.7, 2.0)
    way = rng.choice((-1, 1)) * rng.uniform(*WAY)
    label = canvas.new(str(rng.choice(CARS, p=CAR_SHARE)))
    ms_only, pan_only = canvas.passing(label, ground)
    start = y if along_y else x
    both = (max(start, start + way), min(start, start + way) + length)
    for (low, high), shown in (
        ((start + way, start + way + length), pan_only),
        ((start, start + length), ms_only),
        (both, label),
    ):
        if high > low:
            canvas.rect((low, x, high, x + width) if along_y else (y, low, y + width, high), shown)


def car_park(canvas: Canvas, box: Box) -> None:
    """Paint a car park: asphalt with painted bays, partly occupied."""
    rng = canvas.rng
    top, left, bottom, right = box
    canvas.rect(box, canvas.new(rng.choice(("asphalt", "old_asphalt", "new_asphalt"))))
    paint = canvas.new("road_paint", shade=0.8)
    occupancy = rng.uniform(0.2, 0.85)
    row = top + 1.0
    while row + 5.5 < bottom:
        canvas.stripes((row, left + 1, row + 5.0, right - 1), paint, 2.6, 0.15, along_y=True)
        for slot in range(int((right - left - 2) / 2.6)):
            if rng.random() < occupancy:
                jitter = rng.uniform(-0.2, 0.3)
                car(canvas, row + 0.3 + jitter, left + 1.4 + 2.6 * slot, along_y=True)
        row += 5.3 if rng.random() < 0.5 else 11.5


def roof_clutter(canvas: Canvas, box: Box, height: float, count: int) -> None:
    """Paint air conditioners, hatches and skylights on a flat roof."""
    rng = canvas.rng
    top, left, bottom, right = box
    for _ in range(count):
        size = np.minimum(0.6 * (1 - rng.random(2)) ** -0.6, 5)
        y = rng.uniform(top, max(top + 0.1, bottom - size[0]))
        x = rng.uniform(left, max(left + 0.1, right - size[1]))
        kind = rng.choice(("grey_metal", "bright_metal", "bitumen", "white_roof", "worn_concrete"))
        label = canvas.new(kind, height=height + rng.uniform(0.3, 2))
        canvas.rect((y, x, y + size[0], x + size[1]), label)


def hall(canvas: Canvas, box: Box, height: float) -> None:
    """Paint a large flat or corrugated roof with parapet and clutter."""
    rng = canvas.rng
    top, left, bottom, right = box
    kind = str(rng.choice(_FLAT, p=_FLAT_SHARE))
    roof = canvas.new(kind, height=height)
    canvas.rect(box, roof)
    if rng.random() < 0.45:
        period = rng.uniform(1.2, 6.0)
        ribs = canvas.new(kind, shade=rng.uniform(0.78, 0.93), height=height, like=roof)
        canvas.stripes(box, ribs, period, period * rng.uniform(0.2, 0.5), rng.random() < 0.5)
    if rng.random() < 0.5:
        parapet = canvas.new("worn_concrete", height=height + 0.5)
        for edge in (
            (top, left, top + 0.5, right),
            (bottom - 0.5, left, bottom, right),
            (top, left, bottom, left + 0.5),
            (top, right - 0.5, bottom, right),
        ):
            canvas.rect(edge, parapet)
    area = (bottom - top) * (right - left)
    if rng.random() < 0.06:
        inner = (top + 1.5, left + 1.5, bottom - 1.5, right - 1.5)
        canvas.stripes(inner, canvas.new("solar_panel", height=height + 0.5), 3.0, 1.8, False)
    roof_clutter(canvas, (top + 1, left + 1, bottom - 1, right - 1), height, int(area / 60))


def house(canvas: Canvas, centre, size, angle: float) -> None:
    """Paint a pitched roof: two sides of different brightness towards the sun, and a chimney."""
    rng = canvas.rng
    kind = str(rng.choice(_PITCHED))
    height = rng.uniform(4, 8)
    half = np.array(size) / 2
    normal = np.array([np.cos(angle), -np.sin(angle)])  # across the ridge, (y, x)
    slope = rng.uniform(0.25, 0.5) * float(normal @ canvas.towards_sun)
    lit = canvas.new(kind, shade=1 + slope, height=height)
    dark = canvas.new(kind, shade=1 - slope, height=height, like=lit)
    canvas.turned(centre, half, angle, dark)
    quarter = np.array(centre) + normal * half[0] / 2
    canvas.turned(quarter, (half[0] / 2, half[1]), angle, lit)
    if rng.random() < 0.6:
        chimney = np.array(centre) + normal * rng.uniform(-1, 1)
        label = canvas.new("worn_concrete", height=height + 1)
        canvas.turned(chimney, (0.5, 0.5), angle, label)


def homes(canvas: Canvas, box: Box) -> None:
    """Paint rows of lots along the block, each with a house and a garden."""
    rng = canvas.rng
    top, left, bottom, right = box
    canvas.rect(box, canvas.new(str(rng.choice(("lawn", "meadow", "dry_grass", "weeds")))))
    along_x = (right - left) >= (bottom - top)
    length, depth = (right - left, bottom - top) if along_x else (bottom - top, right - left)
    rows = max(1, round(depth / 28))
    for row in range(rows):
        position = rng.uniform(0, 3)
        while position < length - 10:
            lot = rng.uniform(13, 26)
            lot_depth = depth / rows
            corner = (top + row * lot_depth, left + position)
            if not along_x:
                corner = (top + position, left + row * lot_depth)
            size = (lot_depth, lot) if along_x else (lot, lot_depth)
            _lot(canvas, corner, size, along_x, street_first=row % 2 == 0)
            position += lot


def _lot(canvas, corner, size, along_x, street_first):
    rng = canvas.rng
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    if rng.random() < 0.7:
        kind = rng.choice(("lawn", "meadow", "dry_grass", "weeds", "bare_soil", "shrub"))
        canvas.rect(box, canvas.new(str(kind)))
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    towards_street = -1 if street_first else 1
    axis = 0 if along_x else 1
    centre = middle.copy()
    centre[axis] += towards_street * size[axis] * rng.uniform(0.05, 0.2)
    drive = canvas.new(str(rng.choice(("concrete", "paving", "old_asphalt", "gravel"))))
    driveway = middle[1 - axis] + rng.choice((-1, 1)) * size[1 - axis] * 0.36
    ends = sorted((middle[axis], middle[axis] + towards_street * size[axis] / 2))
    strip = (ends[0], driveway - 1.4, ends[1], driveway + 1.4)
    canvas.rect(strip if axis == 0 else (strip[1], strip[0], strip[3], strip[2]), drive)
    if rng.random() < 0.5:
        spot = np.array([ends[0] + 0.5, driveway - 0.9])
        car(canvas, *(spot if axis == 0 else spot[::-1]), along_y=axis == 0)
    if rng.random() < 0.93:
        footprint = rng.uniform(7, 11), rng.uniform(9, 16)
        angle = (0.0 if along_x else np.pi / 2) + rng.normal(0, 0.05)
        angle += np.pi / 2 if rng.random() < 0.3 else 0
        house(canvas, centre, np.minimum(footprint, 0.8 * min(size)), angle)
        if rng.random() < 0.4:
            wing = centre + rng.uniform(-4, 4, 2)
            house(canvas, wing, (6.0, 7.0), angle + np.pi / 2)
    garden = middle.copy()
    garden[axis] -= towards_street * size[axis] * 0.28
    if rng.random() < 0.12:
        half = (rng.uniform(1.6, 2.4), rng.uniform(3, 5))
        canvas.turned(garden, (half[0] + 1.2, half[1] + 1.2), 0.0, canvas.new("paving"))
        canvas.turned(garden, half, 0.0, canvas.new("pool"))
    elif rng.random() < 0.3:
        shed = canvas.new(str(rng.choice(("grey_metal", "brown_tile", "fibre_cement"))), height=2.5)
        canvas.turned(garden, rng.uniform(1, 2.2, 2), rng.uniform(0, 0.3), shed)
    for _ in range(rng.poisson(2.2)):
        tree(canvas, canvas.place(box), rng.uniform(1.5, 4.5))


def works(canvas: Canvas, box: Box) -> None:
    """Paint industry: a paved yard with halls, car parks and containers."""
    rng = canvas.rng
    top, left, _, right = box
    canvas.rect(box, canvas.new(str(rng.choice(("worn_concrete", "asphalt", "gravel", "track")))))
    for part in _split(rng, box, 55):
        t, l, b, r = part
        inner = (t + rng.uniform(2, 6), l + rng.uniform(2, 6), b - 3, r - 3)
        draw = rng.random()
        if draw < 0.62:
            hall(canvas, inner, rng.uniform(5, 12))
        elif draw < 0.85:
            car_park(canvas, inner)
        else:
            _containers(canvas, inner)
    trees_within(canvas, (top, left, top + 3, right), 0.02, (1.5, 3.5))


def _containers(canvas, box):
    rng = canvas.rng
    kinds = ("red_metal", "blue_metal", "green_metal", "grey_metal", "white_roof")
    row = box[0]
    while row + 6.5 < box[2]:
        column = box[1]
        while column + 2.6 < box[3]:
            if rng.random() < 0.6:
                label = canvas.new(str(rng.choice(kinds)), height=2.6 * rng.integers(1, 4))
                canvas.rect((row, column, row + 6.1, column + 2.4), label)
            column += 2.7
        row += rng.choice((6.4, 10.0))


def centre(canvas: Canvas, box: Box) -> None:
    """Paint a dense block: tall flat roofs around paved courts with a few trees."""
    rng = canvas.rng
    canvas.rect(box, canvas.new(str(rng.choice(("paving", "worn_concrete", "asphalt", "lawn")))))
    for t, l, b, r in _split(rng, box, 30):
        if rng.random() < 0.72:
            inset = rng.uniform(0.5, 4, 4)
            hall(
                canvas, (t + inset[0], l + inset[1], b - inset[2], r - inset[3]), rng.gamma(4, 2.8)
            )
        elif rng.random() < 0.5:
            car_park(canvas, (t + 1, l + 1, b - 1, r - 1))
        else:
            canvas.rect((t + 1, l + 1, b - 1, r - 1), canvas.new("lawn"))
            trees_within(canvas, (t + 1, l + 1, b - 1, r - 1), 0.012, (2, 5))


def sports(canvas: Canvas, box: Box) -> None:
    """Paint a sports field: a pitch with white lines, a running track, changing rooms."""
    rng = canvas.rng
    top, left, bottom, right = box
    canvas.rect(box, canvas.new("lawn"))
    middle = np.array([top + bottom, left + right]) / 2
    half = np.minimum(np.array([bottom - top, right - left]) / 2 - 4, (34, 52))
    if min(half) < 8:
        trees_within(canvas, box, 0.01, (2, 5))
        return
    canvas.turned(middle, half, 0.0, canvas.new(str(rng.choice(("tartan", "lawn", "sand")))))
    pitch = half - 4
    canvas.turned(middle, pitch, 0.0, canvas.new("road_paint"))
    turf = canvas.new(str(rng.choice(("lawn", "artificial_turf", "green_crop"))))
    canvas.turned(middle, pitch - 0.3, 0.0, turf)
    mown_stripe = canvas.new("lawn", shade=0.9)
    if rng.random() < 0.5:
        low, high = middle - pitch + 0.3, middle + pitch - 0.3
        canvas.stripes((*low, *high), mown_stripe, 10.0, 5.0, along_y=True)
    canvas.turned(middle, (pitch[0], 0.15), 0.0, canvas.new("road_paint"))
    hall(canvas, (top + 1, left + 1, top + 7, left + 16), 4)
    trees_within(canvas, (bottom - 4, left, bottom, right), 0.03, (2, 4))


def _split(rng, box, target):
    """Cut a box recursively into parts whose sides are around `target` metres."""
    top, left, bottom, right = box
    longer = max(bottom - top, right - left)
    if longer < target * rng.uniform(1.0, 2.2):
        return [box]
    cut = rng.uniform(0.33, 0.67)
    if bottom - top > right - left:
        middle = top + cut * (bottom - top)
        parts = (top, left, middle, right), (middle, left, bottom, right)
    else:
        middle = left + cut * (right - left)
        parts = (top, left, bottom, middle), (top, middle, bottom, right)
    return [piece for part in parts for piece in _split(rng, part, target)]
