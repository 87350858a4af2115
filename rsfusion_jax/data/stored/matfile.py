"""Detection of MATLAB files, and reading of those older than v7.3."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy

from rsfusion_jax.errors import UserError


def is_matlab(path: str | os.PathLike) -> bool:
    """Return whether a file was written by MATLAB, according to its suffix or header.

    This matters for v7.3 files too: they are HDF5, but MATLAB writes arrays column-major, so that
    their axes are reversed in h5py, which cannot be seen from an array's shape.
    """
    path = Path(path)
    if path.suffix.lower() == ".mat":
        return True
    with path.open("rb") as file:
        return file.read(10) in (b"MATLAB 5.0", b"MATLAB 7.3")


class MatFile:
    """Named arrays of a MATLAB file older than v7.3.

    The format compresses whole variables, which cannot be read in parts. So the named variables are
    loaded into memory, once per process. Convert large sets to `.h5`.

    Args:
        path: path of the file.
        names: variables to load; others are listed but never decoded.

    Raises:
        UserError: the file is absent, truncated or no MATLAB file.
    """

    def __init__(self, path: str | os.PathLike, names: tuple[str, ...]):
        self.path = Path(path)
        self._names = names
        self._lock = threading.Lock()
        self._arrays = None
        self.arrays()

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Return the loaded variables by name, as far as they are in the file."""
        with self._lock:
            if self._arrays is None:
                self._arrays = self._load()
            return self._arrays

    def attributes(self) -> dict[str, object]:
        """Return an empty dict, since the format has no attributes."""
        return {}

    def keys(self) -> list[str]:
        """Return the names of all variables in the file."""
        try:
            return [name for name, _, _ in scipy.io.whosmat(self.path)]
        except Exception as error:
            raise self._unreadable(error) from error

    def _load(self) -> dict[str, np.ndarray]:
        try:
            loaded = scipy.io.loadmat(self.path, variable_names=self._names)
        except Exception as error:  # scipy raises a dozen types on damaged files
            raise self._unreadable(error) from error
        return {name: loaded[name] for name in self._names if name in loaded}

    def _unreadable(self, error: Exception) -> UserError:
        return UserError(
            f"{self.path} cannot be read as a MATLAB file ({' '.join(str(error).split())}): "
            "expected a complete .mat set, so check the path or download the file again"
        )

    def __getstate__(self) -> dict:
        return {"path": self.path, "_names": self._names}

    def __setstate__(self, state: dict):
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._arrays = None
