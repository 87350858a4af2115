"""The channels of a feature map as one picture."""

import numpy as np

_MOST = 16
_PERCENTILES = (1, 99)  # drawn as black and white, in each channel
_GAP = 2


def draw_channels(maps: np.ndarray, most: int = _MOST) -> np.ndarray:
    """Draw the channels of a feature map side by side, each with a stretch of its own.

    Args:
        maps: (H, W, C).
        most: number of channels to draw at most, at equal distances.

    Returns:
        (H', W', 3) uint8: up to four channels in a row, with white lines between.
    """
    height, width, channels = maps.shape
    chosen = np.unique(np.linspace(0, channels - 1, min(channels, most)).round().astype(int))
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    picture = np.full((rows * (height + _GAP), columns * (width + _GAP)), 255, np.uint8)
    for place, channel in enumerate(chosen):
        image = np.asarray(maps[..., channel], np.float32)
        low, high = np.percentile(image, _PERCENTILES)
        grey = 255 * np.clip((image - low) / max(high - low, 1e-12), 0, 1)
        top, left = place // columns * (height + _GAP), place % columns * (width + _GAP)
        picture[top : top + height, left : left + width] = grey.round()
    return np.repeat(picture[..., None], 3, axis=-1)
