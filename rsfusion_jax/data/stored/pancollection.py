"""Stored data sets of the families in `data.stored.families`, in `.h5` and `.mat` files.

PanCollection (Deng et al., "Machine learning in pansharpening: a benchmark", IEEE GRSM 2022)
contains train, valid and reduced-resolution test sets with `gt` and full-resolution test sets
without, as HDF5 in NCHW and as MATLAB files. HyperPanCollection and the HISR sets (CAVE, Harvard)
have other array names and are stored in [0, 1]. Samples are float32 divided by `max_value`.
"""

import operator
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.stored import check
from rsfusion_jax.data.stored.families import NAMES, find_names
from rsfusion_jax.data.stored.hdf5 import Hdf5File, is_hdf5
from rsfusion_jax.data.stored.layout import (
    HDF5_ORDERS,
    MATLAB73_ORDERS,
    MATLAB_ORDERS,
    ORDERS,
    Layout,
    find_layouts,
)
from rsfusion_jax.data.stored.matfile import MatFile, is_matlab
from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.ops.resample import imresize, interp23
from rsfusion_jax.sensors import Sensor, get_sensor, is_full_scale


class PanCollection:
    """Samples of a stored set by index, read on demand.

    Worker processes and threads may share it: a pickled copy contains only the path and opens the
    file again. Arrays of `.h5` and v7.3 `.mat` files are read image by image (in the latter the
    images of a stack are interleaved, so that reading one image reads the whole file); older `.mat`
    files are loaded into memory.

    Create it with `open_set`, which determines the layouts and checks the file.
    """

    def __init__(
        self,
        storage: Hdf5File | MatFile,
        fields: Mapping[str, tuple[str, Layout]],
        info: SetInfo,
        wrap: bool = False,
    ):
        self.info = info
        self._wrap = wrap
        self._storage = storage
        self._fields = dict(fields)

    def __len__(self) -> int:
        return self._fields["pan"][1].size("N")

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index`; `lms` is the stored array or, if there is none, upsampled `ms`.

        Raises:
            IndexError: beyond the end.
            UserError: the image cannot be read.
        """
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} images, not index {index}")
        scale = np.float32(self.info.max_value)
        sample = {key: self.counts(key, index) for key in self._fields}
        for array in sample.values():
            array /= scale  # in place: allocating a second array takes as long as reading it
        if "lms" not in sample:
            sample["lms"] = _upsample(sample["ms"], self.info, self._wrap)
        return sample

    def counts(self, key: str, index: int) -> np.ndarray:
        """Return array `key` of sample `index` in stored units, (H, W, C) float32."""
        # astype also copies arrays that are in memory already, so that callers may modify them.
        return read_image(self._storage, *self._fields[key], index).astype(np.float32, order="C")


def open_set(
    path: str | os.PathLike,
    *,
    sensor: str | Mapping | Sensor,
    ratio: int | None = None,
    max_value: float | None = None,
    usual_max_value: float | None = None,
    ms_phase: float | None = None,
    axes: str | None = None,
    wrap: bool = False,
) -> PanCollection:
    """Open and check a stored set.

    Keys and shapes are checked completely, values on a seeded sample of images
    (`check.SAMPLED_IMAGES`).

    Args:
        path: `.h5` or `.mat` file with the array names of one of `families.FAMILIES`; `gt` and
            `lms` are optional. Arrays are stacks of images or single images.
        sensor: sensor of the images (name, mapping or record); determines the number of bands.
        ratio: PAN pixels per MS pixel along one axis, which the shapes must match; by default that
            of the sensor, or in HISR files that of the shapes.
        max_value: divisor that scales the values to [0, 1]; by default the file's attribute
            `max_value`, else `usual_max_value`, else the sensor's full scale. For data that are
            already in [0, 1] set one of the two arguments to 1, unless the sensor's full scale
            is 1.
        usual_max_value: divisor for files that do not state one, e.g. from a training recipe.
        ms_phase: position of the centre of MS pixel 0 as a PAN index; by default the file's
            attribute `ms_phase`, else the family's convention: `ratio // 2`, or `(ratio - 1) / 2`
            for HISR.
        axes: order of the axes of the stored arrays, such as "NCHW"; by default the file's
            attribute `axes`, else the one order that fits the shapes and the sensor.
        wrap: whether an `lms` that is not stored has the periodic borders of the MATLAB toolbox;
            default edge-replicated. It concerns the phase `ratio // 2` only.

    Returns:
        The set as a `Source`.

    Raises:
        UserError: the file cannot be read, keys are missing, shapes do not match each other, the
            ratio or the sensor, or values are not finite or do not fit the divisor.

    Warns:
        check.DataWarning: values beyond or far below the divisor, or an `lms` of another phase.
    """
    sensor = get_sensor(sensor)
    storage, orders = open_storage(Path(path), axes)
    name, arrays = str(path), storage.arrays()
    family, array_names = find_names(arrays)
    missing = [key for key in ("pan", "ms") if key not in array_names]
    if missing:
        raise UserError(
            f"{name}: key {missing[0]!r} is missing, found {', '.join(storage.keys()) or 'none'}; "
            "a set needs 'pan' and 'ms' ('RGB' and 'LRHSI'), and has 'gt' and 'lms' where they "
            "exist, so rename the arrays"
        )
    shapes = {key: arrays[stored].shape for key, stored in array_names.items()}
    dtypes = {key: arrays[stored].dtype for key, stored in array_names.items()}
    check.check_dimensions(name, shapes, dtypes)
    layouts = find_layouts(name, shapes, orders, sensor.num_bands)
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
    if not is_full_scale(float(max_value)):
        raise UserError(
            f"{name}: max_value={max_value} ({origin}) must be a positive number up to 1e18"
        )
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
    fields = {key: (array_names[key], layouts[key]) for key in array_names}
    source = PanCollection(storage, fields, info, wrap)
    indices = check.sampled_indices(len(source))
    check.check_values(name, source.counts, dtypes, indices, info.max_value, origin, insisted)
    if "lms" not in array_names:
        _check_upsampling(name, info)
    elif by_convention and family.centred:
        check.check_centred(name, source.counts, indices, ratio)
    else:
        check.check_phase(name, source.counts, indices, ratio, info.ms_phase, info.max_value)
    return source


def read_image(storage: Hdf5File | MatFile, name: str, layout: Layout, index: int) -> np.ndarray:
    """Read image `index` of one array of a set, (H, W, C) in the stored dtype (a view).

    Args:
        storage: opened file.
        name: name of the array in the file.
        layout: layout of the array.
        index: index of the image.

    Raises:
        UserError: the image cannot be read.
    """
    try:
        return layout.image(storage.arrays()[name], index)
    except OSError as error:
        raise UserError(
            f"{storage.path}: image {index} of {name!r} cannot be read "
            f"({' '.join(str(error).split())}); download the file again"
        ) from error


def open_storage(path: Path, axes: str | None = None) -> tuple[Hdf5File | MatFile, tuple[str, ...]]:
    """Open a file and return it with the axis orders that its arrays may have.

    Args:
        path: path of the file.
        axes: order of the axes; None for that of the file's attribute `axes` if it has one, else
            those of files of this type.

    Raises:
        UserError: no such file, neither HDF5 nor MATLAB data, or an unknown order.
    """
    if axes and axes not in ORDERS:
        raise UserError(
            f"axes={axes!r} is no order of axes; choose one of {', '.join(sorted(ORDERS))}"
        )
    if not path.is_file():
        raise UserError(f"{not_a_file(path)}; give the path of a .h5 or .mat set")
    if is_hdf5(path):
        storage = Hdf5File(path)
        stated = axes or storage.attributes().get("axes")
        if stated in ORDERS:
            return storage, (stated,)
        return storage, MATLAB73_ORDERS if is_matlab(path) else HDF5_ORDERS
    if is_matlab(path):
        return MatFile(path, sum(NAMES.values(), ())), (axes,) if axes else MATLAB_ORDERS
    raise UserError(
        f"{path} is neither HDF5 nor MATLAB data; give a .h5 or .mat set, or download the file "
        "again if it should be one"
    )


def _check_upsampling(name: str, info: SetInfo) -> None:
    r, phase = info.ratio, info.ms_phase
    if r > 1 and phase not in (r // 2, (r - 1) / 2):
        raise UserError(
            f"{name}: 'lms' is missing and cannot be computed at ms_phase={phase:g}, expected "
            f"{r // 2} (decimated) or {(r - 1) / 2:g} (area-aligned); store 'lms' in the file"
        )


def _upsample(ms: np.ndarray, info: SetInfo, wrap: bool) -> np.ndarray:
    """Upsample `ms` to the PAN grid by the method for the set's phase, (H, W, C) float32."""
    if info.ratio == 1:
        return ms.copy()
    if info.ms_phase == info.ratio // 2:
        return interp23(ms, info.ratio, wrap)
    height, width, _ = ms.shape
    return imresize(ms, (height * info.ratio, width * info.ratio))
