"""Stored sets of the kinds `data.families` knows, in `.h5` and `.mat` files.

PanCollection (Deng et al., "Machine learning in pansharpening: a benchmark", IEEE GRSM 2022) ships
train, valid and reduced-resolution test sets with `gt` and full-resolution ones without, as HDF5 in
NCHW and as MATLAB files. HyperPanCollection and the HISR sets (CAVE, Harvard) differ in the names
of their arrays, and in that they are stored in [0, 1]. Samples are float32 divided by `max_value`.
"""

import operator
import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.stored import check
from rsfusion_jax.data.stored.families import NAMES, find_names
from rsfusion_jax.data.stored.hdf5 import Hdf5File
from rsfusion_jax.data.stored.layout import (
    HDF5_ORDERS,
    MATLAB73_ORDERS,
    MATLAB_ORDERS,
    Layout,
    find_layouts,
)
from rsfusion_jax.data.stored.matfile import MatFile, is_matlab
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import Sensor, get_sensor


class PanCollection:
    """Samples of one stored set by index, read when asked for.

    Workers and threads may share it: a pickled copy carries the path and opens the file again.
    Arrays of `.h5` and v7.3 `.mat` files stay on disk (the latter keep the images of a stack
    interleaved, so one image costs a pass over the file); older `.mat` files are held in memory.

    Build it with `open_set`, which finds the layouts and checks the file.
    """

    def __init__(
        self,
        storage: Hdf5File | MatFile,
        fields: Mapping[str, tuple[str, Layout]],
        info: SetInfo,
    ):
        self.info = info
        self._storage = storage
        self._fields = dict(fields)

    def __len__(self) -> int:
        return self._fields["pan"][1].size("N")

    def __getitem__(self, index: int) -> Sample:
        """Sample `index`; a stored `lms` is taken as it is, a missing one made from `ms`.

        Raises:
            IndexError: beyond the end.
            UserError: the file cannot be read there.
        """
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} images, not index {index}")
        scale = np.float32(self.info.max_value)
        sample = {key: self.counts(key, index) for key in self._fields}
        for array in sample.values():
            array /= scale  # in place: a second array costs as much as the reading
        if "lms" not in sample:
            sample["lms"] = _upsample(sample["ms"], self.info)
        return sample

    def counts(self, key: str, index: int) -> np.ndarray:
        """Array `key` of sample `index` as stored, (H, W, C) float32."""
        # A copy, also of arrays held in memory.
        return read_image(self._storage, *self._fields[key], index).astype(np.float32, order="C")


