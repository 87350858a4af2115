"""Read and write `.safetensors` files; the package is imported only when they are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsfusion_jax.errors import UserError

SUFFIX = ".safetensors"


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a `.safetensors` file by name.

    The format has no checksums: only damage that changes its header or length is found.

    Raises:
        UserError: the file is damaged or of another format.
    """
    import ml_dtypes  # noqa: F401  (makes the name bfloat16 known to NumPy)
    import safetensors.numpy
    from safetensors import SafetensorError

    try:
        return dict(safetensors.numpy.load_file(path))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as a safetensors file ({error}); download or save it again"
        ) from error


def read_notes(path: Path) -> dict[str, str]:
    """Read the notes that stand beside the arrays of a `.safetensors` file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read as a safetensors file ({error}); download or save it again"
        ) from error


def write_safetensors(
    path: Path, tensors: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None
) -> None:
    """Write arrays, and notes beside them, as a `.safetensors` file that PyTorch programs load."""
    import safetensors.numpy

    # The package writes the memory of an array as it lies, so a transposed view must be copied.
    arrays = {name: np.array(value, order="C") for name, value in tensors.items()}
    # Not its `save_file`, which makes the file private.
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"format": "pt", **(notes or {})}))
