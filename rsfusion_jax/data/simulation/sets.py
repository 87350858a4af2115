"""Implementation of `rsfusion simulate`: data sets for training and evaluation from one scene."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax import __version__
from rsfusion_jax.data.raster import Raster, read_raster
from rsfusion_jax.data.simulation.alignment import Pair, align
from rsfusion_jax.data.simulation.areas import Window, patch_windows, split_areas
from rsfusion_jax.data.simulation.cube import Cube
from rsfusion_jax.data.simulation.full_scale import full_scale_of_rasters
from rsfusion_jax.data.simulation.psf import Psf, coarse_phase
from rsfusion_jax.data.simulation.set_samples import full_samples, reduced_samples
from rsfusion_jax.data.simulation.srf import (
    band_centres,
    is_file_of_weights,
    spectral_response,
)
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.errors import UserError, check_name
from rsfusion_jax.new_files import new_files
from rsfusion_jax.sensors import UNKNOWN_GAIN, Sensor, get_sensor

_MTF = Psf("mtf")
_WITHOUT_MTF = ("imresize", "as_ms")
"""Degradations of PAN that do not look at the MTF, unless MS is blurred by it."""
_PATCH = 64
"""Side of a patch in pixels, as in PanCollection."""


@dataclasses.dataclass(frozen=True)
class _Job:
    """One file to write: `scene` is cropped to `window`, the file's area of the whole scene."""

    path: Path
    scene: Pair | Cube
    window: Window
    patches: list[Window]
    left_out: int
    full_resolution: bool


