"""Axis orders of stored arrays, and access to single images as (H, W, C)."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from rsfusion_jax.errors import UserError

MATLAB_ORDERS = ("NHWC", "NCHW", "HWCN")
MATLAB73_ORDERS = tuple(order[::-1] for order in MATLAB_ORDERS)
"""In h5py, MATLAB's column-major arrays have their axes in reversed order."""
HDF5_ORDERS = ("NCHW", "NHWC", *MATLAB73_ORDERS[:2])
"""PanCollection and HISR use NCHW. MATLAB's `h5write` leaves reversed axes as well; those of its
HWCN, NCWH, are read as NCHW, that is transposed, since nothing tells the two apart."""

ORDERS = frozenset({*HDF5_ORDERS, *MATLAB_ORDERS, *MATLAB73_ORDERS})
"""Axis orders that a user or a file may state."""


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
    name: str,
    shapes: Mapping[str, tuple[int, ...]],
    orders: Sequence[str],
    num_bands: int | None,
) -> dict[str, Layout]:
    """Return the layouts of all arrays of a set, which share one axis order.

    It is the one order under which all arrays have the same number of images, `ms` has `num_bands`
    bands, `gt` and `lms` those of `ms` and the size of `pan`, and that size is a whole multiple of
    the size of `ms`. If none fits, the order that comes nearest is returned, so that later checks
    can report the error.

    Args:
        name: file name, for messages.
        shapes: stored shapes by key, including `pan` and `ms`; 4 axes for stacks of images, 3 (2
            for a one-channel `pan`) for single images; `pan` may lack its channel axis.
        orders: axis orders to try, of the letters N, C, H, W.
        num_bands: number of bands of the sensor; None if unknown.

    Raises:
        UserError: several orders fit.
    """
    single = len(shapes["ms"]) < 4
    candidates = {}
    for order in orders:
        layouts = {key: Layout(_axes(order, len(s), single), s) for key, s in shapes.items()}
        # In single images an order and its transposition cannot be told apart; the first holds.
        swapped = order.replace("N", "").translate(str.maketrans("HW", "WH")) if single else None
        if not single or swapped not in candidates:
            candidates.setdefault(order.replace("N", "") if single else order, layouts)
    fitting = {o: c for o, c in candidates.items() if _fits(c, num_bands, all_keys=True)}
    if len(fitting) > 1:
        raise UserError(
            f"{name}: the shapes of its arrays fit several orders of their axes, "
            f"{' and '.join(fitting)}; state the right one as axes= (--axes, or data.axes in a "
            "config), or in the file's attribute 'axes'"
        )
    for bands, all_keys in ((num_bands, True), (num_bands, False), (None, True), (None, False)):
        for layouts in candidates.values():
            if _fits(layouts, bands, all_keys):
                return layouts
    return next(iter(candidates.values()))


def _axes(order: str, dimensions: int, single: bool) -> str:
    axes = order.replace("N", "") if single else order
    return axes if dimensions == len(axes) else axes.replace("C", "")


def _fits(layouts: dict[str, Layout], num_bands: int | None, all_keys: bool) -> bool:
    pan, ms = layouts["pan"], layouts["ms"]
    if num_bands not in (None, ms.size("C")) or not _is_whole(pan, ms):
        return False
    fine = [layouts[key] for key in ("gt", "lms") if key in layouts]
    return not all_keys or (
        all(layout.size("N") == ms.size("N") for layout in layouts.values())
        and all(layout.size("C") == ms.size("C") for layout in fine)
        and all(layout.size(axis) == pan.size(axis) for layout in fine for axis in "HW")
    )


def _is_whole(pan: Layout, ms: Layout) -> bool:
    """Tell whether the size of PAN is a whole multiple of that of MS, the same along both axes."""
    rows, columns = (divmod(pan.size(axis), max(ms.size(axis), 1)) for axis in "HW")
    return rows == columns and rows[1] == 0 and rows[0] > 0
