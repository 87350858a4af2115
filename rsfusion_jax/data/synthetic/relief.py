"""Lines of sight over object heights, for cast shadows and for radar layover and double bounce."""

import numpy as np

_COARSENESS = 2
"""Sub-pixels per cell side of the height map; two still give shadows sharper than a pixel."""


def height_map(labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Return object heights in metres at every second sub-pixel, float32.

    Args:
        labels: label of every sub-pixel.
        height: height in metres by label.
    """
    return height.astype(np.float32)[labels[::_COARSENESS, ::_COARSENESS]]


def march(heights: np.ndarray, azimuth: float, slope: float, step: float) -> np.ndarray:
    """Return the height below which each cell is hidden when looking towards `azimuth`.

    Args:
        heights: (h, w) object heights in metres.
        azimuth: direction of view, in radians from +x to +y.
        slope: rise of the line of sight per horizontal metre, e.g. the tangent of the sun's
            elevation.
        step: side of a cell in metres.

    Returns:
        (h, w) in metres: the maximum, over all distances towards `azimuth`, of the height there
        minus the rise of the line of sight. A cell that is lower is hidden.
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
    """Return which sub-pixels lie in a cast shadow, bool in the shape of `labels`.

    Args:
        labels: label of every sub-pixel.
        height: height in metres by label.
        gsd: metres per pixel.
        supersampling: sub-pixels along one side of a pixel.
        elevation: elevation of the sun in radians.
        azimuth: direction towards the sun, in radians from +x to +y.
    """
    heights = height_map(labels, height)
    if not heights.any():
        return np.zeros(labels.shape, bool)
    step = _COARSENESS * gsd / supersampling
    horizon = march(heights, azimuth, float(np.tan(elevation)), step)
    dark = horizon > heights + 0.4
    return dark.repeat(_COARSENESS, axis=0).repeat(_COARSENESS, axis=1)