def simulate_sets(
    pan: str | Path | None,
    ms: str | Path,
    out: str | Path,
    *,
    sensor: str | None = None,
    ratio: int | None = None,
    mtf: str | None = None,
    psf: Psf = _MTF,
    centred: bool = False,
    srf: str | None = None,
    wavelengths: tuple[float, float] | None = None,
    pan_degradation: str | None = None,
    patch: int | str | None = "auto",
    split: Sequence[float] | None = None,
    full_resolution: bool = False,
    max_value: float | None = None,
    seed: int = 0,
) -> list[Path]:
    """Write reduced-resolution sets with `gt`, and optionally a full-resolution set, from a scene.

    The scene is a PAN and MS pair or, with `srf`, a hyperspectral cube. Each split is simulated
    from its own crop, so that filters do not mix pixels of different splits. Nodata is filled from
    the nearest valid pixel before filtering, and patches that contain nodata are dropped. Either
    all files are written completely or none. The scene is in memory in its stored dtype and is
    processed strip by strip.

    Args:
        pan: path of PAN, a `.tif`, `.mat` or `.npy` file; None for a cube.
        ms: path of MS or the cube, in the same formats; may be the same `.mat` file as `pan`.
        out: `OUT.h5`; with `split`, `OUT_train.h5`, `OUT_valid.h5` and `OUT_test.h5` are written.
        sensor: name of the sensor; optional for a cube.
        ratio: PAN pixels per MS pixel along one axis; by default that of the sensor.
        mtf: sensor whose MTF gains replace those of `sensor`.
        psf: point spread function that blurs MS.
        centred: whether coarse pixels lie at (r - 1) / 2, see `data.simulation.psf`.
        srf: spectral response of a cube's guide, see `data.simulation.srf.spectral_response`.
        wavelengths: band centres in nm of a cube's first and last band, with evenly spaced bands
            between them; by default those of the sensor.
        pan_degradation: see `rsfusion_jax.data.simulate`; None for "imresize". A cube has no PAN.
        patch: side of the patches in pixels of `gt`, or of `pan` at full resolution; None for
            whole areas, "auto" for 64 or, where an area is smaller, the largest side that fits.
        split: shares of the scene for train, valid and test, with sum 1; None for a single file.
        full_resolution: also write `OUT_full.h5` from the undegraded pair, in the test area if
            there is one.
        max_value: full scale of the counts; by default from the file's bit depth or the sensor's.
        seed: seed of the order of the patches in a file.

    Returns:
        Paths of the written files.

    Raises:
        UserError: images that cannot be read or registered, an unknown full scale, an existing
            output, an area without a valid patch, or options that contradict each other.
    """
    _refuse_ignored(pan, psf, mtf, srf, wavelengths, pan_degradation)
    check_name(srf or "")  # which the sets store
    pan_degradation = pan_degradation or "imresize"
    coarse, record = _read_coarse(ms, sensor, cube=pan is None)
    ratio = record.ratio if ratio is None else ratio
    if seed < 0:
        raise UserError(f"--seed={seed} must be at least 0")
    _check_options(out, ratio, None if patch == "auto" else patch, pan, srf, full_resolution)
    options = {"ratio": ratio, "sensor": record, "mtf": mtf, "centred": centred}
    options["psf"] = psf = psf.resolved(ratio, centred)
    inputs = {"ms": _fingerprint(Path(ms))}
    attributes = {"ms_phase": coarse_phase(ratio, centred), "psf": psf.name}
    numbers = {"psf_sigma": psf.sigma, "psf_size": psf.size}
    attributes |= {key: number for key, number in numbers.items() if number is not None}
    notices = []
    if pan is None:
        scene, rasters = Cube.from_raster(coarse), (coarse,)
        response = _response(srf, coarse, record, wavelengths)
        options["srf"] = response.pop("array")
        inputs["srf"] = response
        attributes["srf"] = response["name"]
    else:
        guide = read_raster(pan, "pan")
        scene, rasters = align(guide, coarse, ratio), (guide, coarse)
        inputs = {"pan": _fingerprint(Path(pan)), **inputs}
        options["pan_degradation"] = attributes["pan_degradation"] = pan_degradation
        if pan_degradation == "mtf" and ratio % 2 == 0:
            notices.append(
                f"--pan-degradation=mtf leaves PAN 1/{2 * ratio} of a pixel off gt, mtf_centred not"
            )
    scale, doubts = full_scale_of_rasters(rasters, record, max_value)
    notices = [*scene.notices, *doubts, *notices]
    for notice in notices:
        print(f"notice: {notice}")
    if patch == "auto":
        patch = _largest_patch(scene, ratio, split)
        if patch < _PATCH:
            print(f"notice: patches of {patch} pixels, since the smallest area has no more")
    jobs = _plan(scene, Path(out), ratio, patch, split, full_resolution)
    common = {
        "max_value": scale,
        "sensor": record.name,
        "mtf": get_sensor(mtf or record).name,
        "ratio": ratio,
    }
    origin = {
        "program": f"rsfusion simulate {__version__}",
        **inputs,
        "split": split and [float(share) for share in split],
        "seed": seed,
        "notices": notices,
    }
    with new_files([job.path for job in jobs]) as unfinished:
        for job in jobs:
            count = len(job.patches)
            order = np.random.default_rng(seed).permutation(count)
            if job.full_resolution:
                samples = full_samples(job.scene, job.patches, ratio)
                own = {"ms_phase": (ratio - 1) / 2}
            else:
                samples, own = reduced_samples(job.scene, job.patches, options), attributes
            stored = {**common, **own, "provenance": json.dumps({**origin, **_place(job)})}
            write_set(unfinished[job.path], samples, count, stored, np.argsort(order))
    for job in jobs:
        print(_summary(job, ratio, scale))
    return [job.path for job in jobs]


def _refuse_ignored(pan, psf: Psf, mtf, srf, wavelengths, pan_degradation) -> None:
    """Raise `UserError` for an option that would change nothing."""
    if pan is None and pan_degradation is not None:
        raise UserError(f"--pan-degradation={pan_degradation} is for a PAN, which a cube has not")
    if pan is not None and wavelengths is not None:
        raise UserError("--wavelengths are those of a cube; leave them out for PAN and MS")
    if wavelengths is not None and is_file_of_weights(srf):
        raise UserError(f"--srf={srf} has a row for each band; leave out --wavelengths")
    if mtf is not None and psf.name != "mtf" and (pan_degradation or "as_ms") in _WITHOUT_MTF:
        raise UserError(f"--mtf is not used with --psf={psf.name}; leave one of them out")


