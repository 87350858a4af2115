"""Three real images sharpened by `rsfusion fuse` at full resolution, without a ground truth.

    python -m benchmarks.studies.full_resolution --data=FOLDER [--images=wv2] [--picture=PNG]

Run from the clone's root. Data: the WorldView-2, IKONOS and GeoEye-1 images that
benchmarks/images.py names; `--data` is their folder.

Each image becomes a GeoTIFF pair whose corners coincide. The command sharpens it by classical
methods, by the packaged weights and by adaptation, and the result is scored against the pair:
R-ERGAS and R-SAM (degraded again it should be MS), D_rho (its detail should be PAN's), HQNR for
information. "Moved": MS is read where the measured residual shift puts it, not at the corners.

Rows go to benchmarks/results/full_resolution.json; the table of all rows is printed. A part of each
image is drawn to `--picture`. Fused files stay in `--folder` and are not made again.
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio

from benchmarks import record
from benchmarks.command_line import parser
from benchmarks.fuse_command import fuse
from benchmarks.images import NAMES, RATIO, add_flags, counts, read, write_pair
from rsfusion_jax import metrics
from rsfusion_jax.ops.resample import interpolate_at

METHODS = {
    "EXP": ["--method=exp"],
    "Brovey": ["--method=brovey"],
    "GSA": ["--method=gsa"],
    "BT-H": ["--method=bt_h"],
    "BDSD-PC": ["--method=bdsd_pc"],
    "MTF-GLP-HPM": ["--method=mtf_glp_hpm"],
    "default weights": [],
    "default weights, adapted": ["--adapt=240", "--network=anysensor"],
    "OneSensor, adapted": ["--adapt"],
    "FusionNet, adapted": ["--adapt=800", "--network=fusionnet"],
}
REMEDIES = {  # against the gap between the scale of training and the scale of fusion
    "default weights, adapted, consistent": ["--full-resolution=1"],
    "default weights, adapted, tuned": ["--fine-tune=50"],
    "default weights, adapted, shift corrected": ["--shift=auto"],
    "FusionNet, adapted, tuned": ["--fine-tune=50"],
}
for name, flags in REMEDIES.items():
    METHODS[name] = [*METHODS[name.rpartition(", ")[0]], *flags]
COLUMNS = ("R-ERGAS", "R-SAM", "D_rho", "HQNR")
RGB = {"wv2": (4, 2, 1), "ikonos": (2, 1, 0), "ge1": (2, 1, 0)}
PART = slice(560, 720)  # PAN pixels along both axes that are drawn


def fused_and_shift(pair, out: Path, flags: list[str]) -> tuple[np.ndarray, list[float]]:
    """Fuse the pair by the command; return (H, W, C) and the measured shift in PAN pixels."""
    if not out.exists():
        fuse(pair, out, flags)
    with rasterio.open(pair[0]) as pan, rasterio.open(out) as file:
        shift = json.loads(file.tags()["RSFUSION_FIGURES"])["residual_shift"]
        ours, theirs = pan.transform, file.transform
        top, left = round((theirs.f - ours.f) / ours.e), round((theirs.c - ours.c) / ours.a)
        # A corrected shift leaves a row or column of PAN without MS.
        rest = (pan.height - file.height - top, pan.width - file.width - left)
        padding = ((0, 0), (top, rest[0]), (left, rest[1]))
        fused = np.pad(file.read(), padding, mode="edge")
        return np.moveaxis(fused, 0, -1).astype(np.float32), shift


def scores(fused, pan, ms, sensor: str, shift: list[float]) -> dict[str, float]:
    """Compute the indices that need no ground truth."""
    place = {"sensor": sensor, "ratio": RATIO}
    phase = {"ms_phase": (RATIO - 1) / 2}
    places = (np.arange(n) - s / RATIO for n, s in zip(ms.shape, shift, strict=False))
    moved = interpolate_at(ms, *places)
    values = {
        "R-ERGAS": metrics.r_ergas(fused, ms, **phase, **place),
        "R-SAM": metrics.r_sam(fused, ms, **phase, **place),
        "D_rho": metrics.d_rho(fused, pan, ratio=RATIO),
        "HQNR": metrics.hqnr(fused, ms, pan, **place),
        "R-ERGAS moved": metrics.r_ergas(fused, moved, **phase, **place),
        "R-SAM moved": metrics.r_sam(fused, moved, **phase, **place),
    }
    return {name: float(value) for name, value in values.items()}


def draw(parts: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Draw one row for each image, one column for each method."""
    columns = list(next(iter(parts.values())))
    shape = len(parts), len(columns)
    size = 2.2 * shape[1], 2.35 * shape[0]
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9)
    for row, (image, pictures) in zip(axes, parts.items(), strict=True):
        low, high = np.percentile(pictures["EXP"], (1, 99), axis=(0, 1))
        for axis, part in zip(row, pictures.values(), strict=True):
            grey = part.shape[-1] == 1
            shown = part[..., 0] if grey else np.clip((part - low) / (high - low), 0, 1)
            axis.imshow(shown, cmap="gray" if grey else None)
            axis.set_xticks([]), axis.set_yticks([])
        row[0].set_ylabel(NAMES[image], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=55)


def main() -> None:
    """Score the chosen methods on the chosen images and print the table."""
    flags = parser(__doc__, "full_resolution.json")
    add_flags(flags)
    usual = ";".join(name for name in METHODS if name not in REMEDIES)
    flags.add_argument("--methods", default=usual, help=f"by semicolon: {'; '.join(METHODS)}")
    flags.add_argument("--folder", type=Path, default=Path("runs/full_resolution"))
    flags.add_argument("--picture", type=Path)
    options = flags.parse_args()
    rows, parts = record.read(options.out), {}
    for image in options.images:
        pan, ms = read(options.data, image)
        pair = write_pair(options.folder / image, counts(pan), counts(ms))
        parts[image] = {"PAN": pan[PART, PART]}
        for method in options.methods.split(";"):
            out = options.folder / image / f"{method.replace(' ', '_')}.tif"
            fused, shift = fused_and_shift(pair, out, [*METHODS[method], f"--sensor={image}"])
            parts[image][method] = fused[PART, PART][..., list(RGB[image])]
            row = {"image": image, "method": method, **scores(fused, pan, ms, image, shift)}
            rows = record.merge(options.out, [row], ("image", "method"))
    if options.picture:
        draw(parts, options.picture)
    lines = [
        [NAMES[row["image"]], row["method"], *(f"{row[column]:.3f}" for column in COLUMNS)]
        for row in rows
    ]
    print(record.table(("image", "method", *COLUMNS), lines))


if __name__ == "__main__":
    main()
