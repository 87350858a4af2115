"""An avenue with traffic or a river that crosses the whole image at a random angle."""

import numpy as np

from rsfusion_jax.data.synthetic import town
from rsfusion_jax.data.synthetic.canvas import Canvas


def cross(canvas: Canvas, rng, labels: np.ndarray, kind: str) -> None:
    """Paint an avenue or a river across the image.

    Args:
        canvas: canvas on which the labels are registered.
        rng: random generator.
        labels: label map of the image, which is modified.
        kind: kind of scene; only some kinds may have a river.
    """
    cells = labels.shape[0]
    step = canvas.step
    angle = rng.uniform(0, np.pi)
    offset = rng.uniform(-0.3, 0.3) * cells * step
    sway, wavelength = rng.uniform(0, 10), rng.uniform(150, 400)
    river = kind in ("farmland", "village", "wild", "suburb") and rng.random() < 0.4
    if river:
        half = rng.uniform(2, 12)
        sway *= 2.5
        bank = canvas.new(str(rng.choice(("reed", "wet_soil", "sand", "shrub"))))
        bed = canvas.new(str(rng.choice(("clear_water", "turbid_water", "green_water"))))
        profile = ((0, half + 3, bank), (0, half, bed))
    else:
        half = rng.uniform(4, 12)
        verge = canvas.new(str(rng.choice(("lawn", "dry_grass", "gravel", "worn_concrete"))))
        lane = canvas.new(str(rng.choice(("asphalt", "old_asphalt", "new_asphalt", "concrete"))))
        paint = canvas.new("road_paint")
        profile = (
            (0, half + rng.uniform(1, 4), verge),
            (0, half, lane),
            (half - 0.5, half - 0.3, paint),
            *((3.4 * k - 0.1, 3.4 * k + 0.1, paint) for k in range(1, int(half / 3.4))),
            (0, 0.15 if half < 7 else 0.8, paint if half < 7 else verge),
        )
    axis = (np.arange(cells) - cells / 2 + 0.5) * step
    cars = [] if river else _avenue_cars(canvas, rng, cells * step, half, lane)
    for start in range(0, cells, 32):
        y, x = axis[start : start + 32, None], axis[None, :]
        along = x * np.cos(angle) + y * np.sin(angle)
        across = y * np.cos(angle) - x * np.sin(angle) - offset
        across += sway * np.sin(2 * np.pi * along / wavelength)
        near = np.nonzero(np.abs(across) < half + 6)
        if not near[0].size:
            continue
        along, across = along[near], across[near]
        distance = np.abs(across)
        strip = labels[start : start + 32]
        painted = strip[near]
        for low, high, label in profile:
            painted[(distance >= low) & (distance < high)] = label
        for low, high, middle, label in cars:
            painted[(along > low) & (along < high) & (np.abs(across - middle) < 0.95)] = label
        strip[near] = painted


def _avenue_cars(canvas, rng, extent, half, ground):
    """Return moving vehicles as (start, stop, offset, label) along and across the avenue.

    Each vehicle has one entry for PAN, one for MS, and one for the overlap of the two.
    """
    cars = []
    for _ in range(rng.poisson(extent / 22)):
        offset = rng.choice((-1, 1)) * rng.uniform(0.25, 0.75) * half
        start = rng.uniform(-0.7, 0.7) * extent
        stop = start + (4.5 if rng.random() < 0.85 else 12.0)
        way = np.sign(offset) * rng.uniform(*town.WAY)
        label = canvas.new(str(rng.choice(town.CARS, p=town.CAR_SHARE)))
        ms_only, pan_only = canvas.passing(label, ground)
        cars.append((start + way, stop + way, offset, pan_only))
        cars.append((start, stop, offset, ms_only))
        cars.append((max(start, start + way), min(stop, stop + way), offset, label))
    return cars
