"""The files of a delivery: those of a folder, a .zip or a .tar, without unpacking it."""

import dataclasses
import os
import re
import tarfile
import zipfile
from pathlib import Path

from rsfusion_jax.archives import check_archive
from rsfusion_jax.errors import UserError

_MOST = 20_000
"""Files of a folder beyond which it is no delivery."""


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of a delivery.

    Attributes:
        root: the folder, archive or file that was given.
        names: their names within it, with slashes, sorted.
    """

    root: Path
    names: tuple[str, ...]

    def find(self, pattern: str) -> list[str]:
        """Names whose last part matches a regular expression, whatever the case."""
        whole = re.compile(pattern, re.IGNORECASE)
        return [name for name in self.names if whole.fullmatch(name.rpartition("/")[2])]

    def beside(self, name: str, other: str) -> str:
        """The name of a file in the same folder as `name`; `other` may lead to folders below."""
        folder = name.rpartition("/")[0]
        return f"{folder}/{other}" if folder else other

    def gdal(self, name: str) -> str:
        """What GDAL calls a file."""
        inside = self._archive
        path = os.path.abspath(self.root)
        return f"/vsi{inside}/{path}/{name}" if inside else os.path.join(path, name)

    def text(self, name: str) -> str:
        """The text of a file."""
        if self._archive == "zip":
            with zipfile.ZipFile(self.root) as archive:
                data = archive.read(name)
        elif self._archive == "tar":
            with tarfile.open(self.root) as archive:
                inside = name if name in archive.getnames() else f"./{name}"
                data = archive.extractfile(inside).read()
        else:
            data = (self.root / name).read_bytes()
        return data.decode("utf-8", errors="replace")

    @property
    def _archive(self) -> str | None:
        if self.root.is_dir():
            return None
        return "zip" if zipfile.is_zipfile(self.root) else "tar"


def list_files(path: Path) -> Files:
    """List the files of a folder, an archive, or of the folder that a file of it lies in.

    Raises:
        UserError: no such folder or file, or a folder with far more files than a delivery.
    """
    if not path.exists():
        raise UserError(
            f"{path} does not exist; give PAN, MS and OUT, or a product as it was delivered and OUT"
        )
    if path.is_file():
        check_archive(path)
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            return Files(path, tuple(sorted(names)))
        if path.is_file() and tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                names = archive.getnames()
            return Files(path, tuple(sorted(name.removeprefix("./") for name in names)))
        folder, names = path if path.is_dir() else path.parent, []
        for at, _, inside in os.walk(folder):
            below = Path(at).relative_to(folder)
            names += [(below / name).as_posix() for name in inside]
            if path.is_file():
                break
            if len(names) > _MOST:
                raise UserError(f"{path} holds more than {_MOST} files; give one product's folder")
    except (OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise UserError(f"{path} cannot be read ({error}); copy it again") from error
    return Files(folder, tuple(sorted(names)))