def open_set(
    path: str | os.PathLike,
    *,
    sensor: str | Mapping | Sensor,
    ratio: int | None = None,
    max_value: float | None = None,
    usual_max_value: float | None = None,
    ms_phase: float | None = None,
) -> PanCollection:
    """Opens and checks a stored set.

    Values are checked on a seeded sample of images (`check.SAMPLED_IMAGES`), keys and shapes
    always.

    Args:
        path: `.h5` (NCHW, or NHWC where only that fits or the attribute `axes` says so) or `.mat`
            (stacks NHWC or single images HWC), with the keys of one of `families.FAMILIES`; `gt`
            and `lms` where they exist.
        sensor: whose pixels these are; sets the number of bands.
        ratio: PAN pixels per MS pixel, with which the shapes must agree; by default the sensor's,
            in HISR files what the shapes say.
        max_value: divisor to [0, 1]; by default the file's attribute `max_value`, else
            `usual_max_value`, else the sensor's full scale. Data in [0, 1] under a sensor of counts
            needs 1 said in one of the two.
        usual_max_value: divisor of files that do not state theirs, as a recipe has it.
        ms_phase: PAN index of the centre of MS pixel 0; by default the file's attribute
            `ms_phase`, else the family's convention: `ratio // 2`, HISR `(ratio - 1) / 2`.

    Returns:
        The set as a `Source`.

    Raises:
        UserError: the file cannot be read, keys are missing, shapes contradict each other, the
            ratio or the sensor, or values are not finite or not in the units of the divisor.

    Warns:
        check.DataWarning: values beyond or far below the divisor; `lms` that misses `ms`.
    """
    sensor = get_sensor(sensor)
    storage, orders = open_storage(Path(path))
    name, arrays = str(path), storage.arrays()
    family, found = find_names(arrays)
    missing = [key for key in ("pan", "ms") if key not in found]
    if missing:
        raise UserError(
            f"{name}: key {missing[0]!r} is missing, found {', '.join(storage.keys()) or 'none'}; "
            "a set needs 'pan' and 'ms' ('RGB' and 'LRHSI'), and has 'gt' and 'lms' where they "
            "exist, so rename the arrays"
        )
    shapes = {key: arrays[stored].shape for key, stored in found.items()}
    dtypes = {key: arrays[stored].dtype for key, stored in found.items()}
    check.check_dimensions(name, shapes, dtypes)
    layouts = find_layouts(shapes, orders, sensor.num_bands)
    if ratio is None and family.any_ratio:
        ratio = check.nearest_ratio(layouts)
    ratio = check.check_geometry(name, layouts, sensor, ratio)

    stored = storage.attributes()
    if max_value is None and "max_value" not in stored:
        max_value = usual_max_value
    insisted = max_value is not None
    if insisted:
        origin = "max_value="
    elif "max_value" in stored:
        max_value, origin = stored["max_value"], "attribute of the file"
    else:
        max_value = sensor.max_value
        depth = "" if sensor.full_scale else f", {sensor.bit_depth} bit"
        origin = f"full scale of sensor {sensor.name!r}{depth}"
    if not 0 < float(max_value) < float("inf"):
        raise UserError(f"{name}: max_value={max_value} ({origin}) must be a positive number")
    by_convention = ms_phase is None and "ms_phase" not in stored
    if ms_phase is None:
        ms_phase = stored.get("ms_phase", family.ms_phase(ratio))
    degradation = stored.get("pan_degradation")
    info = SetInfo(
        name=Path(path).name,
        sensor=sensor,
        num_bands=layouts["ms"].size("C"),
        guide_bands=layouts["pan"].size("C"),
        ratio=ratio,
        max_value=float(max_value),
        ms_phase=float(ms_phase),
        has_gt="gt" in layouts,
        pan_degradation=None if degradation is None else str(degradation),
    )
    source = PanCollection(storage, {key: (found[key], layouts[key]) for key in found}, info)
    indices = check.sampled_indices(len(source))
    check.check_values(name, source.counts, dtypes, indices, info.max_value, origin, insisted)
    if "lms" not in found:
        _check_upsampling(name, info)
    elif by_convention and family.centred:
        check.check_centred(name, source.counts, indices, ratio)
    else:
        check.check_phase(name, source.counts, indices, ratio, info.ms_phase, info.max_value)
    return source


def read_image(storage: Hdf5File | MatFile, name: str, layout: Layout, index: int) -> np.ndarray:
    """Image `index` of one array of a set, (H, W, C) in the stored dtype (a view).

    Raises:
        UserError: the file cannot be read there.
    """
    try:
        return layout.image(storage.arrays()[name], index)
    except OSError as error:
        raise UserError(
            f"{storage.path}: image {index} of {name!r} cannot be read "
            f"({' '.join(str(error).split())}); download the file again"
        ) from error


def open_storage(path: Path) -> tuple[Hdf5File | MatFile, tuple[str, ...]]:
    """The file's arrays and the axis orders that they may have.

    By content and suffix, or the one that the file's attribute `axes` states.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file; give the path of a .h5 or .mat set")
    if h5py.is_hdf5(path):
        storage = Hdf5File(path)
        stated = storage.attributes().get("axes")
        if stated in HDF5_ORDERS:
            return storage, (stated,)
        return storage, MATLAB73_ORDERS if is_matlab(path) else HDF5_ORDERS
    if is_matlab(path):
        return MatFile(path, sum(NAMES.values(), ())), MATLAB_ORDERS
    raise UserError(
        f"{path} is neither HDF5 nor MATLAB data; give a .h5 or .mat set, or download the file "
        "again if it should be one"
    )


def _check_upsampling(name: str, info: SetInfo) -> None:
    r, phase = info.ratio, info.ms_phase
    if r > 1 and phase not in (r // 2, (r - 1) / 2):
        raise UserError(
            f"{name}: 'lms' is missing and cannot be made at ms_phase={phase:g}, expected {r // 2} "
            f"(decimated) or {(r - 1) / 2:g} (area-aligned); store 'lms' in the file"
        )


def _upsample(ms: np.ndarray, info: SetInfo) -> np.ndarray:
    """`ms` on the PAN grid by the method that belongs to the set's phase, (H, W, C) float32."""
    if info.ratio == 1:
        return ms.copy()
    if info.ms_phase == info.ratio // 2:
        return interp23(ms, info.ratio)
    height, width, _ = ms.shape
    return imresize(ms, (height * info.ratio, width * info.ratio))
