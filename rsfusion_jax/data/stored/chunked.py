"""HDF5 arrays in chunks: what reading them takes is checked before anything is read."""

import io
import math
import operator
from pathlib import Path

import h5py
import numpy as np

from rsfusion_jax.data.stored.unpacking import HARMLESS, check_inflated, check_unpacked
from rsfusion_jax.errors import UserError

_DEFLATE, _CHECKSUM = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32
_COMPRESSORS = {_DEFLATE, h5py.h5z.FILTER_LZF, h5py.h5z.FILTER_SZIP}


class Chunked:
    """An HDF5 array, indexed like a dataset; what an index does not touch costs nothing.

    The HDF5 library unpacks a chunk into as much memory as its bytes ask for, whatever the size of
    a chunk should be. So chunks of more than `HARMLESS` bytes are first unpacked for their size
    alone, once.

    Args:
        path: what messages call the file.
        dataset: the array.
    """

    def __init__(self, path: Path, dataset: h5py.Dataset):
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._path, self._dataset = path, dataset
        self._what = repr(dataset.name.lstrip("/"))
        self._unchecked = None

    def __getitem__(self, selection) -> np.ndarray:
        """Return what h5py returns for the same index of integers and slices.

        Raises:
            UserError: it takes far more memory than is stored.
            OSError: the file cannot be read.
        """
        parts = selection if isinstance(selection, tuple) else (selection,)
        parts = (*parts, *[slice(None)] * (len(self.shape) - len(parts)))
        self._check([_limits(part, n) for part, n in zip(parts, self.shape, strict=True)])
        return self._dataset[selection]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[()], dtype)

    def check_chunks(self) -> None:
        """Check every chunk, for readers that take one at a time.

        Raises:
            UserError: one takes far more memory than is stored.
        """
        if self._dataset.chunks is not None and self._dataset.id.get_storage_size():
            self._check([(0, 1)] * len(self.shape))
            self._check_inside([(0, n) for n in self.shape])

    def _check(self, limits: list[tuple[int, int]]) -> None:
        """Raise `UserError` where a part takes far more memory than is stored of it.

        Args:
            limits: start and end of the part along each axis.
        """
        size, chunks = self._dataset.dtype.itemsize, self._dataset.chunks
        whole, stored = math.prod(self.shape) * size, self._dataset.id.get_storage_size()
        if whole and not stored:
            raise UserError(
                f"{self._path}: {self._what} holds no values, though its shape is {self.shape}; "
                "write it again"
            )
        taken = math.prod(end - start for start, end in limits) * size
        if chunks is not None:
            taken = max(taken, math.prod(chunks) * size)
            self._check_filters()
        share = min(taken / max(whole, 1), 1)
        check_unpacked(self._path, self._what, taken, int(share * stored))
        if chunks is not None and stored > HARMLESS:
            self._check_inside(limits)

    def _check_inside(self, limits: list[tuple[int, int]]) -> None:
        """Unpack the large chunks that a part touches for their size."""
        if self._unchecked is None:
            self._unchecked = self._large_chunks()
        chunks = self._dataset.chunks
        size = math.prod(chunks) * self._dataset.dtype.itemsize
        for offset, stored in list(self._unchecked.items()):
            ends = map(operator.add, offset, chunks)
            places = zip(offset, ends, limits, strict=True)
            if all(low < end and start < high for low, high, (start, end) in places):
                packed = self._dataset.id.read_direct_chunk(offset)[1]
                check_inflated(self._path, self._what, io.BytesIO(packed), stored, size)
                self._unchecked.pop(offset, None)  # another thread may have checked it as well

    def _large_chunks(self) -> dict[tuple[int, ...], int]:
        """Return the chunks that may unpack to more than is harmless: their bytes by offset."""
        filters, large = self._filters(), {}
        if _DEFLATE in filters:
            skipped = 1 << filters.index(_DEFLATE)

            def add(chunk) -> None:
                if chunk.size > HARMLESS and not chunk.filter_mask & skipped:
                    large[chunk.chunk_offset] = chunk.size

            self._dataset.id.chunk_iter(add)
        return large

    def _check_filters(self) -> None:
        """Refuse what is compressed twice: one unpacking does not tell its size."""
        filters = self._filters()
        twice = len([one for one in filters if one in _COMPRESSORS]) > 1
        after = filters[filters.index(_DEFLATE) + 1 :] if _DEFLATE in filters else []
        if twice or set(after) - {_CHECKSUM}:
            raise UserError(
                f"{self._path}: {self._what} is compressed by several filters in a row; write it "
                "again with one, as h5repack -f GZIP=4 does"
            )

    def _filters(self) -> list[int]:
        created = self._dataset.id.get_create_plist()
        return [created.get_filter(index)[0] for index in range(created.get_nfilters())]


def _limits(part, length: int) -> tuple[int, int]:
    if isinstance(part, slice):
        start, end, _ = part.indices(length)
        return start, max(start, end)
    index = operator.index(part) % max(length, 1)
    return index, index + 1
