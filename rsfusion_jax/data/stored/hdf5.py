"""Arrays of an HDF5 file, which every process that reads them opens for itself."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py

from rsfusion_jax.data.stored.chunked import Chunked
from rsfusion_jax.data.stored.contiguous import Contiguous, is_contiguous
from rsfusion_jax.errors import UserError


class Hdf5File:
    """Named arrays of one HDF5 file; data are only read when an array is indexed.

    A file handle must not be passed to another process (h5py objects cannot be pickled, and a
    forked handle shares its file position). So only the path is pickled, and each process opens
    the file for itself. The `h5py.Dataset` objects are cached, since looking one up takes three
    times as long as reading 64x64x8 values. Threads may share an instance: h5py serialises its
    calls, and uncompressed arrays are read without h5py (`data.stored.contiguous`). Others are
    checked before they are read (`data.stored.chunked`).

    Args:
        path: path of the file.

    Raises:
        UserError: the file is absent, truncated or not HDF5.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._lock = threading.Lock()
        self._opened = None
        self.arrays()

    def arrays(self) -> Mapping[str, Contiguous | Chunked]:
        """Return the arrays at the root of the file by name."""
        return self._open()[2]

    def keys(self) -> list[str]:
        """Return the names of all objects at the root of the file, arrays or not."""
        return list(self._open()[1])

    def attributes(self) -> dict[str, object]:
        """Return the attributes of the file's root group."""
        return dict(self._open()[1].attrs)

    def _open(self) -> tuple[int, h5py.File, dict[str, Contiguous | Chunked]]:
        opened = self._opened
        if opened is not None and opened[0] == os.getpid():
            return opened
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                with _errors_of(self.path):
                    file = h5py.File(self.path, "r")
                    check_values_inside(self.path, file)
                    arrays = {
                        name: Contiguous(item) if is_contiguous(item) else Chunked(self.path, item)
                        for name, item in file.items()
                        if isinstance(item, h5py.Dataset)
                    }
                self._opened = (os.getpid(), file, arrays)
            return self._opened

    def __getstate__(self) -> dict:
        return {"path": self.path}

    def __setstate__(self, state: dict):
        self.path = state["path"]
        self._lock = threading.Lock()
        self._opened = None


def is_hdf5(path: str | os.PathLike) -> bool:
    """Tell whether a file is HDF5, by its first bytes.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return h5py.is_hdf5(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({_one_line(error)[:100]}); copy it again"
        ) from error


def check_file(path: Path) -> None:
    """Check all groups of a file that another reader opens, such as GDAL.

    Args:
        path: an HDF5 file.

    Raises:
        UserError: it is damaged, its arrays lie in other files, or their chunks unpack to far more
            than is stored.
    """

    def look(_, item) -> None:
        if isinstance(item, h5py.Dataset):
            Chunked(path, item).check_chunks()

    with _errors_of(path), h5py.File(path, "r") as file:
        check_values_inside(path, file, whole=True)
        file.visititems(look)


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Say in a sentence what is wrong with a file that HDF5 cannot open or understand."""
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        if _is_open_elsewhere(error):
            raise UserError(
                f"{path} is open for writing in another program or notebook; close it there and "
                "start again, or run h5clear -s on the file if the program that wrote it was killed"
            ) from error
        raise UserError(
            f"{path} cannot be opened as HDF5 ({_one_line(error)}): expected a complete file, so "
            "check the path or download it again"
        ) from error


def check_values_inside(path: Path, file: h5py.File, whole: bool = False) -> None:
    """Raise `UserError` where a file's arrays lie in other files: what is read is what is named.

    Otherwise a file from elsewhere could name any file of this machine, whose bytes `convert` would
    copy into a new set.

    Args:
        path: what messages call the file.
        file: the open file.
        whole: whether its groups are looked through too.
    """
    outside = []

    def link(name: str, found) -> None:
        if isinstance(found, h5py.ExternalLink):
            outside.append(name)

    def item(name: str, found) -> None:
        if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
            outside.append(name)

    if whole:
        file.visititems_links(link)
        file.visititems(item)
    else:
        for name in file:
            link(name, file.get(name, getlink=True))
            if not outside:
                item(name, file[name])
    if outside:
        raise UserError(
            f"{path}: the values of {outside[0]!r} lie in another file; write all into one file, "
            "as h5repack does, and name that"
        )


def _is_open_elsewhere(error: Exception) -> bool:
    locked = isinstance(error, BlockingIOError) and "lock" in str(error)
    return locked or "already open for write" in str(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
