"""Which axis of a stored array is which, and one image of it as (H, W, C)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

HDF5_ORDERS = ("NCHW", "NHWC")
"""PanCollection and HISR write NCHW; NHWC is taken where only that fits the bands."""
MATLAB_ORDERS = ("NHWC", "NCHW")
MATLAB73_ORDERS = tuple(order[::-1] for order in MATLAB_ORDERS)
"""h5py sees MATLAB's column-major arrays with every axis order reversed."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Axis letters of one stored array, of N, H, W, C; N or C may be absent (a single one)."""

    axes: str
    shape: tuple[int, ...]

    def size(self, axis: str) -> int:
        """Length of an axis; 1 where the array has none."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def image(self, array, index: int) -> np.ndarray:
        """Image `index` of an array or `h5py.Dataset`, (H, W, C) in the stored dtype (a view)."""
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
    """Layouts of all arrays of a set, which share one axis order.

    The first order under which `ms` has `num_bands` bands and `pan` is a whole multiple of it;
    where none does the first order, so that the check can say what is wrong under it.

    Args:
        shapes: stored shapes by key, `pan` and `ms` among them; 4 axes for sets, 3 (2 for a
            one-channel `pan`) for single images; `pan` may lack its channel axis.
        orders: axis orders to try, of the letters N, C, H, W.
        num_bands: C of the sensor; None where no one says.
    """
    single = len(shapes["ms"]) < 4
    readings = [
        {key: Layout(_axes(order, len(shape), single), shape) for key, shape in shapes.items()}
        for order in orders
    ]
    return next((layouts for layouts in readings if _fits(layouts, num_bands)), readings[0])


def _axes(order: str, dimensions: int, single: bool) -> str:
    axes = order.replace("N", "") if single else order
    return axes if dimensions == len(axes) else axes.replace("C", "")


def _fits(layouts: dict[str, Layout], num_bands: int | None) -> bool:
    pan, ms = layouts["pan"], layouts["ms"]
    rows, columns = (divmod(pan.size(axis), max(ms.size(axis), 1)) for axis in "HW")
    return num_bands in (None, ms.size("C")) and rows == columns and rows[1] == 0
