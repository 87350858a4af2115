"""Detection of MATLAB files, and reading of those older than v7.3."""

import math
import os
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy

from rsfusion_jax.data.stored.unpacking import HARMLESS, check_inflated, check_unpacked
from rsfusion_jax.errors import UserError

_HEADER, _COMPRESSED = 128, 15
_TAGS = 4096
"""Bytes of a variable besides its values, at most."""
_NUMBERS = {"double": 8, "single": 4, "logical": 1} | {
    f"{sign}int{bits}": bits // 8 for sign in ("", "u") for bits in (8, 16, 32, 64)
}
"""Types of arrays of numbers, with their bytes per value."""


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
        self._check_sizes()
        try:
            loaded = scipy.io.loadmat(self.path, variable_names=self._names)
        except Exception as error:  # scipy raises a dozen types on damaged files
            raise self._unreadable(error) from error
        return {name: loaded[name] for name in self._names if name in loaded}

    def _check_sizes(self) -> None:
        """Refuse what is no array of numbers, and what takes far more memory than is stored."""
        try:
            variables = scipy.io.whosmat(self.path)
        except Exception as error:
            raise self._unreadable(error) from error
        sizes, length = {}, self.path.stat().st_size
        for name, shape, kind in variables:
            if name not in self._names:
                continue
            if kind not in _NUMBERS:
                raise UserError(
                    f"{self.path}: {name!r} is a {kind}, expected an array of numbers; save it as "
                    "one, or under another name"
                )
            sizes[name] = math.prod(shape) * _NUMBERS[kind] + _TAGS
            check_unpacked(self.path, repr(name), sizes[name], length)
        # What MATLAB's headers say may be wrong; what the bytes come to is not.
        with self.path.open("rb") as file:
            for (name, *_), (start, stored) in zip(variables, _compressed(file), strict=False):
                if name in sizes and stored > HARMLESS:
                    file.seek(start)
                    check_inflated(self.path, repr(name), file, stored, sizes[name])

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


def _compressed(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield where each variable's compressed bytes begin and how many they are; 0 if they are none.

    Of a file of format 5; one of format 4 has no header and compresses nothing.
    """
    order = {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[-2:])
    at = _HEADER
    while order:
        file.seek(at)
        tag = file.read(8)
        if len(tag) < 8:
            return
        kind, stored = struct.unpack(f"{order}II", tag)
        yield at + 8, stored if kind == _COMPRESSED else 0
        at += 8 + stored
