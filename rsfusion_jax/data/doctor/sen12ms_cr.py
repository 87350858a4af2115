"""Implementation of `rsfusion check` for a SEN12MS-CR folder."""

import collections
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rsfusion_jax.data.doctor.verdicts import Finding
from rsfusion_jax.data.sen12ms_cr.files import KINDS, SPLITS, Patch, list_patches, scene_splits
from rsfusion_jax.data.sen12ms_cr.normalisation import PRESETS
from rsfusion_jax.data.sen12ms_cr.source import BANDS, read_patch
from rsfusion_jax.errors import UserError

_PATCHES = 64
"""Largest number of patches that are read, evenly spaced; file names are checked for all."""


def examine_folder(root: Path) -> Iterator[Finding]:
    """Check file names, completeness, splits, and the contents of some patches."""
    listing = list_patches(root)
    complaint = listing.complaint()
    patches = listing.complete
    if not patches:
        yield Finding("error", "partners", f"no patch has all of {', '.join(KINDS)}: {complaint}")
        return
    scenes = collections.Counter(season for season, _ in {patch[:2] for patch in patches})
    text = ", ".join(f"{season} {count}" for season, count in sorted(scenes.items()))
    yield Finding("ok", "files", f"SEN12MS-CR: {len(patches)} complete patches, scenes: {text}")
    if complaint:
        yield Finding("warning", "partners", f"left out: {complaint}")
    else:
        yield Finding("ok", "partners", f"every patch has {', '.join(KINDS)}")
    splits = scene_splits(patches, "official", 0)
    counts = collections.Counter(splits[patch[:2]] for patch in patches)
    text = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
    empty = [split for split in SPLITS if not counts[split]]
    hint = "; split by 'scenes' where one is empty" if empty else ""
    yield Finding("warning" if empty else "ok", "split", f"official: {text} patches{hint}")
    chosen = np.linspace(0, len(patches) - 1, min(len(patches), _PATCHES)).round().astype(int)
    yield from _contents(root, [patches[index] for index in sorted(set(chosen.tolist()))])


def _contents(root: Path, patches: list[Patch]) -> Iterator[Finding]:
    values = {kind: [] for kind in KINDS}
    sizes, holes, mismatched = collections.Counter(), [], []
    for patch in patches:
        geometries, shapes = set(), set()
        for kind in KINDS:
            path = patch.path(root, kind)
            try:
                raster = read_patch(path, kind)
            except UserError as error:
                yield Finding("error", "files", str(error))
                continue
            shapes.add(raster.valid.shape)
            geometries.add(raster.geometry)
            values[kind].append(raster.image[raster.valid][::16].astype(np.float32))
            if not raster.valid.all():
                holes.append(f"{kind} of {patch} ({100 * np.mean(~raster.valid):.2g} %)")
        if len(shapes) > 1 or len(geometries) > 1:
            mismatched.append(str(patch))
        sizes.update(f"{height}x{width}" for height, width in shapes)
    text = ", ".join(f"{size} ({count})" for size, count in sizes.most_common())
    if mismatched:
        text += (
            f"; size or georeference differ among the files of {len(mismatched)}, as "
            f"{mismatched[0]}"
        )
    yield Finding("error" if mismatched else "ok", "geometry", f"{len(patches)} read: {text}")
    if holes:
        text = f"in {len(holes)} files, as {holes[0]}: filled when read, or holes='leave_out'"
        yield Finding("warning", "holes", text)
    else:
        yield Finding("ok", "holes", "no NaN and no nodata in the patches read")
    for kind in KINDS:
        joined = np.concatenate([*values[kind], np.empty((0, BANDS[kind]), np.float32)])
        if not len(joined):
            yield Finding("error", "values", f"{kind}: no valid pixel")
        elif kind == "s1":
            yield _judge_radar(joined)
        else:
            yield _judge_optical(kind, joined)


def _judge_radar(values: np.ndarray) -> Finding:
    preset = PRESETS["sen12mscr"]
    medians = np.median(values, axis=0)
    parts = [
        f"{name} median {medians[i]:.3g} dB, {100 * np.mean((c < low) | (c > high)):.2g} % clipped"
        for i, (name, (low, high)) in enumerate((("VV", preset.vv), ("VH", preset.vh)))
        for c in (values[:, i],)
    ]
    if medians[0] >= 0:
        level, hint = "error", ": linear power, expected dB; convert by 10 log10"
    elif medians[1] > medians[0]:
        level, hint = "warning", ": VH brighter than VV, perhaps swapped"
    else:
        level, hint = "ok", f" under {preset.name!r}"
    return Finding(level, "values", f"s1: {'; '.join(parts)}{hint}")


def _judge_optical(kind: str, values: np.ndarray) -> Finding:
    preset = PRESETS["sen12mscr"]
    peak, clipped = float(values.max()), 100 * float(np.mean(values > preset.s2_max))
    text = (
        f"{kind}: counts {values.min():.6g}..{peak:.6g}, {clipped:.2g} % beyond {preset.s2_max:g}"
    )
    if peak <= 2:
        return Finding("error", "values", f"{text}: reflectances, expected counts x 10000")
    dead = [str(band + 1) for band in np.flatnonzero(np.ptp(values, axis=0) == 0)]
    if dead:
        return Finding("warning", "values", f"{text}; constant in file band {', '.join(dead)}")
    return Finding("ok", "values", text)
