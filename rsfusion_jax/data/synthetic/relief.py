"""What heights do: cast shadows, and the double bounce and layover that a radar sees."""

import numpy as np

_COARSENESS = 2
"""Heights are marched on a grid this many sub-pixels wide; shadows stay sub-pixel sharp."""


def height_map(labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Object heights in metres on every second sub-pixel, float32."""
    return height.astype(np.float32)[labels[::_COARSENESS, ::_COARSENESS]]


def march(heights: np.ndarray, azimuth: float, slope: float, step: float) -> np.ndarray:
    """Highest line of sight over each cell when looking towards `azimuth`, in metres.

    Args:
        heights: (h, w) metres.
        azimuth: direction to look at, radians from +x to +y.
        slope: rise of the line of sight per horizontal metre, e.g. the sun's tangent.
        step: metres per cell.

    Returns:
        (h, w): the greatest over k of `heights` k cells away towards `azimuth` minus the rise of
        the line on its way; a cell lower than that is hidden.
    """
    reach = float(heights.max()) / slope / step
    direction = np.array([np.sin(azimuth), np.cos(azimuth)])
    rows, columns = heights.shape
    best = np.zeros_like(heights)
    stride = 1.0 if reach < 60 else reach / 60
    distance = 1.0
    while distance <= reach:
        dy, dx = (round(value) for value in direction * distance)
        here = (slice(max(0, -dy), rows - max(0, dy)), slice(max(0, -dx), columns - max(0, dx)))
        there = (slice(max(0, dy), rows + min(0, dy)), slice(max(0, dx), columns + min(0, dx)))
        np.maximum(best[here], heights[there] - np.float32(distance * slope * step), out=best[here])
        distance += stride
    return best


def cast_shadow(labels, height, gsd, supersampling, elevation, azimuth) -> np.ndarray:
    """Whether the sun misses a sub-pixel, bool like `labels`."""
    heights = height_map(labels, height)
    if not heights.any():
        return np.zeros(labels.shape, bool)
    step = _COARSENESS * gsd / supersampling
    horizon = march(heights, azimuth, float(np.tan(elevation)), step)
    dark = horizon > heights + 0.4
    return dark.repeat(_COARSENESS, axis=0).repeat(_COARSENESS, axis=1)
