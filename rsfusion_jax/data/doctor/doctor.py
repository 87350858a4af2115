"""Implementation of `rsfusion check`: findings on the consistency of a stored data set."""

import collections
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rsfusion_jax.data.doctor.sen12ms_cr import examine_folder
from rsfusion_jax.data.doctor.tally import Tally
from rsfusion_jax.data.doctor.verdicts import (
    Finding,
    judge_bands,
    judge_lms_phase,
    judge_ms_phase,
    judge_repetitions,
    judge_values,
)
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.data.stored import check
from rsfusion_jax.data.stored.families import Family, find_names
from rsfusion_jax.data.stored.known_sets import recognise
from rsfusion_jax.data.stored.layout import find_layouts
from rsfusion_jax.data.stored.pancollection import PanCollection, open_storage
from rsfusion_jax.data.stored.phase import lms_phase, ms_phase
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import UNKNOWN_GAIN, Sensor, get_sensor, list_sensors, unnamed_sensor

_PHASE_IMAGES = 512
"""Largest number of images, evenly spaced over the set, whose phase is measured."""
_PHASE_SIDE = 64
"""Side in MS pixels of the central part of an image in which the phase is measured."""


def print_findings(path: str | Path, sensor: str | None = None, axes: str | None = None) -> bool:
    """Examine a set, print one line per finding, and return whether there are no errors.

    Args:
        path: as for `examine`.
        sensor: as for `examine`.
        axes: as for `examine`.
    """
    findings = []
    for finding in _examine(Path(path), sensor, axes):
        print(f"{finding.level:<8} {finding.topic:<10} {finding.text}", flush=True)
        findings.append(finding)
    counts = collections.Counter(finding.level for finding in findings)
    print(f"{Path(path).name}: {counts['error']} errors, {counts['warning']} warnings")
    return not counts["error"]


def examine(
    path: str | Path, sensor: str | Sensor | None = None, axes: str | None = None
) -> list[Finding]:
    """Read a whole set and return the findings on it.

    Args:
        path: `.h5` or `.mat` file of one of `families.FAMILIES`, or a folder of SEN12MS-CR.
        sensor: expected sensor; by default it is taken from the file's attribute `sensor`, the
            file name, or the published set whose size and bands match.
        axes: order of the axes of the set's arrays; see `open_set`.

    Raises:
        UserError: the file cannot be read, or the sensor is unknown.
    """
    return list(_examine(Path(path), sensor, axes))


def _examine(path: Path, sensor: str | Sensor | None, axes: str | None) -> Iterator[Finding]:
    sensor = None if sensor is None else get_sensor(sensor)
    if path.is_dir():
        for flag, value in (("--sensor", sensor), ("--axes", axes)):
            if value is not None:
                raise UserError(f"{flag} is for .h5 and .mat sets, not for {path}; leave it out")
        yield from examine_folder(path)
        return
    storage, orders = open_storage(path, axes)
    arrays, stored = storage.arrays(), storage.attributes()
    family, array_names = find_names(arrays)
    listed = ", ".join(
        f"{n} {_shape(arrays[n].shape)} {arrays[n].dtype}" for n in array_names.values()
    )
    missing = [key for key in ("pan", "ms") if key not in array_names]
    if missing:
        names = ", ".join(storage.keys()) or "none"
        yield Finding("error", "keys", f"{' and '.join(missing)} missing, found {names}")
        return
    yield Finding("ok", "keys", f"{listed} (names of {family.name})")
    if stored:
        text = ", ".join(f"{key} {_short(value)}" for key, value in stored.items())
        yield Finding("ok", "attributes", text)

    shapes = {key: arrays[name].shape for key, name in array_names.items()}
    dtypes = {key: arrays[name].dtype for key, name in array_names.items()}
    try:
        check.check_dimensions(path.name, shapes, dtypes)
        layouts = find_layouts(path.name, shapes, orders, sensor and sensor.num_bands)
        size = layouts["pan"].size("H"), layouts["pan"].size("W")
        images, bands = layouts["pan"].size("N"), layouts["ms"].size("C")
        known = recognise(bands, images, size, "gt" in layouts)
        expected_sensor = sensor or _guess_sensor(path, stored, known, bands)
        expected = stored.get("ratio")
        if expected is None:
            expected = check.nearest_ratio(layouts)
        ratio = check.check_geometry(path.name, layouts, expected_sensor, int(expected))
    except UserError as error:
        yield Finding("error", "geometry", str(error).removeprefix(f"{path.name}: "))
        return
    yield from _geometry(layouts, expected_sensor, sensor, ratio, stored, family)
    yield from _identity(path, known, expected_sensor, "gt" in layouts)

    gains = _gains(expected_sensor, stored)
    chosen = set(np.linspace(0, images - 1, min(images, _PHASE_IMAGES)).round().astype(int))
    source = _source(path, storage, array_names, layouts, expected_sensor, ratio)
    tally, ms_phases, lms_phases, integral = Tally(), [], [], True
    for index in range(images):
        sample = {key: source.counts(key, index) for key in layouts}
        tally.add(sample)
        if index not in chosen or any(not np.isfinite(image).all() for image in sample.values()):
            continue
        reference = sample.get("gt", sample["ms"])
        integral = integral and bool(np.all(reference == np.rint(reference)))
        if ratio == 1:
            continue
        fine = {key: sample[key] for key in ("gt", "lms") if key in sample}
        part = check.middle(sample["ms"], ratio, _PHASE_SIDE, **fine)
        if "gt" in part:
            ms_phases.append(ms_phase(part["gt"], part["ms"], gains, ratio))
        if "lms" in part:
            lms_phases.append(lms_phase(part["ms"], part["lms"], ratio))
    yield from judge_values(tally, expected_sensor, stored, integral)
    yield from judge_bands(tally)
    yield from judge_repetitions(tally)
    declared = float(stored.get("ms_phase", family.ms_phase(ratio)))
    if ms_phases:
        yield judge_ms_phase(ms_phases, ratio, declared)
    if lms_phases:
        yield judge_lms_phase(lms_phases, ratio, declared)


