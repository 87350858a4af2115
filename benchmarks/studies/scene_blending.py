"""A network that sees the whole image, in one pass and as blended tiles: what the tiles cost.

    python -m benchmarks.studies.scene_blending --data=FOLDER --weights=200000_iter.pth

Run from the clone's root. Data: the WorldView-2 image that benchmarks/images.py names (`--data` is
its folder), and U2Net's published WorldView-3 weights, `weights/200000_iter.pth` of
https://github.com/PSRben/U2Net.

A square of the image is degraded by Wald's protocol, so that its MS is the ground truth. U2Net
fuses it in one pass, and through `fuse_scene` in tiles of 64 pixels with several overlaps.
Reported: ERGAS, the mean difference from the image in one pass, and the mean step between
neighbouring columns at the tiles' edges over that elsewhere, for the tiled image and, at the same
columns, for the image in one pass.

Rows go to benchmarks/results/scene_blending.json; the table of all rows is printed. Three of the
images are drawn to `--picture`.
"""

import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import numbers, parser
from benchmarks.images import MAX_VALUES, RATIO, add_flags, degraded, read, write_pair
from benchmarks.studies.seams import seam

TILE, MAX_VALUE = 64, MAX_VALUES["wv2"]
SQUARE = slice(64, 256)  # MS pixels along both axes


def edges(overlap: int) -> list[int]:
    """Return the last rows, and columns, of the tiles."""
    side, stride = SQUARE.stop - SQUARE.start, TILE - overlap
    return [*range(stride - 1, side - 1, stride), *range(TILE - 1, side - 1, stride)]


def draw(images: dict[str, np.ndarray], truth: np.ndarray, path: Path) -> None:
    """Draw a part of each image with the stretch of the ground truth."""
    figure, axes = plt.subplots(1, len(images), figsize=(4 * len(images), 4.3), squeeze=False)
    low, high = np.percentile(truth[..., [4, 2, 1]], (1, 99), axis=(0, 1))
    for axis, (name, image) in zip(axes[0], images.items(), strict=True):
        picture = (image[16:176, 16:176, [4, 2, 1]] - low) / (high - low)
        axis.imshow(np.clip(picture, 0, 1))
        axis.set_title(f"tiles, {name}" if "overlap" in name else name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, draw, print the table."""
    flags = parser(__doc__, "scene_blending.json")
    add_flags(flags, images=False)
    flags.add_argument("--weights", type=Path, required=True, help=".pth file of U2Net")
    flags.add_argument("--overlaps", type=numbers, default=[0, 16, 32])
    flags.add_argument("--picture", type=Path)
    options = flags.parse_args()
    pair = degraded(*read(options.data, "wv2"), SQUARE, SQUARE, sensor="wv2")
    fuser = rsf.load_torch("u2net", options.weights, num_bands=8, sensor="wv3")
    whole = fuser(pair["pan"], pair["ms"])
    truth = pair["gt"]
    images = {"one pass": whole}
    rows = [{"tiles": "one pass"}]
    with tempfile.TemporaryDirectory() as folder:
        files = write_pair(Path(folder), pair["pan"], pair["ms"])
        for overlap in options.overlaps:
            out = Path(folder) / f"{overlap}.tif"
            # The simulated MS has its pixels' centres at PAN index 2, not at 1.5.
            shift = (RATIO // 2 - (RATIO - 1) / 2,) * 2
            tiling = {"tile": TILE, "overlap": overlap, "shift": shift, "extent": "pan"}
            rsf.fuse_scene(*files, out, fuser=fuser, quiet=True, **tiling)
            with rasterio.open(out) as file:
                fused = np.clip(np.moveaxis(file.read(), 0, -1), 0, MAX_VALUE)
            images[f"overlap {overlap}"] = fused
            rows.append(
                {
                    "tiles": f"overlap {overlap}",
                    "difference": round(float(np.abs(fused - whole).mean() / MAX_VALUE), 6),
                    "seam": round(seam(fused, edges(overlap)), 4),
                    "seam_one_pass": round(seam(whole, edges(overlap)), 4),
                }
            )
    for row in rows:
        error = rsf.metrics.ergas(truth, images[row["tiles"]], ratio=RATIO)
        row["ERGAS"] = round(float(error), 4)
    rows = record.merge(options.out, rows, ("tiles",))
    columns = ("tiles", "ERGAS", "difference", "seam", "seam_one_pass")
    print(record.table(columns, ([row.get(column) for column in columns] for row in rows)))
    if options.picture:
        drawn = ("one pass", "overlap 0", "overlap 32")
        draw({name: images[name] for name in drawn if name in images}, truth, options.picture)


if __name__ == "__main__":
    main()
