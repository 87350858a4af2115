"""Small parts of a scene, spread over it, on which shifts, gains and indices are measured."""

import dataclasses
import functools
import math

import numpy as np

from rsfusion_jax.scenes.pair.enlarge import Reading, covered, enlarge_small, reading
from rsfusion_jax.scenes.pair.geometry import ScenePair


@dataclasses.dataclass(frozen=True)
class ScenePart:
    """PAN and MS of one part of a scene.

    Attributes:
        row, column: where it begins in the output.
        pan: (H, W, G) float32.
        raw: (h, w, C): MS pixels of the file.
        readings: how `raw` was read along rows and columns.
        place: PAN position, in the part, of the centre of the first pixel of `raw`.
        valid: (H, W) bool: what is valid in both images; the rest is filled from nearby.
        raw_valid: (h, w) bool: what is valid in `raw`.
    """

    row: int
    column: int
    pan: np.ndarray
    raw: np.ndarray
    readings: tuple[Reading, Reading]
    place: tuple[float, float]
    valid: np.ndarray
    raw_valid: np.ndarray

    @functools.cached_property
    def ms(self) -> np.ndarray:
        """(H / r, W / r, C): MS at the method's own phase and ratio."""
        rows, columns = self.readings
        return enlarge_small(self.raw, rows.coarse, columns.coarse)

    @functools.cached_property
    def lms(self) -> np.ndarray:
        """(H, W, C): MS on the PAN grid."""
        rows, columns = self.readings
        return enlarge_small(self.raw, rows.fine, columns.fine)


def read_parts(
    scene: ScenePair, side: int, count: int, tries: int = 4, least: float = 1.0
) -> list[ScenePart]:
    """Reads up to `count` parts in which every pixel is valid.

    Args:
        scene: the pair.
        side: PAN pixels along a side, less where the scene is smaller.
        count: largest number of parts.
        tries: places that are tried per part.
        least: share of valid pixels from which parts are taken where no part is complete: scenes
            under clouds or with missing stripes have none.
    """
    spans = (scene.rows, scene.columns)
    ratio = spans[0].axis.ratio
    firsts, sizes, steps = [], [], []
    for span in spans:
        first = -(-(span.start - span.frame) // ratio) * ratio
        room = span.start + span.size - span.frame - first
        size = min(side, room) // ratio * ratio
        if size < 8 * ratio:
            return []
        firsts.append(first)
        sizes.append(size)
        steps.append((room - size) // ratio)
    # More parts than cover the scene would measure the same pixels again.
    areas = math.prod(span.size for span in spans), math.prod(sizes)
    count = min(count, -(-areas[0] // areas[1]))
    # A low-discrepancy sequence: the first few places are spread already.
    parts, torn = [], []
    for index in range(count * tries):
        shares = (0.5 + index * 0.7548776662) % 1, (0.5 + index * 0.5698402910) % 1
        begins = [
            first + ratio * round(s * step)
            for first, step, s in zip(firsts, steps, shares, strict=True)
        ]
        part, valid = read_part(scene, begins, sizes)
        if valid.all():
            parts.append(part)
        elif valid.mean() >= least:
            torn.append(part)
        if len(parts) == count or not any(steps):
            break
    return parts or sorted(torn, key=lambda part: -part.valid.mean())[:count]


def read_part(scene: ScenePair, begins, sizes) -> tuple[ScenePart, np.ndarray]:
    """Reads one part, holes filled from the nearest valid pixel, and (H, W) bool: what is valid.

    Args:
        scene: the pair.
        begins: first row and column in PAN pixels from the frame, multiples of the ratio.
        sizes: rows and columns in PAN pixels, multiples of the ratio.
    """
    spans = (scene.rows, scene.columns)
    bounds = [
        (span.frame + begin, span.frame + begin + size)
        for span, begin, size in zip(spans, begins, sizes, strict=True)
    ]
    pan, valid = scene.pan.read(*bounds)
    rows, columns = (reading(*args) for args in zip(spans, begins, sizes, strict=True))
    raw, ms_valid = scene.ms.read((rows.start, rows.stop), (columns.start, columns.stop))
    valid = valid & covered(ms_valid, rows, columns)
    part = ScenePart(
        row=bounds[0][0] - spans[0].start,
        column=bounds[1][0] - spans[1].start,
        pan=pan,
        raw=raw,
        readings=(rows, columns),
        place=tuple(
            span.axis.phi + span.axis.scale * read.start - low
            for span, read, (low, _) in zip(spans, (rows, columns), bounds, strict=True)
        ),
        valid=valid,
        raw_valid=ms_valid,
    )
    return part, valid
