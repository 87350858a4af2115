"""`rsfusion simulate`: a PAN and an MS image to sets that networks train and are scored on."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax import __version__
from rsfusion_jax.data.alignment import Pair, align
from rsfusion_jax.data.areas import Window, patch_windows, split_areas
from rsfusion_jax.data.raster import Raster, read_raster
from rsfusion_jax.data.set_file import new_files, write_set
from rsfusion_jax.data.wald import simulate
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.resample import interpolate_at
from rsfusion_jax.sensors import Sensor, get_sensor


@dataclasses.dataclass(frozen=True)
class _Job:
    """One set to be written: `pair` is its own crop, `window` where that lies in the pair."""

    path: Path
    pair: Pair
    window: Window
    patches: list[Window]
    left_out: int
    full_resolution: bool


def simulate_sets(
    pan: str | Path,
    ms: str | Path,
    out: str | Path,
    *,
    sensor: str,
    ratio: int | None = None,
    mtf: str | None = None,
    pan_degradation: str = "imresize",
    patch: int | None = 64,
    split: Sequence[float] | None = None,
    full_resolution: bool = False,
    max_value: float | None = None,
    seed: int = 0,
) -> list[Path]:
    """Writes reduced-resolution sets with `gt`, and a full-resolution one without, from one pair.

    Every area is simulated from its own crop, so that no filter carries one split into another.
    Nodata is filled from the nearest valid pixel before any filter, and patches that touch it are
    left out. Files appear together, complete, or not at all. The images are held in memory.

    Args:
        pan: PAN as `.tif`, `.mat` or `.npy`.
        ms: MS likewise; may be the same `.mat` file.
        out: `OUT.h5`; with `split` `OUT_train.h5`, `OUT_valid.h5` and `OUT_test.h5`.
        sensor: whose pixels these are.
        ratio: PAN pixels per MS pixel; the sensor's by default.
        mtf: sensor whose MTF gains are used instead.
        pan_degradation: see `rsfusion_jax.data.simulate`.
        patch: side in pixels of `gt`, and of `pan` at full resolution; None for whole areas.
        split: shares of the scene for train, valid and test.
        full_resolution: also write `OUT_full.h5` from the undegraded pair, its test area where
            there is one.
        max_value: full scale of the counts; by default the file's bit depth or the sensor's.
        seed: order of the patches in a file.

    Returns:
        The files written.

    Raises:
        UserError: images that cannot be read or paired, an unknown full scale, an existing output,
            or an area without a single valid patch.
    """
    record = get_sensor(sensor)
    ratio = record.ratio if ratio is None else ratio
    _check_options(out, ratio, patch)
    inputs = [Path(pan), Path(ms)]
    guide = read_raster(inputs[0], "pan")
    coarse = read_raster(inputs[1], "ms", record.num_bands)
    scale, notices = _full_scale(guide, coarse, record, max_value)
    pair = align(guide, coarse, ratio)
    if pan_degradation == "mtf" and ratio % 2 == 0:
        notices.append(
            f"--pan-degradation=mtf leaves PAN 1/{2 * ratio} of a pixel off gt, mtf_centred not"
        )
    for notice in (*pair.notices, *notices):
        print(f"notice: {notice}")
    jobs = _plan(pair, Path(out), ratio, patch, split, full_resolution)
    common = {
        "max_value": scale,
        "sensor": record.name,
        "mtf": get_sensor(mtf or record).name,
        "ratio": ratio,
    }
    options = {"ratio": ratio, "sensor": record, "mtf": mtf, "pan_degradation": pan_degradation}
    origin = {
        "program": f"rsfusion simulate {__version__}",
        "pan": _fingerprint(inputs[0]),
        "ms": _fingerprint(inputs[1]),
        "split": split and [float(share) for share in split],
        "seed": seed,
        "notices": [*pair.notices, *notices],
    }
    with new_files([job.path for job in jobs]) as unfinished:
        for job in jobs:
            order = np.random.default_rng(seed).permutation(len(job.patches))
            patches = [job.patches[index] for index in order]
            if job.full_resolution:
                samples = _full_samples(job.pair, patches, ratio)
                attributes = {"ms_phase": (ratio - 1) / 2}
            else:
                samples = _reduced_samples(job.pair, patches, options)
                attributes = {"ms_phase": ratio // 2, "pan_degradation": pan_degradation}
            provenance = json.dumps({**origin, **_place(job)})
            attributes |= {**common, "provenance": provenance}
            write_set(unfinished[job.path], samples, len(patches), attributes)
    for job in jobs:
        print(_summary(job, ratio, scale))
    return [job.path for job in jobs]


def _check_options(out: str | Path, ratio: int, patch: int | None) -> None:
    if Path(out).suffix != ".h5":
        raise UserError(f"{out} must end with .h5; sets are written as HDF5")
    if ratio < 2:
        raise UserError(f"--ratio={ratio} must be at least 2; at 1 there is nothing to degrade")
    if patch is not None and (patch < 1 or patch % ratio):
        raise UserError(f"--patch={patch} must be a positive multiple of the ratio, {ratio}")


def _full_scale(pan: Raster, ms: Raster, sensor: Sensor, max_value: float | None):
    """The divisor to [0, 1] and what to tell about it; nodata does not count."""
    values = [raster.image[raster.valid] for raster in (pan, ms)]
    peak, name = max(
        (float(array.max()), raster.name) for array, raster in zip(values, (pan, ms), strict=True)
    )
    if max_value is not None:
        if not 0 < max_value < float("inf"):
            raise UserError(f"--max-value={max_value:g} must be a positive number")
        if peak > max_value:
            return max_value, [f"{name} reaches {peak:g}, beyond --max-value={max_value:g}"]
        return max_value, []
    if any(array.dtype.kind == "f" and np.any(array != np.rint(array)) for array in values):
        raise UserError(
            f"{name} holds fractions up to {peak:g}, no counts of a known bit depth; give the full "
            "scale that stands for 1 as --max-value, at least that maximum"
        )
    depths = {raster.bit_depth for raster in (pan, ms)} - {None}
    bits = max(depths, default=sensor.bit_depth)
    width = max(8 * a.dtype.itemsize if a.dtype.kind in "ui" else 16 for a in values)
    scale, notices = float(2 ** min(bits, width) - 1), []
    if scale != sensor.max_value:
        reason = "the file says" if depths else "the stored type ends"
        notices.append(
            f"full scale {scale:g} ({reason}) instead of sensor {sensor.name!r}'s "
            f"{sensor.max_value:g}"
        )
    top = max(float(np.quantile(array, 0.9999)) for array in values)
    if top > scale:
        raise UserError(
            f"{name} reaches {peak:g} (99.99 % below {top:g}), beyond the full scale {scale:g} of "
            f"sensor {sensor.name!r}; give the full scale of the data as --max-value"
        )
    return scale, notices


def _plan(pair: Pair, out: Path, ratio, patch, split, full_resolution) -> list[_Job]:
    """The files to write, each with its own crop of the pair."""
    height, width = pair.ms_valid.shape
    if split is None:
        areas = {"": (slice(0, height), slice(0, width))}
    else:
        areas = split_areas(height, width, split)
    jobs = []
    for name, window in areas.items():
        path = out.with_name(f"{out.stem}_{name}.h5") if name else out
        crop = pair.crop(*window, ratio)
        patches, left_out = patch_windows(crop.complete(ratio), patch, ratio)
        jobs.append(_Job(path, crop, window, patches, left_out, False))
    if full_resolution:
        window = areas.get("test", areas.get("", (slice(0, height), slice(0, width))))
        crop = pair.crop(*window, ratio)
        side = None if patch is None else patch // ratio
        patches, left_out = patch_windows(crop.complete(ratio), side, 1)
        path = out.with_name(f"{out.stem}_full.h5")
        jobs.append(_Job(path, crop, window, patches, left_out, True))
    for job in jobs:
        if not job.patches:
            rows, columns = job.pair.ms_valid.shape
            found = f"{job.left_out} patches, all touching nodata" if job.left_out else "no patch"
            needed = "the whole area" if patch is None else f"--patch={patch}"
            raise UserError(
                f"{job.path.name}: its area of {rows}x{columns} MS pixels holds {found} for "
                f"{needed}; choose a smaller --patch or another --split"
            )
    return jobs


def _reduced_samples(pair: Pair, patches, options) -> Iterator[dict[str, np.ndarray]]:
    pan, ms = pair.filled()
    ratio = options["ratio"]
    height, width = (size // ratio * ratio for size in ms.shape[:2])
    pan, ms = pan[: ratio * height, : ratio * width], ms[:height, :width]
    area = simulate(pan, ms, **options)
    stored = ms.astype(_stored_type(ms))
    for rows, columns in patches:
        low = tuple(slice(s.start // ratio, s.stop // ratio) for s in (rows, columns))
        yield {
            "gt": stored[rows, columns],
            "ms": area["ms"][low].astype(np.float32),
            "lms": area["lms"][rows, columns].astype(np.float32),
            "pan": area["pan"][rows, columns].astype(np.float32),
        }


def _full_samples(pair: Pair, patches, ratio: int) -> Iterator[dict[str, np.ndarray]]:
    pan, ms = pair.filled()
    precise = ms if ms.dtype == np.float32 else ms.astype(np.float64)
    # PAN pixel u lies at (u - (r - 1) / 2) / r of a corner-aligned MS.
    positions = [(np.arange(ratio * n) - (ratio - 1) / 2) / ratio for n in ms.shape[:2]]
    lms = interpolate_at(precise, *positions)
    for rows, columns in patches:
        fine = tuple(slice(ratio * s.start, ratio * s.stop) for s in (rows, columns))
        yield {
            "ms": ms[rows, columns].astype(_stored_type(ms)),
            "lms": lms[fine].astype(np.float32),
            "pan": pan[fine].astype(_stored_type(pan)),
        }


def _stored_type(image: np.ndarray) -> np.dtype:
    """Counts stay what they are; fractions are stored as float32."""
    return np.dtype(np.float32) if image.dtype.kind == "f" else image.dtype


def _fingerprint(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _place(job: _Job) -> dict[str, object]:
    rows, columns = job.window
    geometry = job.pair.geometry
    return {
        "rows": [rows.start, rows.stop],
        "columns": [columns.start, columns.stop],
        "crs": job.pair.crs,
        "pan_transform": None if geometry is None else [float(value) for value in geometry],
    }


def _summary(job: _Job, ratio: int, scale: float) -> str:
    rows, columns = job.patches[0]
    size = (rows.stop - rows.start, columns.stop - columns.start)
    if job.full_resolution:
        size = tuple(ratio * n for n in size)
    area = "x".join(str(s.stop - s.start) for s in job.window)
    start = f"row {job.window[0].start}, column {job.window[1].start}"
    text = f"{job.path}: {len(job.patches)} x {size[0]}x{size[1]}"
    text += " without gt" if job.full_resolution else ""
    text += f", from {area} MS pixels at {start}, full scale {scale:g}"
    return text + (f"; {job.left_out} patches touch nodata" if job.left_out else "")
