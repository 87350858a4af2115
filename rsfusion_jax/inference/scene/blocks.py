"""How a scene is cut: blocks that are written once, and the fixed-shape windows read for them."""

import dataclasses

from rsfusion_jax.inference.scene.geometry import Span


@dataclasses.dataclass(frozen=True)
class Cut:
    """One axis of one block.

    Attributes:
        start: first pixel written, from the output's edge.
        size: pixels written; fewer than the block's side at the far edge.
        begin: where its window begins in the frame.
        core: first pixel written, from the window's edge.
    """

    start: int
    size: int
    begin: int
    core: int


def cuts(span: Span, side: int, halo: int, align: int) -> tuple[list[Cut], int]:
    """Cuts an axis into blocks whose windows have one length.

    At the frame's ends windows are moved inwards instead of being padded: there the method meets
    the scene's border as it would in the whole image.

    Args:
        span: what is written and the frame around it.
        side: pixels written by a block.
        halo: pixels that a method needs to see around those it writes.
        align: windows begin at multiples of it.

    Returns:
        The cuts, and the windows' length.
    """
    length = min(-(-(min(side, span.size) + 2 * halo) // align) * align + align, span.length)
    inset = span.start - span.frame
    result = []
    for start in range(0, span.size, side):
        size = min(side, span.size - start)
        begin = (inset + start - halo) // align * align
        begin = min(max(begin, 0), span.length - length)
        result.append(Cut(start, size, begin, inset + start - begin))
    return result, length


def even_side(size: int, side: int) -> int:
    """Side at most `side` with which blocks divide `size` evenly: no window serves a few pixels."""
    count = -(-size // side)
    return min(side, -(-size // count // 16) * 16)


def lattice(length: int, tile: int, stride: int) -> list[int]:
    """Where overlapping tiles begin in a frame of `length`; the last one ends with it."""
    last = max(length - tile, 0)
    return [*range(0, last, stride), last]


def touching(starts: list[int], tile: int, begin: int, end: int) -> list[int]:
    """Those of the tiles at `starts` that reach into [begin, end)."""
    return [start for start in starts if start < end and start + tile > begin]
