"""The windows of a scene: read, put together for the device, the same shape every time."""

import dataclasses

import numpy as np

from rsfusion_jax.scenes.pair.enlarge import Reading, covered, reading
from rsfusion_jax.scenes.pair.geometry import ScenePair, Span
from rsfusion_jax.scenes.work.batch import TilePlaces, WindowBatch
from rsfusion_jax.scenes.work.blending import TOGETHER
from rsfusion_jax.scenes.work.program import FieldReader, WindowProgram, WindowSpec
from rsfusion_jax.scenes.work.tiles import tile_side

_MS_REACH = 16
"""MS pixels around a window that are searched for what fills a hole."""
_PER_BLOCK = 64
"""What a block costs apart from its pixels, in pixels along a side."""


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


def whole_tiles(size: int, side: int, halo: int) -> int:
    """Side of blocks that hold whole tiles of the file, with the fewest pixels in all windows.

    Args:
        size: pixels that are written along an axis.
        side: the largest side.
        halo: pixels that a window holds around its block.
    """
    tile = tile_side(side)
    sides = range(side // tile * tile, 0, -tile)
    return min(sides, key=lambda s: -(-size // s) * (min(s, size) + 2 * halo + _PER_BLOCK))


def lattice(length: int, tile: int, stride: int) -> list[int]:
    """Where overlapping tiles begin in a frame of `length`; the last one ends with it."""
    last = max(length - tile, 0)
    return [*range(0, last, stride), last]


def touching(starts: list[int], tile: int, begin: int, end: int) -> list[int]:
    """Those of the tiles at `starts` that reach into [begin, end)."""
    return [start for start in starts if start < end and start + tile > begin]


@dataclasses.dataclass(frozen=True)
class Block:
    """One block: what is written, and the window that is read for it."""

    index: int
    rows: Cut
    columns: Cut

    @property
    def core(self) -> tuple[slice, slice]:
        """What is written, in pixels of the window."""
        return tuple(slice(cut.core, cut.core + cut.size) for cut in (self.rows, self.columns))


class WindowReader:
    """All blocks of a scene, and their windows.

    Args:
        scene: the pair.
        side: PAN pixels along a side of a block at most.
        halo: PAN pixels that a window holds around what is written.
        align: windows begin at multiples of it.
        spec: windows of a network or method, of which its tiles, its `inner_reach` and `around` are
            used; None for none of them.
        field: source of the batches' `field`; None.

    Attributes:
        blocks: in the order of the output's rows.
        side: PAN pixels along a side of a block at most.
        sides: height and width of a block in PAN pixels.
        shape: (P, Q) of every window.
    """

    def __init__(
        self,
        scene: ScenePair,
        side: int,
        halo: int,
        align: int,
        spec: WindowSpec | None = None,
        field: FieldReader | None = None,
    ):
        self.scene, self.side = scene, side
        self._halo, self._field = halo, field
        self._spec = None if spec is None or spec.tile is None else spec
        self._around = 0 if spec is None else spec.around
        self._inner = None
        if spec is not None and spec.inner_reach is not None:
            self._inner = spec.inner_reach + spec.around
        self.sides = tuple(whole_tiles(size, side, halo) for size in scene.size)
        rows, height = cuts(scene.rows, self.sides[0], halo, align)
        columns, width = cuts(scene.columns, self.sides[1], halo, align)
        self.shape = height, width
        pairs = [(row, column) for row in rows for column in columns]
        self.blocks = [Block(index, *pair) for index, pair in enumerate(pairs)]
        if self._spec is not None:
            tile, stride = self._spec.tile, self._spec.tile - self._spec.overlap
            spans = scene.rows, scene.columns
            self._starts = [lattice(span.length, tile, stride) for span in spans]
            counts = [len(self._tiles(block)) for block in self.blocks]
            self._count = -(-max(counts) // TOGETHER) * TOGETHER

    @classmethod
    def of(cls, program: WindowProgram, scene: ScenePair, side: int) -> "WindowReader":
        """The windows that a program computes a scene by."""
        spec = program.spec
        return cls(scene, side, spec.halo, spec.align, spec, program.field)

    def over(self, row: int, column: int, height: int, width: int) -> list[Block]:
        """The blocks that a part of the output lies on."""
        ranges = [
            range(start // side, -(-(start + size) // side))
            for start, size, side in zip((row, column), (height, width), self.sides, strict=True)
        ]
        across = -(-self.scene.size[1] // self.sides[1])
        return [self.blocks[i * across + j] for i in ranges[0] for j in ranges[1]]

    def read(self, block: Block) -> tuple[WindowBatch, np.ndarray]:
        """A block's window, without a batch axis, and (H, W) bool: what is valid in its core."""
        scene = self.scene
        pan, valid = scene.pan.read(*self._fine(block), reach=self._halo)
        rows, columns = self._readings(block)
        ms, ms_valid = scene.ms.read(
            (rows.start, rows.stop), (columns.start, columns.stop), reach=_MS_REACH
        )
        valid = valid & covered(ms_valid, rows, columns)
        core = block.core
        weight = np.zeros(self.shape, np.float32)
        weight[core] = valid[core]
        window = WindowBatch(
            pan=pan,
            ms=ms,
            rows_fine=rows.fine,
            rows_coarse=rows.coarse,
            columns_fine=columns.fine,
            columns_coarse=columns.coarse,
            weight=weight,
            field=None if self._field is None else self._field.read(*self._in_frame(block)),
            tiles=None if self._spec is None else self._places(block),
            inner=None if self._inner is None else self._around_core(block),
        )
        return window, valid[core]

    def needed(self, blocks: list[Block]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """(start, stop) of the rows and columns of PAN, and of MS, that reading blocks may touch.

        They may lie beyond the images.
        """
        fine = [self._fine(block) for block in blocks]
        coarse = [[(r.start, r.stop) for r in self._readings(block)] for block in blocks]
        return tuple(
            [
                (min(b[axis][0] for b in bounds) - reach, max(b[axis][1] for b in bounds) + reach)
                for axis in (0, 1)
            ]
            for bounds, reach in ((fine, self._halo), (coarse, _MS_REACH))
        )

    def _in_frame(self, block: Block) -> tuple[slice, slice]:
        """A block's window in pixels of the frame."""
        return tuple(
            slice(cut.begin, cut.begin + length)
            for cut, length in zip((block.rows, block.columns), self.shape, strict=True)
        )

    def _fine(self, block: Block) -> list[tuple[int, int]]:
        """(start, stop) of a block's window in PAN pixels, rows and columns."""
        spans, begins = (
            (self.scene.rows, self.scene.columns),
            (block.rows.begin, block.columns.begin),
        )
        return [
            (span.frame + begin, span.frame + begin + length)
            for span, begin, length in zip(spans, begins, self.shape, strict=True)
        ]

    def _readings(self, block: Block) -> list[Reading]:
        """What a block's window needs of MS, rows and columns."""
        spans, begins = (
            (self.scene.rows, self.scene.columns),
            (block.rows.begin, block.columns.begin),
        )
        return [
            reading(span, begin, length)
            for span, begin, length in zip(spans, begins, self.shape, strict=True)
        ]

    def _around_core(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of a window around its core, as many in every window."""
        result = []
        for axis, cut in enumerate((block.rows, block.columns)):
            length = self.shape[axis]
            size = min(min(self.sides[axis], self.scene.size[axis]) + 2 * self._inner, length)
            begin = min(max(cut.core - self._inner, 0), length - size)
            result.append(np.arange(begin, begin + size, dtype=np.int32))
        return tuple(result)

    def _tiles(self, block: Block) -> list[tuple[int, int]]:
        """Where the tiles of the scene's lattice that reach into a block begin in its window."""
        along = []
        for cut, starts in zip((block.rows, block.columns), self._starts, strict=True):
            begin = cut.begin + cut.core
            end = begin + cut.size + self._around
            needed = touching(starts, self._spec.tile, begin - self._around, end)
            along.append([start - cut.begin for start in needed])
        return [(top, left) for top in along[0] for left in along[1]]

    def _places(self, block: Block) -> TilePlaces:
        tiles = self._tiles(block)
        fill = self._count - len(tiles)
        tops, lefts = np.array(tiles + tiles[-1:] * fill, np.int32).T
        used = np.array([1.0] * len(tiles) + [0.0] * fill, np.float32)
        return TilePlaces(tops, lefts, used, np.array(-(-len(tiles) // TOGETHER), np.int32))
