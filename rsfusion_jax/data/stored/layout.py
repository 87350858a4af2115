"""Axis orders of stored arrays, and access to single images as (H, W, C)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

HDF5_ORDERS = ("NCHW", "NHWC")
"""PanCollection and HISR use NCHW; NHWC is assumed if only that matches the number of bands."""
MATLAB_ORDERS = ("NHWC", "NCHW")
MATLAB73_ORDERS = tuple(order[::-1] for order in MATLAB_ORDERS)
"""In h5py, MATLAB's column-major arrays have their axes in reversed order."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Axis order and shape of a stored array.

    Attributes:
        axes: one letter of N, H, W, C per axis; N is absent in single images, C in arrays of one
            channel without a channel axis.
        shape: stored shape.
    """

    axes: str
    shape: tuple[int, ...]

    def size(self, axis: str) -> int:
        """Return the length of the axis N, H, W or C; 1 if the array does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def image(self, array, index: int) -> np.ndarray:
        """Return image `index` of an array or `h5py.Dataset`: a view (H, W, C) of stored dtype."""
        if "N" in self.axes:
            selection = [slice(None)] * len(self.axes)
            selection[self.axes.index("N")] = index
            image = array[tuple(selection)]
        else:
            image = array[()]
        stored = self.axes.replace("N", "")
        image = image.transpose([stored.index(axis) for axis in "HWC" if axis in stored])
        return image if "C" in stored else image[..., None]


def find_layouts(
    shapes: Mapping[str, tuple[int, ...]], orders: Sequence[str], num_bands: int | None
) -> dict[str, Layout]:
    """Return the layouts of all arrays of a set, which share one axis order.

    The order is the first under which `ms` has `num_bands` bands and the size of `pan` is a whole
    multiple of that of `ms`. If none fits, the first order is returned, so that later checks can
    report the error.

    Args:
        shapes: stored shapes by key, including `pan` and `ms`; 4 axes for stacks of images, 3 (2
            for a one-channel `pan`) for single images; `pan` may lack its channel axis.
        orders: axis orders to try, of the letters N, C, H, W.
        num_bands: number of bands of the sensor; None if unknown.
    """
    single = len(shapes["ms"]) < 4
    candidates = [
        {key: Layout(_axes(order, len(shape), single), shape) for key, shape in shapes.items()}
        for order in orders
    ]
    return next((layouts for layouts in candidates if _fits(layouts, num_bands)), candidates[0])


def _axes(order: str, dimensions: int, single: bool) -> str:
    axes = order.replace("N", "") if single else order
    return axes if dimensions == len(axes) else axes.replace("C", "")


def _fits(layouts: dict[str, Layout], num_bands: int | None) -> bool:
    pan, ms = layouts["pan"], layouts["ms"]
    rows, columns = (divmod(pan.size(axis), max(ms.size(axis), 1)) for axis in "HW")
    return num_bands in (None, ms.size("C")) and rows == columns and rows[1] == 0
