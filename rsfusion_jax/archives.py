"""Archives that claim far more than they hold are refused before anything of them is read."""

import os
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from rsfusion_jax.errors import UserError

_RATIO, _FREE = 100, 2**26
"""A member may be this many times larger than what is stored of it, besides so many bytes.

Images and weights shrink to a tenth at best; zeros alone to a thousandth."""


def check_archive(path: Path) -> None:
    """Raise `UserError` for a .zip, .tar or .gz that unpacks to far more than it holds.

    The sizes that a .zip or .tar states are compared with the file's own, so that nothing large is
    unpacked to find out. What is no such archive, or is a damaged one, is left to its reader.

    Args:
        path: a file.
    """
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path)
        elif _is_gzip(path) or tarfile.is_tarfile(path):
            _check_stream(path)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, ValueError):
        return


def _check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    size = path.stat().st_size
    # Members that lie in the same bytes: many from few.
    if sum(member.compress_size for member in members) > size:
        _refuse(path, sum(member.file_size for member in members), size)
    for member in members:
        if member.file_size > _FREE + _RATIO * member.compress_size:
            _refuse(path, member.file_size, member.compress_size)


def _check_stream(path: Path) -> None:
    """Check a .tar, compressed or not, or a file compressed alone."""
    size, unpacked = path.stat().st_size, 0
    if _is_gzip(path):
        with path.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            unpacked = int.from_bytes(file.read(4), "little")  # modulo 4 GB
    if unpacked > _FREE + _RATIO * size:
        _refuse(path, unpacked, size)
    unpacked = 0
    for member in _tar_sizes(path):
        unpacked += member
        if unpacked > _FREE + _RATIO * size:
            _refuse(path, unpacked, size)


def _tar_sizes(path: Path) -> Iterable[int]:
    """Yield the size of each member before its content is passed over."""
    with tarfile.open(path) as archive:
        for member in archive:
            yield member.size


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _refuse(path: Path, unpacked: int, packed: int) -> None:
    raise UserError(
        f"{path} claims {unpacked / 2**30:.2f} GB in {packed / 2**20:.3g} MB, as archives do that "
        "are made to fill a machine; if you trust it, unpack it and give the files"
    )
