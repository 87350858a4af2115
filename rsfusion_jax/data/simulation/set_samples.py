"""Samples of a set, computed from the patches of a scene strip by strip.

A strip is computed with margins that exceed the reach of every filter. So samples equal those
computed from the whole area, up to rounding, while only one strip is in memory as floats.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from rsfusion_jax.data.simulation.alignment import Pair
from rsfusion_jax.data.simulation.areas import Window
from rsfusion_jax.data.simulation.cube import Cube
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.ops.resample import interpolate_at

Samples = Iterator[dict[str, np.ndarray]]
"""Iterator over samples, dicts of arrays (H, W, C), in the order of the patches."""

_STRIP = 1024
"""Rows per strip of the finest image; margins of a few hundred rows are computed twice."""


def reduced_samples(scene: Pair | Cube, patches: Sequence[Window], options: dict) -> Samples:
    """Yield `gt`, `ms`, `lms` and `pan` of patches at reduced resolution.

    Args:
        scene: pair or cube whose `ms` becomes `gt`.
        patches: non-overlapping windows in pixels of `gt`, row by row.
        options: keyword arguments of `wald.simulate`.
    """
    ratio = options["ratio"]
    height, width = (size // ratio * ratio for size in scene.ms_valid.shape)
    psf = options["psf"]
    reach = 12 * ratio + max(20, psf.size or 0)  # of the blur and the interpolation after it
    # The margin is larger than this reach, since a nodata pixel within it is filled from a valid
    # pixel that may lie further outside.
    for rows, members in _strips(patches, _STRIP, 3 * reach, ratio):
        rows = slice(rows.start, min(rows.stop, height))
        crop = scene.crop(rows, slice(0, width), ratio)
        pan, ms = crop.filled()
        area = simulate(pan, ms, **options)
        area["gt"] = ms.astype(_stored_type(ms))
        for along, across in members:
            fine = slice(along.start - rows.start, along.stop - rows.start), across
            coarse = tuple(slice(s.start // ratio, s.stop // ratio) for s in fine)
            sample = {
                key: area[key][coarse if key == "ms" else fine].astype(np.float32)
                for key in ("ms", "lms", "pan")
            }
            yield {"gt": area["gt"][fine], **sample}


def full_samples(scene: Pair, patches: Sequence[Window], ratio: int) -> Samples:
    """Yield `ms`, `lms` and `pan` of patches at full resolution; patches are in MS pixels."""
    height, width = scene.ms_valid.shape
    for rows, members in _strips(patches, max(_STRIP // ratio, 1), 20, 1):
        rows = slice(rows.start, min(rows.stop, height))
        pan, ms = scene.crop(rows, slice(0, width), ratio).filled()
        precise = ms if ms.dtype == np.float32 else ms.astype(np.float64)
        # In a corner-aligned pair PAN pixel u lies at MS position (u - (r - 1) / 2) / r.
        positions = [(np.arange(ratio * n) - (ratio - 1) / 2) / ratio for n in ms.shape[:2]]
        lms = interpolate_at(precise, *positions)
        for along, across in members:
            coarse = slice(along.start - rows.start, along.stop - rows.start), across
            fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in coarse)
            yield {
                "ms": ms[coarse].astype(_stored_type(ms)),
                "lms": lms[fine].astype(np.float32),
                "pan": pan[fine].astype(_stored_type(pan)),
            }


def _strips(patches: Sequence[Window], size: int, margin: int, step: int):
    """Yield the rows of each strip with its margins, and the patches in the strip itself.

    The rows start at multiples of `step`; those of the last strip may extend beyond the image.
    """
    height = patches[0][0].stop - patches[0][0].start
    size = max(size // height, 1) * height
    margin = -(-margin // step) * step
    for number, members in itertools.groupby(patches, lambda window: window[0].start // size):
        yield slice(max(number * size - margin, 0), (number + 1) * size + margin), members


def _stored_type(image: np.ndarray) -> np.dtype:
    """Return the dtype for storage: that of the image for integers, float32 for floats."""
    return np.dtype(np.float32) if image.dtype.kind == "f" else image.dtype
