"""Which count stands for 1 in weights that have no scale of their own."""

from collections.abc import Iterable

import numpy as np


def full_scale(values: Iterable[np.ndarray], bits: int | None = None) -> float:
    """Full scale for the values of PAN and MS: the divisor belongs to the weights and is free.

    Counts: 2**b - 1 with the bits that the files state, else with the fewest that hold the
    brightest value. Fractions: the power of two from 1 on that holds it.

    Args:
        values: valid pixels of each image.
        bits: per count, where the files say so.
    """
    values = list(values)
    peak = max(float(image.max()) for image in values)
    if any(v.dtype.kind == "f" and np.any(v != np.rint(v)) for v in values) or peak <= 1:
        return float(2 ** max(int(np.ceil(np.log2(peak))) if peak > 0 else 0, 0))
    needed = int(np.ceil(np.log2(peak + 1)))
    return float(2 ** max(bits or 8, needed) - 1)
