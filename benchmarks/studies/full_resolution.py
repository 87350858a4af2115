"""Three real images sharpened from the command line at full resolution, where no truth exists.

    PYTHONPATH=. python benchmarks/full_resolution.py --shared=../shared [--images=wv2]

Each image becomes a GeoTIFF pair whose corners coincide, `rsfusion fuse` sharpens it by formulas,
by the packaged weights and by adaptation, and what comes out is scored against the pair itself:
R-ERGAS and R-SAM (degraded again it should be MS), D_rho (its detail should be PAN's), HQNR for
information. "Moved": MS is read where the residual shift between PAN and MS, as measured, puts it,
and not where the corners do. Rows go to benchmarks/results/full_resolution.json, the table is
printed, and a part of each image is drawn to --picture.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio

from benchmarks.adapt import IMAGES, RATIO, read
from rsfusion_jax import metrics
from rsfusion_jax.ops.resample import interpolate_at

NAMES = {"wv2": "WorldView-2", "ikonos": "IKONOS", "ge1": "GeoEye-1"}
METHODS = {
    "EXP": ["--method=exp"],
    "Brovey": ["--method=brovey"],
    "GSA": ["--method=gsa"],
    "BT-H": ["--method=bt_h"],
    "BDSD-PC": ["--method=bdsd_pc"],
    "MTF-GLP-HPM": ["--method=mtf_glp_hpm"],
    "default weights": [],
    "default weights, adapted": ["--adapt=120", "--network=bandwise"],
    "FusionNet, adapted": ["--adapt=800", "--network=fusionnet"],
}
REMEDIES = {  # against the gap between the scale that is learnt at and the one that is fused
    "default weights, adapted, consistent": ["--full-resolution=1"],
    "default weights, adapted, tuned": ["--fine-tune=50"],
    "default weights, adapted, shift corrected": ["--shift=auto"],
    "FusionNet, adapted, tuned": ["--fine-tune=50"],
}
for name, flags in REMEDIES.items():
    METHODS[name] = [*METHODS[name.rpartition(", ")[0]], *flags]
COLUMNS = ("R-ERGAS", "R-SAM", "D_rho", "HQNR")
RGB = {"wv2": (4, 2, 1), "ikonos": (2, 1, 0), "ge1": (2, 1, 0)}
PART = slice(560, 720)  # PAN pixels that are drawn, along both axes


def write_pair(pan, ms, folder: Path, corner: float = 0.0) -> list[str]:
    """PAN and MS as GeoTIFFs of 16 bits, the corner of MS so many metres inside that of PAN."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, image, size, inside in (("pan", pan, 0.5, 0), ("ms", ms, 0.5 * RATIO, corner)):
        profile = {"driver": "GTiff", "dtype": "uint16", "crs": "EPSG:32633"}
        origin = 5e5 + inside, 5e6 - inside
        profile |= {"transform": rasterio.transform.from_origin(*origin, size, size)}
        profile |= dict(zip(("height", "width", "count"), image.shape, strict=True))
        paths.append(str(folder / f"{name}.tif"))
        with rasterio.open(paths[-1], "w", **profile) as file:
            file.write(np.moveaxis(np.rint(image).clip(0).astype(np.uint16), -1, 0))
    return paths


def fuse(pair: list[str], out: Path, flags: list[str]) -> tuple[np.ndarray, list[float]]:
    """What the command makes of the pair, (H, W, C), and the shift it measured, in PAN pixels."""
    if not out.exists():
        command = [sys.executable, "-m", "rsfusion_jax.cli.main", "fuse", *pair, str(out), *flags]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
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
    """The indices without a truth."""
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
    """One row an image, one column a method."""
    columns = list(next(iter(parts.values())))
    shape = len(parts), len(columns)
    size = 2.2 * shape[1], 2.35 * shape[0]
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9)
    for row, (image, found) in zip(axes, parts.items(), strict=True):
        low, high = np.percentile(found["EXP"], (1, 99), axis=(0, 1))
        for axis, part in zip(row, found.values(), strict=True):
            grey = part.shape[-1] == 1
            shown = part[..., 0] if grey else np.clip((part - low) / (high - low), 0, 1)
            axis.imshow(shown, cmap="gray" if grey else None)
            axis.set_xticks([]), axis.set_yticks([])
        row[0].set_ylabel(NAMES[image], fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=55)


def main() -> None:
    """Scores all methods on the images that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--images", default=",".join(IMAGES))
    usual = ";".join(name for name in METHODS if name not in REMEDIES)
    parser.add_argument("--methods", default=usual, help="names by semicolon")
    parser.add_argument("--folder", type=Path, default=Path("runs/full_resolution"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/full_resolution.json"))
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    parts = {}
    for image in options.images.split(","):
        pan, ms = read(options.shared / "data" / IMAGES[image])
        pair = write_pair(pan, ms, options.folder / image)
        parts[image] = {"PAN": pan[PART, PART]}
        for method in options.methods.split(";"):
            out = options.folder / image / f"{method.replace(' ', '_')}.tif"
            fused, shift = fuse(pair, out, [*METHODS[method], f"--sensor={image}"])
            parts[image][method] = fused[PART, PART][..., list(RGB[image])]
            row = {"image": image, "method": method, **scores(fused, pan, ms, image, shift)}
            rows = [old for old in rows if (old["image"], old["method"]) != (image, method)]
            rows.append(row)
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    if options.picture:
        draw(parts, options.picture)
    print("| image | method | " + " | ".join(COLUMNS) + " |\n" + "|---" * 6 + "|")
    for row in rows:
        values = " | ".join(f"{row[column]:.3f}" for column in COLUMNS)
        print(f"| {NAMES[row['image']]} | {row['method']} | {values} |")


if __name__ == "__main__":
    main()
