"""Crops, flips and rotations that keep every MS pixel where the set's phase says it is."""

import numpy as np

from rsfusion_jax.data.source import Sample
from rsfusion_jax.errors import UserError

_STEPS = {"ms": 0, "pan_full": 2}
"""How often the ratio multiplies the MS grid where it is not once, as on the PAN grid."""


def random_crop(sample: Sample, rng: np.random.Generator, patch_size: int, ratio: int) -> Sample:
    """Cuts one square window out of all arrays, starting at a multiple of the ratio.

    Args:
        sample: arrays on the PAN grid (H, W, ...), `ms` (H / ratio, W / ratio, C) and, of windows
            of a scene, `pan_full` (ratio H, ratio W, G).
        rng: chooses the window, uniformly over all MS pixels where it can start.
        patch_size: side of the window in PAN pixels, a multiple of `ratio`.
        ratio: PAN pixels per MS pixel.

    Returns:
        Views, `patch_size` square on the PAN grid and accordingly on the others.

    Raises:
        UserError: the sample is smaller than the window.
    """
    side = patch_size // ratio
    height, width, _ = sample["ms"].shape
    if side > min(height, width):
        raise UserError(
            f"patch_size={patch_size} exceeds a sample of {height * ratio}x{width * ratio} PAN "
            "pixels; choose a smaller patch_size or None for whole samples"
        )
    row, column = rng.integers(0, (height - side + 1, width - side + 1))
    return {
        key: array[row * r : (row + side) * r, column * r : (column + side) * r]
        for key, array in sample.items()
        for r in (ratio ** _STEPS.get(key, 1),)
    }


def dihedral(sample: Sample, element: int, ratio: int, remake_ms: bool) -> Sample:
    """One of the eight flips and rotations of a square sample.

    A flip of a decimated pair would move its phase from r // 2 to r - 1 - r // 2 (at ratio 4,
    from 2 to 1). There the flipped `lms` is decimated again instead: the new `ms` are the
    interpolated values at the pixels that carry the phase. Transposition moves nothing.

    Args:
        sample: square arrays; `lms` passes through `ms` where `remake_ms` is set.
        element: 0..7; bit 0 transposes, then bit 1 flips rows and bit 2 columns.
        ratio: PAN pixels per MS pixel.
        remake_ms: True for the phase ratio // 2 of an even ratio; False where MS pixels lie
            symmetrically, at (ratio - 1) / 2, and `ms` is flipped like the rest.

    Returns:
        Views of the same shapes.
    """
    transpose, flip_rows, flip_columns = element & 1, element & 2, element & 4
    turned = {}
    for key, array in sample.items():
        array = array.swapaxes(0, 1) if transpose else array
        array = array[::-1] if flip_rows else array
        turned[key] = array[:, ::-1] if flip_columns else array
    if remake_ms and (flip_rows or flip_columns):
        turned["ms"] = turned["lms"][ratio // 2 :: ratio, ratio // 2 :: ratio]
    return turned
