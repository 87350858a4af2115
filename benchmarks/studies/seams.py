"""How visible the edges of tiles are in a fused image."""

from collections.abc import Sequence

import numpy as np


def seam(image: np.ndarray, edges: Sequence[int]) -> float:
    """Divide the mean step between neighbouring pixels at edges by the mean step elsewhere.

    Args:
        image: (H, W, C), H = W.
        edges: last row, and last column, of every tile; 1 where tiles cannot be seen.
    """
    steps = [np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2)) for axis in (0, 1)]
    at_edges = np.zeros(len(steps[0]), bool)
    at_edges[list(edges)] = True
    return float(np.mean([step[at_edges].mean() / step[~at_edges].mean() for step in steps]))
