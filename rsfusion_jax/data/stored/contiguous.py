"""Direct reading of uncompressed HDF5 arrays, without the HDF5 library."""

import math
import os

import h5py
import numpy as np


class Contiguous:
    """A stack of images (N, ...) stored one after the other in a file; indexed like a dataset.

    An image is read as a known range of bytes. The HDF5 library would convert and copy the data and
    lock out all other threads meanwhile. A memory map would save one more copy, but it reads files
    that are not in the page cache page by page, and an unreadable page kills the process instead
    of raising an error.

    Args:
        dataset: dataset for which `is_contiguous` is true.
    """

    def __init__(self, dataset: h5py.Dataset):
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._dataset = dataset  # keeps the file open
        self._file = dataset.file.id.get_vfd_handle()
        self._start = dataset.id.get_offset()
        self._size = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __getitem__(self, selection: tuple) -> np.ndarray:
        """Return one image, read-only, or for any other selection what h5py returns.

        Raises:
            OSError: the file cannot be read or ends before the image does.
        """
        index, *rest = selection or (None,)
        if index not in range(self.shape[0]) or any(part != slice(None) for part in rest):
            return self._dataset[selection]
        image = os.pread(self._file, self._size, self._start + index * self._size)
        if len(image) < self._size:
            raise OSError(f"the file ends after {len(image)} of {self._size} bytes of it")
        return np.frombuffer(image, self.dtype).reshape(self.shape[1:])

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self._dataset[()], dtype)


def is_contiguous(dataset: h5py.Dataset) -> bool:
    """Return whether a dataset is stored in the file as the bytes of its array, in order.

    Always False on systems without `os.pread` (Windows).
    """
    return (
        hasattr(os, "pread")
        and dataset.ndim > 2
        and dataset.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS
        and dataset.external is None
        and dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED
        and dataset.file.driver == "sec2"
        and dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype))
    )
