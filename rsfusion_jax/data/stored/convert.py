"""Implementation of `rsfusion convert`: rewrite a stored set for fast reading.

The result is an HDF5 file with the same names and values, but uncompressed, image after image, and
in the axis order of the networks. Reading an image is then a single read of contiguous bytes, and
the axes need no transposition. ArrayRecord, the usual file format for `grain`, had about the same
wall time and needed more CPU time (docs/results.md), and few other programs can open it.
"""

from pathlib import Path

import numpy as np

from rsfusion_jax.data.stored import check
from rsfusion_jax.data.stored.families import find_names
from rsfusion_jax.data.stored.layout import Layout, find_layouts
from rsfusion_jax.data.stored.pancollection import open_storage, read_image
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import new_files
from rsfusion_jax.sensors import unnamed_sensor

_AXES = "NHWC"


def convert_set(
    source: str | Path, target: str | Path, *, overwrite: bool = False, axes: str | None = None
) -> Path:
    """Rewrite a set as an uncompressed NHWC file and compare it bit by bit with the original.

    Names, dtypes, values, the order of the images and the attributes of the file are preserved, so
    that training on either file uses the same batches. The attribute `axes` is added.

    Args:
        source: `.h5` or `.mat` file of one of `families.FAMILIES`.
        target: path of the new `.h5` file, which is written completely or not at all.
        overwrite: whether an existing target is replaced.
        axes: order of the axes of the set's arrays; see `open_set`.

    Returns:
        The target's path.

    Raises:
        UserError: no such set, arrays that do not fit together, or a target that exists or cannot
            be written.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".h5" and not target.exists():
        raise UserError(f"{target} must end with .h5; converted sets are HDF5")
    storage, orders = open_storage(source, axes)
    if target.exists() and target.samefile(source):
        raise UserError(f"{target} is the set itself; choose another name for the converted one")
    arrays = storage.arrays()
    _, names = find_names(arrays)
    missing = [key for key in ("pan", "ms") if key not in names]
    if missing:
        raise UserError(
            f"{source}: key {missing[0]!r} is missing, found "
            f"{', '.join(storage.keys()) or 'none'}; see what it is with rsfusion check"
        )
    shapes = {key: arrays[name].shape for key, name in names.items()}
    dtypes = {key: arrays[name].dtype for key, name in names.items()}
    check.check_dimensions(str(source), shapes, dtypes)
    layouts = find_layouts(str(source), shapes, orders, None)
    sensor = unnamed_sensor(layouts["ms"].size("C"))
    check.check_geometry(str(source), layouts, sensor, check.nearest_ratio(layouts))

    fields = {name: layouts[key] for key, name in names.items()}
    count = layouts["pan"].size("N")
    with new_files([target], overwrite) as unfinished:
        samples = (_sample(storage, fields, index) for index in range(count))
        attributes = storage.attributes() | {"axes": _AXES}
        write_set(unfinished[target], samples, count, attributes, axes=_AXES)
        _compare(storage, fields, unfinished[target])
    left_out = sorted(set(storage.keys()) - set(fields))
    size = target.stat().st_size / 2**20
    print(f"{target}: {count} images, {size:.0f} MiB, equal to {source.name} bit by bit")
    if left_out:
        print(f"notice: not images of a set, left out: {', '.join(left_out)}")
    return target


def _sample(storage, fields: dict[str, Layout], index: int) -> dict[str, np.ndarray]:
    return {name: read_image(storage, name, layout, index) for name, layout in fields.items()}


def _compare(storage, fields: dict[str, Layout], path: Path) -> None:
    written, _ = open_storage(path)
    for name, layout in fields.items():
        copy = Layout(_AXES, written.arrays()[name].shape)
        for index in range(layout.size("N")):
            one = read_image(storage, name, layout, index)
            other = read_image(written, name, copy, index)
            if one.dtype != other.dtype or one.tobytes() != other.tobytes():
                raise UserError(
                    f"{path.parent}: image {index} of {name!r} was not written as it was read; "
                    "check the disk"
                )
