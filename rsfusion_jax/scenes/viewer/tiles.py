"""How pixels travel to the browser: lossless, in the type that the file stores."""

import zlib

import numpy as np

SIDE = 256
"""Pixels along a side of a tile."""
_DEFLATE_LEVEL = 6


def encode_tile(values: np.ndarray, valid: np.ndarray) -> bytes:
    """Encode one band of one tile; `unpack` in static/pixels.js decodes it.

    Neighbours in a row are subtracted (integers of up to 4 bytes), the first bytes of all values
    are put before the second bytes and so on, and the result is deflated. All of this is undone
    exactly.

    Args:
        values: (h, w), of the type that the file stores.
        valid: (h, w) bool; it travels along only where it is not true everywhere.

    Returns:
        A zlib stream.
    """
    size = values.dtype.itemsize
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    if values.dtype.kind in "iu" and size <= 4:
        counts = little.view(f"<u{size}")
        little = np.diff(counts, axis=1, prepend=counts.dtype.type(0))  # wraps around
    planes = little.reshape(-1).view(np.uint8).reshape(-1, size).T
    mask = b"" if valid.all() else valid.astype(np.uint8).tobytes()
    return zlib.compress(planes.tobytes() + mask, _DEFLATE_LEVEL)