def _guess_sensor(path: Path, stored, known, bands: int) -> Sensor:
    """Guess the sensor from the file's attribute, its name, or a matching published set.

    Where none of them names a sensor with this number of bands, return the unknown sensor.
    """
    words = re.findall(r"[a-z]+\d?", path.stem.lower())
    names = [str(stored.get("sensor", "")), *words, *(known.sensors[:1] if known else ())]
    for name in names:
        if name in list_sensors() and get_sensor(name).num_bands == bands:
            return get_sensor(name)
    return unnamed_sensor(bands)


def _source(path, storage, names, layouts, expected_sensor: Sensor, ratio: int) -> PanCollection:
    """Return the set as a source of counts that are not divided by a full scale."""
    info = SetInfo(
        name=path.name,
        sensor=expected_sensor,
        num_bands=layouts["ms"].size("C"),
        guide_bands=layouts["pan"].size("C"),
        ratio=ratio,
        max_value=1.0,
        ms_phase=ratio // 2,
        has_gt="gt" in layouts,
    )
    return PanCollection(storage, {key: (names[key], layouts[key]) for key in layouts}, info)


def _gains(expected_sensor: Sensor, stored) -> tuple[float, ...]:
    name = str(stored.get("mtf", ""))
    if name in list_sensors() and get_sensor(name).num_bands == expected_sensor.num_bands:
        return get_sensor(name).mtf_ms
    return expected_sensor.mtf_ms


def _geometry(
    layouts, expected_sensor, sensor, ratio: int, stored, family: Family
) -> Iterator[Finding]:
    pan, ms = layouts["pan"], layouts["ms"]
    text = (
        f"{pan.size('N')} images, {ms.size('C')} bands, PAN {pan.size('H')}x{pan.size('W')}, MS "
        f"{ms.size('H')}x{ms.size('W')}, ratio {ratio}, stored {ms.axes}"
    )
    yield Finding("ok", "geometry", text)
    other_ratio_is_stated = "ratio" in stored or family.any_ratio
    if sensor is not None and ratio != sensor.ratio and not other_ratio_is_stated:
        text = f"ratio {ratio} where sensor {sensor.name!r} has {sensor.ratio}; give ratio={ratio}"
        yield Finding("warning", "geometry", text)
    if expected_sensor.name == "unknown":
        text = (
            f"the sensor of these {ms.size('C')} bands is unknown; phase measured with MTF gains "
            f"of {UNKNOWN_GAIN}, give --sensor"
        )
        yield Finding("warning", "sensor", text)
    elif sensor is None:
        yield Finding("ok", "sensor", f"assumed {expected_sensor.name}; change it with --sensor")


def _identity(path: Path, known, expected_sensor: Sensor, has_gt: bool) -> Iterator[Finding]:
    resolution = "reduced resolution, with gt" if has_gt else "full resolution, without gt"
    if known is None:
        yield Finding("ok", "set", f"{resolution}; size and bands match no published set")
        return
    sensors = " or ".join(known.sensors)
    yield Finding("ok", "set", f"{resolution}; looks like {known.name} ({sensors})")
    caution_applies = has_gt or (
        path.suffix == ".h5" and expected_sensor.name in ("wv3", "qb", "unknown")
    )
    if known.caution and caution_applies:
        yield Finding("warning", "set", known.caution)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def _short(value) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
