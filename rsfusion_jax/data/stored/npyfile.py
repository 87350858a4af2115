"""Reading of `.npy` files."""

from pathlib import Path

import numpy as np


def read_npy(path: Path) -> np.ndarray:
    """Read the array of a `.npy` file; a shape that the file has no bytes for takes no memory.

    Raises:
        ValueError: it is no `.npy` file, holds objects, or is shorter than its shape says.
        OSError: it cannot be read.
    """
    try:
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
