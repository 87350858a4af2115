"""Finished blocks of a scene, stored beside the output until all are there.

Two files: finished blocks as plain arrays at fixed places, and a journal of one line per block,
written after the block itself. A run that was killed has lost at most the blocks it was busy with;
the output file appears only when all are there. Each shard of a scene has its own two files, so
that processes that share nothing but a folder can work on one scene.
"""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from rsfusion_jax.errors import UserError


class Store:
    """Finished blocks of one shard.

    Attributes:
        header: `run`, options of the run, and `resumed`, what a resumed run takes over: side of the
            blocks, number of blocks at once, and coefficients.
        lines: counts of every finished block.
        bytes: size in bytes reserved for a block.
    """

    def __init__(self, path: Path, journal: Path, header: dict):
        self._path, self._journal = path, journal
        self.header, self.lines = header, {}
        self._slots, self.bytes = {}, 0
        self._lock = threading.Lock()
        self._file = self._log = None

    def lay_out(self, slots: dict[int, int], block: int) -> None:
        """Says in which place each block is stored, and how many bytes it has."""
        self._slots, self.bytes = slots, block
        self.lines = {index: line for index, line in self.lines.items() if index in slots}

    def open_for_writing(self) -> None:
        """Opens both files; new ones where no journal was read."""
        new = not self.lines
        self._file = self._path.open("w+b" if new else "r+b", buffering=0)
        self._log = self._journal.open("w")
        self._log.write(json.dumps(self.header) + "\n")
        for line in self.lines.values():
            self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    def write(self, index: int, planes: np.ndarray, line: dict) -> None:
        """Stores a block, then its line; from any thread."""
        data = memoryview(np.ascontiguousarray(planes)).cast("B")
        line = {"block": index, **line}
        with self._lock:
            # Not os.pwrite, which Windows does not have.
            self._file.seek(self._slots[index] * self.bytes)
            while data:
                data = data[self._file.write(data) :]
            self.lines[index] = line
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def view(self, index: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """A finished block, read as it is used."""
        place = self._slots[index] * self.bytes
        return np.memmap(self._path, dtype, "r", place, shape)

    @property
    def complete(self) -> bool:
        """Whether every block is there."""
        return set(self.lines) == set(self._slots)

    def recall(self) -> bool:
        """Reads the journal of an interrupted run, if there is one; a cut-off line is left out.

        Raises:
            UserError: the journal is that of a run with other options.
        """
        if not (self._journal.exists() and self._path.exists()):
            return False
        texts = self._journal.read_text().splitlines()
        rows = []
        for text in texts:
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(text))
        if not rows or not {"run", "resumed"} <= rows[0].keys():
            return False
        check_same_run(self._journal, rows[0]["run"], self.header["run"])
        self.header = rows[0]
        self.lines = {row["block"]: row for row in rows[1:] if "block" in row}
        return True

    def close(self, remove: bool = False) -> None:
        """Closes both files, and deletes them where nothing needs them any more."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if remove:
            self._path.unlink(missing_ok=True)
            self._journal.unlink(missing_ok=True)


def check_same_run(path: Path, theirs: dict, ours: dict) -> None:
    """Refuses to go on with what a run with other options left.

    Raises:
        UserError: they differ.
    """
    ours = json.loads(json.dumps(ours))
    other = sorted(k for k in {*theirs, *ours} if theirs.get(k) != ours.get(k))
    if other:
        raise UserError(
            f"{path} is of a run with another {other[0]} ({theirs.get(other[0])}, now "
            f"{ours.get(other[0])}); give the same options, or start again without --resume"
        )


def store_paths(out: Path, shard: tuple[int, int]) -> tuple[Path, Path]:
    """Names of a shard's two files: `.OUT.partial`, `.OUT.journal`, numbered where of several."""
    part = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
    return out.with_name(f".{out.name}{part}.partial"), out.with_name(f".{out.name}{part}.journal")


def field_path(out: Path) -> Path:
    """Name of the file with the state of a draw: `.OUT.field`."""
    return out.with_name(f".{out.name}.field")


def shard_blocks(count: int, shard: tuple[int, int]) -> range:
    """Blocks of shard i of n, consecutive ones: they share what they read."""
    index, total = shard
    return range((index - 1) * count // total, index * count // total)


def check_room(folder: Path, needed: int) -> None:
    """Refuses a scene for which the disk has no room.

    Raises:
        UserError: less than `needed` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 2**30:.2f} GB free, fusing takes up to {needed / 2**30:.2f} GB "
            "while it works; free some or choose another folder"
        )


@contextlib.contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turns what the system says of a full or broken disk into a sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder"
        ) from error
    except rasterio.errors.RasterioError as error:
        raise UserError(
            f"{out} cannot be written ({' '.join(str(error.__cause__ or error).split())}); free "
            "some space or choose another folder"
        ) from error