def _read_coarse(path, sensor: str | None, cube: bool) -> tuple[Raster, Sensor]:
    """Return MS or the cube, and the record of its sensor."""
    if sensor is None and not cube:
        raise UserError("name the sensor of the images as --sensor, one of `rsfusion models`")
    record = None if sensor is None else get_sensor(sensor)
    raster = read_raster(path, "gt" if cube else "ms", record and record.num_bands)
    if record is None:
        bands = raster.image.shape[2]
        record = get_sensor({"bands": bands, "mtf_ms": UNKNOWN_GAIN, "bit_depth": 16})
    return raster, record


def _response(srf: str, cube: Raster, sensor: Sensor, wavelengths) -> dict:
    """Return the spectral response, as `array` and in the form recorded in the file."""
    bands = cube.image.shape[2]
    if wavelengths is None:
        centres = band_centres(sensor)
    else:
        centres = np.linspace(*wavelengths, bands).tolist()
    response = spectral_response(srf, bands, centres)
    return {
        "name": response.name,
        "sha256": response.sha256,
        "weights": response.weights.tolist(),
        "wavelengths": centres,
        "array": response.weights,
    }


def _check_options(out, ratio: int, patch: int | None, pan, srf, full_resolution) -> None:
    if Path(out).suffix != ".h5":
        raise UserError(f"{out} must end with .h5; sets are written as HDF5")
    if ratio < 2:
        raise UserError(f"--ratio={ratio} must be at least 2; at 1 there is nothing to degrade")
    if patch is not None and (patch < 1 or patch % ratio):
        raise UserError(f"--patch={patch} must be a positive multiple of the ratio, {ratio}")
    if pan is None and srf is None:
        raise UserError("one image alone has no guide; give PAN and MS, or --srf for a cube")
    if pan is not None and srf is not None:
        raise UserError(f"--srf={srf} is for a hyperspectral cube; give one image, or no --srf")
    if pan is None and full_resolution:
        raise UserError("--full-resolution needs PAN: a cube has no finer guide; leave it out")


def _areas(scene: Pair | Cube, split) -> dict[str, Window]:
    """Return the areas of the scene by split; one without a name if it is not split."""
    height, width = scene.ms_valid.shape
    if split is None:
        return {"": (slice(0, height), slice(0, width))}
    return split_areas(height, width, split)


def _largest_patch(scene: Pair | Cube, ratio: int, split) -> int:
    """Return the largest side up to `_PATCH` of a patch that fits into every area."""
    sides = [s.stop - s.start for window in _areas(scene, split).values() for s in window]
    return max(min(_PATCH, *sides) // ratio, 1) * ratio


def _plan(scene: Pair | Cube, out: Path, ratio, patch, split, full_resolution) -> list[_Job]:
    """Return the files to write, each with its crop of the scene."""
    areas = _areas(scene, split)
    jobs = []
    for name, window in areas.items():
        path = out.with_name(f"{out.stem}_{name}.h5") if name else out
        crop = scene.crop(*window, ratio)
        patches, left_out = patch_windows(crop.complete(ratio), patch, ratio)
        jobs.append(_Job(path, crop, window, patches, left_out, False))
    if full_resolution:
        window = areas.get("test", areas.get("", _areas(scene, None)[""]))
        crop = scene.crop(*window, ratio)
        side = None if patch is None else patch // ratio
        patches, left_out = patch_windows(crop.complete(ratio), side, 1)
        path = out.with_name(f"{out.stem}_full.h5")
        jobs.append(_Job(path, crop, window, patches, left_out, True))
    for job in jobs:
        if not job.patches:
            rows, columns = job.scene.ms_valid.shape
            patches = f"{job.left_out} patches, all touching nodata" if job.left_out else "no patch"
            size = "the whole area" if patch is None else f"--patch={patch}"
            raise UserError(
                f"{job.path.name}: its area of {rows}x{columns} MS pixels holds {patches} for "
                f"{size}; choose a smaller --patch or another --split"
            )
    return jobs


def _fingerprint(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _place(job: _Job) -> dict[str, object]:
    rows, columns = job.window
    geometry = job.scene.geometry
    return {
        "rows": [rows.start, rows.stop],
        "columns": [columns.start, columns.stop],
        "crs": job.scene.crs,
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
