"""Samples of SEN12MS-CR for its two tasks, cloud removal and SAR-guided sharpening.

Ebel, Meraner, Schmitt, Zhu, "Multisensor data fusion for cloud removal in global and all-season
Sentinel-2 imagery", IEEE TGRS 59(7), 2021: patches of 256 x 256 pixels of 10 m from all continents,
with Sentinel-1 VV and VH in dB, and a cloudy and a clear image of Sentinel-2 level 1C in 13 bands.
"""

import concurrent.futures
import dataclasses
import operator
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax.data.raster import Raster, fill_holes, read_geotiff
from rsfusion_jax.data.sen12ms_cr.files import (
    KINDS,
    SPLIT_RULES,
    SPLITS,
    Patch,
    list_patches,
    scene_splits,
)
from rsfusion_jax.data.sen12ms_cr.normalisation import Normalisation, get_normalisation
from rsfusion_jax.data.source import Sample, SetInfo
from rsfusion_jax.data.stored.check import DataWarning, sampled_indices
from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.ops.resample import decimate, interp23
from rsfusion_jax.sensors import get_sensor, select_bands

BANDS = {"s1": 2, "s2": 13, "s2_cloudy": 13}
_KINDS_OF = {"cloud_removal": KINDS, "sar_sharpening": ("s1", "s2")}
_NATIVE = ("B2", "B3", "B4", "B8")
"""Bands that Sentinel-2 records at 10 m; the others are interpolated to 10 m and are no ground
truth at that resolution."""
_HOLES = ("fill", "leave_out")


