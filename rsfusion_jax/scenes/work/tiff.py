"""TIFF files put together from tags that GDAL wrote and from tiles that it compressed.

A directory of a TIFF lists tags, among them where each compressed tile lies and how long it is. No
tile depends on another, so tiles that were compressed apart become one file by copying bytes and
writing new lists (TIFF 6.0, sections 2 and 15; BigTIFF has the same structure with wider numbers).
"""

import dataclasses
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_SIZES |= {13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each field type."""
_LONG, _LONG8 = 4, 16
_OFFSETS, _LENGTHS = 324, 325
_ORDER = "<" if sys.byteorder == "little" else ">"
"""GDAL writes in the order of the machine, which predictors depend on."""


@dataclasses.dataclass(frozen=True)
class Tag:
    """One field of a directory: its type, number of values, and the values as bytes."""

    kind: int
    count: int
    data: bytes

    @classmethod
    def of(cls, kind: int, values) -> "Tag":
        """A field of whole numbers."""
        data = np.asarray(values, np.dtype(f"u{_SIZES[kind]}")).tobytes()
        return cls(kind, len(data) // _SIZES[kind], data)

    @property
    def values(self) -> list[int]:
        """The values of a field of whole numbers."""
        return np.frombuffer(self.data, np.dtype(f"u{_SIZES[self.kind]}")).tolist()


@dataclasses.dataclass(frozen=True)
class Directory:
    """One image of a file.

    Attributes:
        tags: the fields by their numbers.
    """

    tags: dict[int, Tag]

    @property
    def tiles(self) -> Iterator[tuple[int, int]]:
        """(offset, length) of every compressed tile, row by row."""
        return zip(self.tags[_OFFSETS].values, self.tags[_LENGTHS].values, strict=True)


def read_directories(data) -> list[Directory]:
    """The directories of a TIFF.

    Args:
        data: the whole file as bytes, written on this machine.
    """
    big = is_big(data)
    link = 8 if big else 4
    directories = []
    while place := struct.unpack_from(_ORDER + ("Q" if big else "I"), data, link)[0]:
        count = struct.unpack_from(_ORDER + ("Q" if big else "H"), data, place)[0]
        place += 8 if big else 2
        tags = {}
        for _ in range(count):
            number, kind = struct.unpack_from(_ORDER + "HH", data, place)
            values = struct.unpack_from(_ORDER + ("Q" if big else "I"), data, place + 4)[0]
            size = values * _SIZES[kind]
            at = place + (12 if big else 8)
            if size > (8 if big else 4):
                at = struct.unpack_from(_ORDER + ("Q" if big else "I"), data, at)[0]
            tags[number] = Tag(kind, values, bytes(data[at : at + size]))
            place += 20 if big else 12
        directories.append(Directory(tags))
        link = place
    return directories


def is_big(data) -> bool:
    """Whether a file is a BigTIFF, which may be larger than 4 GiB."""
    return struct.unpack_from(_ORDER + "H", data, 2)[0] == 43


class TiffWriter:
    """Writes a file: tiles first, then the directories; it is no TIFF before all are there.

    Args:
        path: path of the file.
        big: whether it is a BigTIFF.
    """

    def __init__(self, path: Path, big: bool):
        self._big, self._file = big, path.open("wb")
        mark = b"II" if _ORDER == "<" else b"MM"
        numbers = ("HHHQ", 43, 8, 0, 0) if big else ("HI", 42, 0)
        self._file.write(mark + struct.pack(_ORDER + numbers[0], *numbers[1:]))

    def add(self, tile) -> tuple[int, int]:
        """Appends a compressed tile and returns its offset and length."""
        at = self._file.tell()
        self._file.write(tile)
        return at, len(tile)

    def close(self, directories: Iterable[tuple[Directory, list[tuple[int, int]]]]) -> None:
        """Writes the directories, each with (offset, length) of its tiles, and closes the file."""
        link = 8 if self._big else 4
        for directory, tiles in directories:
            offsets, lengths = zip(*tiles, strict=True)
            wide = _LONG8 if self._big else _LONG
            lists = {_OFFSETS: Tag.of(wide, offsets), _LENGTHS: Tag.of(wide, lengths)}
            link = self._write(Directory(directory.tags | lists), link)
        self._file.close()

    def abandon(self) -> None:
        """Closes the file as it is."""
        self._file.close()

    def _write(self, directory: Directory, link: int) -> int:
        """Writes a directory, links it from `link`, and returns where the next link belongs."""
        file, inline = self._file, 8 if self._big else 4
        number = _ORDER + ("Q" if self._big else "I")
        entries = []
        for name, tag in sorted(directory.tags.items()):
            data = tag.data.ljust(inline, b"\0")
            if len(tag.data) > inline:
                data = struct.pack(number, self._aligned())
                file.write(tag.data)
            entry = struct.pack(_ORDER + "HH", name, tag.kind) + struct.pack(number, tag.count)
            entries.append(entry + data)
        at = self._aligned()
        file.write(struct.pack(_ORDER + ("Q" if self._big else "H"), len(entries)))
        file.write(b"".join(entries) + struct.pack(number, 0))
        end = file.tell()
        file.seek(link)
        file.write(struct.pack(number, at))
        file.seek(end)
        return end - inline

    def _aligned(self) -> int:
        """The next even position, where values must begin."""
        self._file.write(b"\0" * (-self._file.tell() % 8))
        return self._file.tell()
