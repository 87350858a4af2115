"""How much memory stored arrays may take for the bytes that are stored of them.

A file of a few megabytes may claim arrays of terabytes, or hold zeros that unpack to them. Such
files are refused by size before the memory is taken.
"""

import zlib
from pathlib import Path
from typing import BinaryIO, NoReturn

from rsfusion_jax.errors import UserError

FREE = 2**30
"""Bytes that may always be taken."""
_RATIO = 100
"""Besides them an array may be this many times larger than what is stored of it.

Images shrink to a tenth at best, zeros alone to a thousandth."""
HARMLESS = FREE // 1032
"""Compressed bytes that unpack to at most `FREE`: deflate shrinks to 1/1032 at best."""
_PIECE, _STEP = 2**16, 2**20
"""Packed and unpacked bytes at once."""


def check_unpacked(path: Path, what: str, unpacked: int, stored: int) -> None:
    """Raise `UserError` where something takes far more memory than is stored of it.

    Args:
        path: the file.
        what: what messages call it.
        unpacked: bytes that it takes in memory.
        stored: bytes that are stored of it.
    """
    if unpacked > FREE + _RATIO * stored:
        _refuse(path, what, f"would take {unpacked / 2**30:.3g} GB of memory", stored)


def check_inflated(path: Path, what: str, packed: BinaryIO, stored: int, size: int) -> None:
    """Unpack deflated bytes piece by piece, keeping none, and check what they come to.

    Damaged ones are left to their reader.

    Args:
        path: the file.
        what: what messages call it.
        packed: where the deflated bytes begin.
        stored: number of these bytes.
        size: bytes that they should unpack to.

    Raises:
        UserError: they unpack to more, and to more than `FREE`.
    """
    unpacked, left, stream = 0, stored, zlib.decompressobj()
    try:
        while left > 0 and (piece := packed.read(min(left, _PIECE))):
            left -= len(piece)
            while piece and not stream.eof:
                unpacked += len(stream.decompress(piece, _STEP))
                if unpacked > max(size, FREE):
                    _refuse(path, what, f"unpacks to more than the {size:,} bytes it has", stored)
                piece = stream.unconsumed_tail
    except zlib.error:
        return


def _refuse(path: Path, what: str, problem: str, stored: int) -> NoReturn:
    raise UserError(
        f"{path}: {what} {problem}, where {stored / 2**20:.3g} MB are stored, as in files that are "
        "made to fill a machine; write it again without compression if you trust it"
    )
