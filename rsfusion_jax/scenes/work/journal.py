"""Finished blocks of a scene, stored beside the output until all are there.

Two files: the compressed tiles of finished blocks one after the other, and a journal of one line
per block, written after the block itself. A run that was killed has lost at most the blocks it was
busy with; the output file appears only when all are there. Each shard of a scene has its own two
files, so that processes that share nothing but a folder can work on one scene.

Every line begins with its own checksum and holds that of its block. What does not agree with them
when a run is resumed, be it cut off or damaged, counts as not done.
"""

import contextlib
import json
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from rsfusion_jax.data.opening import GDAL_ERRORS
from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import is_full_disk, open_own, write_text


class DamagedBlock(UserError):
    """A finished block is not what was written; a resumed run computes it again."""


class Store:
    """Finished blocks of one shard.

    Attributes:
        header: `run`, options of the run, and `resumed`, what a resumed run takes over: side of the
            blocks, number of blocks at once, and coefficients.
        lines: per finished block, its place in the file, the lengths of its tiles, its checksum and
            its counts.
    """

    def __init__(self, path: Path, journal: Path, header: dict):
        self._path, self._journal = path, journal
        self.header, self.lines = header, {}
        self._end, self._lock = 0, threading.Lock()
        self._file = self._log = None

    def open_for_writing(self) -> None:
        """Opens both files; new ones where no journal was read."""
        self._file = open_own(self._path, "r+b" if self.lines else "w+b", buffering=0)
        ends = [line["at"] + sum(line["sizes"]) for line in self.lines.values()]
        self._end = max(ends, default=0)
        self._file.truncate(self._end)
        # Replaced as a whole: a run that is killed meanwhile leaves the old journal.
        lines = map(_sealed, [self.header, *self.lines.values()])
        write_text(self._journal, "".join(lines))
        self._log = open_own(self._journal, "a")

    def write(self, index: int, tiles: Sequence[bytes], counts: dict) -> None:
        """Stores a block, then its line; from any thread."""
        data = memoryview(b"".join(tiles))
        line = {"block": index, "sizes": [len(tile) for tile in tiles], "crc": zlib.crc32(data)}
        with self._lock:
            line |= {"at": self._end, **counts}
            # Not os.pwrite, which Windows does not have.
            self._file.seek(self._end)
            while data:
                data = data[self._file.write(data) :]
            self._end += sum(line["sizes"])
            self._log.write(_sealed(line))
            self._log.flush()
            self.lines[index] = line

    def tiles(self, index: int) -> list[bytes]:
        """The compressed tiles of a finished block.

        Raises:
            DamagedBlock: they are not what was written.
        """
        line = self.lines[index]
        with self._path.open("rb") as file:
            data = _read(file, line)
        if data is None:
            raise DamagedBlock(
                f"{self._path} is damaged at block {index}; run the same command with --resume, "
                "which computes that block again"
            )
        tiles, at = [], 0
        for size in line["sizes"]:
            tiles.append(data[at : at + size])
            at += size
        return tiles

    @property
    def exists(self) -> bool:
        """Whether its files are there."""
        return self._path.exists() and self._journal.exists()

    def complete(self, blocks: Sequence[int]) -> bool:
        """Whether all of these blocks are there."""
        return set(blocks) <= set(self.lines)

    def recall(self, check: bool = True) -> bool:
        """Reads the journal of an interrupted run, if there is one.

        Lines that are cut off or damaged are left out.

        Args:
            check: whether blocks whose bytes are damaged are left out too.

        Raises:
            UserError: the journal is that of a run with other options.
        """
        if not self.exists:
            return False
        texts = self._journal.read_text(errors="replace").splitlines()
        rows = [_unsealed(text) for text in texts]
        if not rows or rows[0] is None or not {"run", "resumed"} <= rows[0].keys():
            return False
        check_same_run(self._journal, rows[0]["run"], self.header["run"])
        self.header = rows[0]
        self.lines = {row["block"]: row for row in rows[1:] if row is not None and "block" in row}
        if check:
            with self._path.open("rb") as file:
                self.lines = {
                    index: line
                    for index, line in self.lines.items()
                    if _read(file, line) is not None
                }
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


def _sealed(line: dict) -> str:
    """A line of the journal, its checksum first."""
    text = json.dumps(line)
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _unsealed(text: str) -> dict | None:
    """What a line of the journal says; None where it is cut off or damaged."""
    seal, _, text = text.partition(" ")
    return json.loads(text) if seal == f"{zlib.crc32(text.encode()):08x}" else None


def _read(file, line: dict) -> bytes | None:
    """A block's bytes; None where they are not what was written."""
    file.seek(line["at"])
    data = file.read(sum(line["sizes"]))
    return data if zlib.crc32(data) == line["crc"] else None


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
    part = shard_mark(shard)
    return out.with_name(f".{out.name}{part}.partial"), out.with_name(f".{out.name}{part}.journal")


def shard_mark(shard: tuple[int, int]) -> str:
    """What the names of a shard's files have before their suffix: "-i-of-n", or nothing."""
    return "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"


def field_path(out: Path) -> Path:
    """Name of the file with the state of a draw: `.OUT.field`."""
    return out.with_name(f".{out.name}.field")


def shard_blocks(count: int, shard: tuple[int, int]) -> range:
    """Blocks of shard i of n, consecutive ones: they share what they read."""
    index, total = shard
    return range((index - 1) * count // total, index * count // total)


@contextlib.contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turns what the system says of a full or broken disk into a sentence."""
    try:
        yield
    except OSError as error:
        advice = "free some space" if is_full_disk(error) else f"look at {error.filename or out}"
        raise UserError(
            f"{out} cannot be written ({error.strerror or error}); {advice} or choose another "
            "folder"
        ) from error
    except GDAL_ERRORS as error:
        raise UserError(
            f"{out} cannot be written ({' '.join(str(error.__cause__ or error).split())}); free "
            "some space or choose another folder"
        ) from error