class Sen12msCr:
    """Patches of one split by index, read on demand; create it with `open_sen12ms_cr`.

    Worker processes and threads may share it, since it keeps no open files.
    """

    def __init__(
        self, root: Path, patches: list[Patch], task: str, normalisation: Normalisation, info
    ):
        self.info = info
        self._root, self._patches, self._task = root, patches, task
        self._normalisation = normalisation
        available = get_sensor("sen12ms_cr").bands
        self._bands = [available.index(name) for name in info.sensor.bands]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index`; nodata is filled from the nearest valid pixel of the same file.

        Raises:
            IndexError: beyond the end.
            UserError: a file cannot be read or has the wrong number of bands.
        """
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} patches, not index {index}")
        images = {kind: self._read(index, kind) for kind in _KINDS_OF[self._task]}
        sizes = {image.shape[:2] for image in images.values()}
        if len(sizes) > 1:
            shown = ", ".join(f"{k} {i.shape[0]}x{i.shape[1]}" for k, i in images.items())
            raise UserError(
                f"{self._root}: the files of {self._patches[index]} are of different sizes "
                f"({shown}), expected one; download the patch again or delete it"
            )
        if self._task == "cloud_removal":
            cloudy = images["s2_cloudy"]
            samples = {"pan": images["s1"], "ms": cloudy, "lms": cloudy.copy(), "gt": images["s2"]}
            return samples
        ratio = self.info.ratio
        height, width = (side // ratio * ratio for side in images["s2"].shape[:2])
        clear = images["s2"][:height, :width]
        low = decimate(mtf_filter(clear, self.info.sensor.mtf_ms, ratio), ratio)
        guide = images["s1"][:height, :width]
        return {"pan": guide, "ms": low, "lms": interp23(low, ratio), "gt": clear}

    def _read(self, index: int, kind: str) -> np.ndarray:
        raster = read_patch(self._patches[index].path(self._root, kind), kind)
        if kind == "s1":
            scaled = self._normalisation.radar(raster.image)
        else:
            scaled = self._normalisation.optical(raster.image[..., self._bands])
        return np.ascontiguousarray(fill_holes(scaled, raster.valid))


def open_sen12ms_cr(
    root: str | os.PathLike,
    *,
    split: str,
    task: str = "cloud_removal",
    ratio: int | None = None,
    bands: Sequence[str] = (),
    normalisation: str | Normalisation = "sen12mscr",
    split_rule: str = "official",
    holes: str = "fill",
    seed: int = 0,
) -> Sen12msCr:
    """Open and check a split of a SEN12MS-CR folder.

    File names are listed, and a seeded sample of patches (`check.SAMPLED_IMAGES`) is read and
    checked.

    Args:
        root: folder that contains `ROIs1158_spring_s1` and so on; it may contain only a part of
            the data set.
        split: "train", "valid" or "test".
        task: "cloud_removal" (ratio 1: `ms` = `lms` = the cloudy image, `gt` the clear one) or
            "sar_sharpening" (`ms` is the clear image blurred by its MTF and decimated, as in
            Wald's protocol; the radar image is not degraded). `pan` is VV and VH in both.
        ratio: `pan` pixels per `ms` pixel; by default 4 for "sar_sharpening", 1 for
            "cloud_removal", which has no other.
        bands: names of the Sentinel-2 bands to use; by default all 13 for cloud removal and those
            of 10 m for sharpening.
        normalisation: name of a preset of `normalisation.PRESETS`, or a `Normalisation`.
        split_rule: "official", or "scenes" (see `files.scene_splits`).
        holes: treatment of patches with nodata, NaN, or Sentinel-2 counts of 0 in all bands.
            "fill" takes the nearest valid pixel (a file without any becomes 0, the low end of the
            range); "leave_out" reads every file once when the set is opened and excludes such
            patches.
        seed: seed of `split_rule="scenes"`.

    Raises:
        UserError: an unknown choice, no complete patch, an empty split, or files with unexpected
            bands or units (radar in dB, optical images in counts).

    Warns:
        check.DataWarning: patches that are incomplete (with their number and names), that are
            excluded for holes, or whose VH is brighter than VV.
    """
    root = Path(root)
    choices = (
        ("split", split, SPLITS),
        ("task", task, tuple(_KINDS_OF)),
        ("split_rule", split_rule, SPLIT_RULES),
        ("holes", holes, _HOLES),
    )
    for field, value, allowed in choices:
        if value not in allowed:
            raise UserError(
                f"SEN12MS-CR: {field}={value!r} is unknown; choose one of {', '.join(allowed)}"
            )
    cloud_removal = task == "cloud_removal"
    ratio = ratio or (1 if cloud_removal else 4)
    if (ratio == 1) != cloud_removal or ratio < 1:
        raise UserError(
            f"SEN12MS-CR: ratio={ratio} does not belong to task={task!r}; cloud_removal has 1, "
            "sar_sharpening 2 or more"
        )
    normalisation = get_normalisation(normalisation)
    sensor = get_sensor("sen12ms_cr")
    sensor = select_bands(sensor, bands or (sensor.bands if cloud_removal else _NATIVE))
    kinds = _KINDS_OF[task]
    listing = list_patches(root, kinds)
    complaint = listing.complaint()
    if not listing.complete:
        raise UserError(
            f"{root}: no patch has all of {', '.join(kinds)} ({complaint}); download what is "
            "missing"
        )
    if complaint:
        _warn(f"{root}: patches that lack a partner are left out: {complaint}")
    splits = scene_splits(listing.complete, split_rule, seed)
    patches = [patch for patch in listing.complete if splits[patch[:2]] == split]
    if patches and holes == "leave_out":
        whole = _without_holes(root, patches, kinds)
        if len(whole) < len(patches):
            _warn(
                f"{root}: {len(patches) - len(whole)} of {len(patches)} patches have holes and are "
                f"left out, as {min(set(patches) - set(whole))}"
            )
        patches = whole
    if not patches:
        hint = "use split_rule='scenes'" if split_rule == "official" else "more scenes are needed"
        raise UserError(
            f"{root}: none of its {len(splits)} scenes gives a patch to {split!r} under "
            f"split_rule={split_rule!r}; {hint}"
        )
    info = SetInfo(
        name=f"SEN12MS-CR {split}, {task}, {normalisation.name}",
        sensor=sensor,
        num_bands=sensor.num_bands,
        guide_bands=BANDS["s1"],
        ratio=ratio,
        max_value=float(normalisation.s2_max),
        ms_phase=float(ratio // 2),
        has_gt=True,
    )
    checked = [patches[index] for index in sampled_indices(len(patches))]
    brighter = [_check_patch(root, patch, kinds) for patch in checked].count("VH")
    if 2 * brighter > len(checked):
        _warn(
            f"{root}: in {brighter} of {len(checked)} patches looked at the second radar channel "
            "is brighter than the first, expected VV before VH; swap them if that is wrong"
        )
    return Sen12msCr(root, patches, task, normalisation, info)


def read_patch(path: Path, kind: str) -> Raster:
    """Read one file of a patch as stored, in dB or counts, with its mask of valid pixels.

    Raises:
        UserError: the file cannot be read or has the wrong number of bands for its kind.
    """
    if not path.is_file():
        raise UserError(f"{path} was removed after the folder was listed; open the set again")
    raster = read_geotiff(path)
    image, valid = raster.image, raster.valid
    if image.shape[2] != BANDS[kind]:
        raise UserError(
            f"{path} has {image.shape[2]} bands, expected the {BANDS[kind]} of {kind}; download "
            "the patch again"
        )
    if image.dtype.kind == "f":
        valid = valid & np.isfinite(image).all(axis=2)
    if kind != "s1":
        valid = valid & (image != 0).any(axis=2)  # Sentinel-2 marks nodata by 0 in all bands
    return dataclasses.replace(raster, valid=valid)


def _check_patch(root: Path, patch: Patch, kinds: Sequence[str]) -> str:
    """Check the units of a patch's files and return the brighter radar channel, "VV" or "VH".

    Raises:
        UserError: radar that is not in dB, or an optical image that is not in counts.
    """
    brighter = "VV"
    for kind in kinds:
        path = patch.path(root, kind)
        raster = read_patch(path, kind)
        values = raster.image[raster.valid]
        if not len(values):
            continue
        if kind == "s1":
            vv, vh = (float(median) for median in np.median(values, axis=0))
            if vv >= 0:
                raise UserError(
                    f"{path}: VV has a median of {vv:.3g}, expected dB below 0; convert linear "
                    "power by 10 log10"
                )
            brighter = "VH" if vh > vv else "VV"
        elif values.max() <= 2:
            raise UserError(
                f"{path}: values end at {float(values.max()):.3g}, expected counts of up to 10000 "
                "and more; multiply reflectances by 10000"
            )
    return brighter


def _without_holes(root: Path, patches: list[Patch], kinds: Sequence[str]) -> list[Patch]:
    def whole(patch: Patch) -> bool:
        return all(read_patch(patch.path(root, kind), kind).valid.all() for kind in kinds)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return [p for p, good in zip(patches, pool.map(whole, patches), strict=True) if good]


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=3)
