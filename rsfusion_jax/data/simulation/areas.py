"""Division of a scene into areas for train, valid and test, and of an area into patches."""

from collections.abc import Sequence

import numpy as np

from rsfusion_jax.errors import UserError

SPLITS = ("train", "valid", "test")
GAP = 32
"""MS pixels between two splits, more than the MTF kernel and the interpolation reach."""

Window = tuple[slice, slice]
"""Rows and columns in MS pixels."""


def split_areas(height: int, width: int, fractions: Sequence[float]) -> dict[str, Window]:
    """Divide a scene along its longer axis into one area per split, separated by `GAP` pixels.

    Args:
        height, width: size of the MS image in pixels.
        fractions: shares of train, valid and test, in this order, with sum 1; 0 omits a split.

    Returns:
        Windows in MS pixels by split, in their order along the axis.

    Raises:
        UserError: shares that are not three numbers with sum 1, or a scene that is too small.
    """
    shares = dict(zip(SPLITS, fractions, strict=False))
    if len(fractions) != 3 or not (min(fractions) >= 0 and abs(sum(fractions) - 1) <= 1e-6):
        raise UserError(
            f"--split={','.join(f'{f:g}' for f in fractions)} must be three shares (train, valid, "
            "test) that add up to 1, as in --split=0.8,0.1,0.1"
        )
    shares = {name: share for name, share in shares.items() if share > 0}
    length = max(height, width)
    usable = length - GAP * (len(shares) - 1)
    if usable < len(shares):
        raise UserError(
            f"a scene of {height}x{width} MS pixels is too small for {len(shares)} splits {GAP} "
            "pixels apart; use a larger scene or fewer splits"
        )
    ends = np.round(usable * np.cumsum(list(shares.values()))).astype(int)
    areas, begin = {}, 0
    for index, (name, end) in enumerate(zip(shares, ends, strict=True)):
        along = slice(begin + GAP * index, int(end) + GAP * index)
        areas[name] = (along, slice(0, width)) if height >= width else (slice(0, height), along)
        begin = int(end)
    return areas


def patch_windows(complete: np.ndarray, side: int | None, step: int) -> tuple[list[Window], int]:
    """Divide an area into non-overlapping patches and drop those that contain nodata.

    Args:
        complete: (H, W) bool, True at pixels with data.
        side: side of a patch in pixels; None for the whole area, cropped to multiples of `step`.
        step: sizes of patches are multiples of this number of pixels.

    Returns:
        The windows without nodata, row by row, and the number of dropped windows.
    """
    height, width = (size // step * step for size in complete.shape)
    rows, columns = (height, width) if side is None else (side, side)
    windows = [
        (slice(top, top + rows), slice(left, left + columns))
        for top in range(0, height - rows + 1, rows or 1)
        for left in range(0, width - columns + 1, columns or 1)
        if rows and columns
    ]
    valid_windows = [window for window in windows if complete[window].all()]
    return valid_windows, len(windows) - len(valid_windows)
