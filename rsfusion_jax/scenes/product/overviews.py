"""Reduced copies of a finished file, each half as large as the one before.

A reduced pixel is the mean of the valid ones among four, rounded half up, and valid where one of
them is: what GDAL's "average" gives where the sizes are even. All levels come from one pass over
the file.
"""

import collections
import concurrent.futures
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from rsfusion_jax.scenes.pair.raster_file import ThreadHandles
from rsfusion_jax.scenes.work.memory import WRITERS
from rsfusion_jax.scenes.work.pixels import PixelFormat
from rsfusion_jax.scenes.work.tiff import EXTRA_SAMPLES, TiffWriter
from rsfusion_jax.scenes.work.tiles import TileCoder

_SMALLEST = 256
"""Pixels along the longer side of the smallest copy, at least half of them."""

Planes = np.ndarray
"""(bands [+ 1], H, W), as `PixelFormat.convert` gives them."""


def add_overviews(path: Path, size: tuple[int, int], coder: TileCoder) -> None:
    """Adds the reduced copies to a file.

    Args:
        path: path of the file, whose tiles are those of `coder`.
        size: (height, width).
        coder: how its pixels are stored and compressed.
    """
    count = levels(size)
    if not count:
        return
    sizes = [tuple(-(-length // 2**level) for length in size) for level in range(1, count + 1)]
    writer = TiffWriter.appending(path)
    places = [{} for _ in sizes]
    try:
        for level, place, tiles in _encoded(path, size, count, coder):
            places[level - 1][place] = [writer.add(tile) for tile in tiles]
        extra = writer.directories[0].tags.get(EXTRA_SAMPLES)
        directories = []
        for reduced, of_level in zip(sizes, places, strict=True):
            empty = coder.empty_directories(*reduced, writer.big)
            lists = zip(*(of_level[place] for place in sorted(of_level)), strict=True)
            for index, (directory, tiles) in enumerate(zip(empty, lists, strict=True)):
                directories.append((directory.reduced(None if index else extra), list(tiles)))
        writer.close(directories)
    finally:
        writer.abandon()


def levels(size: tuple[int, int]) -> int:
    """Number of reduced copies of an image."""
    count = 0
    while max(size) // 2 ** (count + 1) * 2 > _SMALLEST:
        count += 1
    return count


def halved(planes: Planes, pixels: PixelFormat) -> Planes:
    """The planes at half their size, the last row and column standing alone where it is odd."""
    *_, height, width = planes.shape
    valid = _valid(planes, pixels)
    odd = height % 2, width % 2
    if any(odd):
        planes = np.pad(planes, ((0, 0), (0, odd[0]), (0, odd[1])))
        valid = np.pad(valid, ((0, odd[0]), (0, odd[1])))
    wide = np.float64 if pixels.dtype.kind == "f" else np.int64
    if valid.all():
        if pixels.dtype.itemsize <= 2:
            wide = np.int32
        total = sum(part.astype(wide) for part in _quarters(planes))
        return (total / 4 if wide is np.float64 else (total + 2) >> 2).astype(pixels.dtype)
    counts = sum(part.astype(wide) for part in _quarters(valid))
    total = sum(_quarters(np.where(valid, planes, 0).astype(wide)))
    divisor = np.maximum(counts, 1)
    if wide is np.float64:
        mean = total / divisor
    else:
        mean = (2 * total + divisor) // (2 * divisor)
    bands = mean if pixels.extra is None else mean[:-1]
    return pixels.marked(bands.astype(pixels.dtype), counts > 0)


def _quarters(planes: np.ndarray) -> list[np.ndarray]:
    return [planes[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]


def _valid(planes: Planes, pixels: PixelFormat) -> np.ndarray:
    """(H, W) bool."""
    if pixels.extra is not None:
        return planes[-1] > 0
    if pixels.nodata is None:
        return np.ones(planes.shape[1:], bool)
    if np.isnan(pixels.nodata):
        return ~np.isnan(planes[0])
    return planes[0] != pixels.dtype.type(pixels.nodata)


def _encoded(
    path: Path, size: tuple[int, int], count: int, coder: TileCoder
) -> Iterator[tuple[int, tuple[int, int], list[bytes]]]:
    """(level, (row, column) in tiles, compressed tiles) of all copies."""
    handles, waiting = ThreadHandles(path), collections.deque()
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        try:
            for level, place, planes in _reduced(handles, size, count, coder, pool):
                waiting.append((level, place, pool.submit(coder.encode, planes)))
                if len(waiting) > 2 * WRITERS:
                    level, place, job = waiting.popleft()
                    yield level, place, job.result()
            for level, place, job in waiting:
                yield level, place, job.result()
        finally:
            pool.shutdown(cancel_futures=True)
            handles.close()


def _reduced(
    handles: ThreadHandles, size: tuple[int, int], count: int, coder: TileCoder, pool
) -> Iterator[tuple[int, tuple[int, int], Planes]]:
    """(level, (row, column) in tiles, pixels) of every tile, below what it is made from."""
    tile, pixels = coder.side, coder.pixels
    shapes = [[-(-n // (tile << level)) for n in size] for level in range(count + 1)]

    def first(place):
        starts = [2 * tile * index for index in place]
        lengths = [min(2 * tile, n - start) for n, start in zip(size, starts, strict=True)]
        window = Window(starts[1], starts[0], lengths[1], lengths[0])
        return halved(_read(handles.of_this_thread(), window, pixels), pixels)

    # What becomes one tile of the next level follows each other, so that few tiles wait.
    places = [(row, column) for row in range(shapes[1][0]) for column in range(shapes[1][1])]
    places.sort(key=lambda place: [[n >> level for n in place] for level in range(count, -1, -1)])
    parts: dict = {}
    for place, planes in zip(places, _ahead(pool, first, places), strict=True):
        level = 1
        while True:
            yield level, place, planes
            if level == count:
                break
            parent = tuple(index // 2 for index in place)
            siblings = parts.setdefault((level + 1, parent), {})
            siblings[place] = planes
            wanted = [
                range(2 * index, min(2 * index + 2, n))
                for index, n in zip(parent, shapes[level], strict=True)
            ]
            if len(siblings) < len(wanted[0]) * len(wanted[1]):
                break
            rows = [[siblings[row, column] for column in wanted[1]] for row in wanted[0]]
            planes = halved(_joined(rows), pixels)
            del parts[level + 1, parent]
            level, place = level + 1, parent


def _joined(rows: list[list[Planes]]) -> Planes:
    return np.concatenate([np.concatenate(row, axis=2) for row in rows], axis=1)


def _read(file, window: Window, pixels: PixelFormat) -> Planes:
    planes = file.read(window=window)
    if pixels.extra == "mask":
        valid = file.read_masks(1, window=window) > 0
        planes = np.concatenate([planes, valid[None].astype(planes.dtype)])
    return planes


def _ahead(pool, function: Callable, items: list) -> Iterator:
    """function(item) of every item in order, a few of them computed ahead."""
    waiting = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > WRITERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
