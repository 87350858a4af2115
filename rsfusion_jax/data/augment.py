"""Crops, flips and rotations that preserve the phase of MS pixels on the PAN grid."""

import numpy as np

from rsfusion_jax.data.source import Sample
from rsfusion_jax.errors import UserError

_STEPS = {"ms": 0, "pan_full": 2}
"""Power of the ratio that scales the MS grid to an array's grid; 1, the PAN grid, by default."""


def random_crop(sample: Sample, rng: np.random.Generator, patch_size: int, ratio: int) -> Sample:
    """Crop all arrays of a sample to the same random square window.

    Args:
        sample: arrays on the PAN grid (H, W, ...), `ms` (H / ratio, W / ratio, C) and, in samples
            from windows of a scene, `pan_full` (ratio H, ratio W, G).
        rng: random generator; the window's first MS pixel is drawn uniformly.
        patch_size: side of the window in PAN pixels, a multiple of `ratio`.
        ratio: PAN pixels per MS pixel along one axis.

    Returns:
        Views of the arrays: `patch_size` x `patch_size` on the PAN grid, the same area on others.

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
    """Apply one of the eight flips and rotations (the dihedral group) to a square sample.

    Flipping a decimated pair would move its phase from r // 2 to r - 1 - r // 2 (at ratio 4, from
    2 to 1). For such pairs `ms` is not flipped but sampled anew from the flipped `lms`, at the
    pixels of the phase r // 2. Transposition does not change the phase.

    Args:
        sample: square arrays; with `remake_ms`, `lms` must equal `ms` at the centres of MS pixels.
        element: 0..7; bit 0 transposes, then bit 1 flips rows and bit 2 columns.
        ratio: r, PAN pixels per MS pixel along one axis.
        remake_ms: True for the phase ratio // 2 of an even ratio; False for the symmetric phase
            (ratio - 1) / 2, where `ms` is flipped like the other arrays.

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
