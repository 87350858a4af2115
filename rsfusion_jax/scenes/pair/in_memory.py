"""Scenes whose images are arrays in memory."""

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import Axis, ScenePair, written_span
from rsfusion_jax.scenes.pair.image import Image


class ArrayImage(Image):
    """An image in memory.

    Args:
        image: pixel values, (H, W, C). Pixels with NaN or infinite values are not valid.
        valid: boolean mask of the valid pixels, (H, W); None if all are.
    """

    def __init__(self, image: np.ndarray, valid: np.ndarray | None = None):
        self.size, self.bands = image.shape[:2], list(range(image.shape[2]))
        self._image = image
        self._valid = np.ones(self.size, bool) if valid is None else valid
        if image.dtype.kind == "f":
            self._valid = self._valid & np.isfinite(image).all(axis=-1)

    def inside(self, rows: slice, columns: slice):
        """Read a window: its pixels, (C, h, w), and their mask, (h, w)."""
        return np.moveaxis(self._image[rows, columns], -1, 0), self._valid[rows, columns]


def array_scene(
    pan,
    ms,
    ms_phase: float | None,
    valid=None,
    *,
    phase: float | None = None,
    align: int | None = None,
    least: int = 0,
) -> tuple[ScenePair, int]:
    """Make the scene of a pair of arrays.

    Args:
        pan: PAN image, (r h, r w, G) or (r h, r w).
        ms: MS image, (h, w, C).
        ms_phase: PAN index of the centre of MS pixel 0; None for r // 2, the convention of the
            public data sets.
        valid: boolean mask of the MS pixels that may be used, (h, w); None for all.
        phase: PAN index of MS pixel 0's centre that the method works at; None for (r - 1) / 2.
        align, least: see `geometry.written_span`; `align` is r by default.

    Returns:
        The scene, and its ratio r.

    Raises:
        UserError: the sizes do not fit each other.
    """
    pan, ms = np.asarray(pan), np.asarray(ms)
    pan = pan[..., None] if pan.ndim == 2 else pan
    if pan.ndim != 3 or ms.ndim != 3 or 0 in (*pan.shape, *ms.shape):
        raise UserError(f"pan {pan.shape} and ms {ms.shape} must be (H, W, G) and (H/r, W/r, C)")
    ratio = pan.shape[0] // ms.shape[0]
    if ratio < 2 or pan.shape[:2] != (ratio * ms.shape[0], ratio * ms.shape[1]):
        raise UserError(
            f"pan is {pan.shape[0]}x{pan.shape[1]} and ms {ms.shape[0]}x{ms.shape[1]}: the ratio "
            "is unknown, expected pan a whole number of times ms, at least 2; crop the pair"
        )
    if valid is not None and np.shape(valid) != ms.shape[:2]:
        raise UserError(f"valid is {np.shape(valid)}, expected that of ms, {ms.shape[:2]}")
    centre = (ratio - 1) / 2
    offset = (ratio // 2 if ms_phase is None else ms_phase) - centre
    phase = centre if phase is None else phase
    spans = [
        written_span(
            Axis(pan.shape[axis], ms.shape[axis], offset, float(ratio), ratio, phase),
            "intersection",
            align or ratio,
            ("rows", "columns")[axis],
            least,
        )
        for axis in (0, 1)
    ]
    mask = None if valid is None else np.asarray(valid, bool)
    return ScenePair(ArrayImage(pan), ArrayImage(ms, mask), *spans), ratio
