"""Networks that see the whole image, in one pass and as blended tiles: what each overlap costs.

    python -m benchmarks.studies.scene_blending --data=FOLDER --weights=200000_iter.pth

Run from the clone's root. Data: the WorldView-2 image that benchmarks/images.py names (`--data` is
its folder), and U2Net's published WorldView-3 weights, `weights/200000_iter.pth` of
https://github.com/PSRben/U2Net. The other networks have no published weights of their own here:
those of configs/small.py are trained on built-in scenes for `--steps` steps, in tiles of 64 pixels:
long enough to follow PAN, too short for their ERGAS to say anything of them.

A square of the image is degraded by Wald's protocol, so that its MS is the ground truth. Each
network fuses it in one pass, and through `fuse_scene` in tiles of 64 pixels with several overlaps.
Reported: ERGAS; the mean difference from the image in one pass; the seam, which is the mean step
between neighbouring columns at the tiles' edges over that elsewhere, for the tiled image and, at
the same columns, for the image in one pass; how often each pixel is computed; and the seconds of
the loop over the blocks, compilation excluded.

Rows go to benchmarks/results/scene_blending.json; the table of all rows is printed. Three of
U2Net's images are drawn to `--picture`.
"""

import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.images import MAX_VALUES, RATIO, add_flags, degraded, read, write_pair
from benchmarks.studies.seams import seam
from configs import small
from rsfusion_jax.training.loop import train

TILE, MAX_VALUE = 64, MAX_VALUES["wv2"]
SQUARE = slice(32, 288)  # MS pixels along both axes
TRAINED = ("rsanet", "mmapp", "feinfn", "cf2n")
COLUMNS = (
    "network",
    "overlap",
    "ERGAS",
    "difference",
    "seam",
    "seam_one_pass",
    "computed",
    "seconds",
)


def edges(overlap: int) -> list[int]:
    """Return the last rows, and columns, of the tiles."""
    side, stride = SQUARE.stop - SQUARE.start, TILE - overlap
    return [*range(stride - 1, side - 1, stride), *range(TILE - 1, side - 1, stride)]


def draw(images: dict[str, np.ndarray], truth: np.ndarray, path: Path) -> None:
    """Draw a part of each image with the stretch of the ground truth."""
    figure, axes = plt.subplots(1, len(images), figsize=(4 * len(images), 4.3), squeeze=False)
    low, high = np.percentile(truth[..., [4, 2, 1]], (1, 99), axis=(0, 1))
    for axis, (name, image) in zip(axes[0], images.items(), strict=True):
        picture = (image[48:208, 48:208, [4, 2, 1]] - low) / (high - low)
        axis.imshow(np.clip(picture, 0, 1))
        axis.set_title(f"tiles, {name}" if "overlap" in name else name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def trained(network: str, steps: int, folder: Path) -> rsf.Fuser:
    """Train a network of reduced width for a few steps on tiles of built-in scenes."""
    config = small.get_config(network)
    config.data.update(sensor="wv2", patch_size=TILE, crops_per_sample=4, valid="", test="")
    config.data.synthetic.train_scenes = 16
    config.train.update(steps=steps, batch_size=2, log_every=steps)
    config.optim.warmup_steps = steps // 4
    return rsf.load(train(config, str(folder / network)))


def fused_in_tiles(fuser: rsf.Fuser, files, overlap: int, folder: Path) -> tuple:
    """Return the image fused in tiles and the seconds of the loop over its blocks."""
    out = folder / "fused.tif"
    # The simulated MS has its pixels' centres at PAN index 2, not at 1.5.
    shift = (RATIO // 2 - (RATIO - 1) / 2,) * 2
    tiling = {"tile": TILE, "overlap": overlap, "shift": shift, "extent": "pan"}
    options = {"quiet": True, "overwrite": True, "max_value": MAX_VALUE}
    result = rsf.fuse_scene(*files, out, fuser=fuser, **tiling, **options)
    with rasterio.open(out) as file:
        fused = np.clip(np.moveaxis(file.read(), 0, -1), 0, MAX_VALUE)
    return fused, result.seconds["fuse"]


def measure(network: str, fuser: rsf.Fuser, pair: dict, files, overlaps, folder: Path):
    """Measure one network; return its rows and its images."""

    def row(overlap, image, **values):
        error = rsf.metrics.ergas(pair["gt"], image, ratio=RATIO)
        rounded = {name: round(float(value), 4) for name, value in values.items()}
        return {"network": network, "overlap": overlap, "ERGAS": round(float(error), 4), **rounded}

    fuser(pair["pan"], pair["ms"])  # compiles
    start = time.perf_counter()
    whole = fuser(pair["pan"], pair["ms"])
    images = {"one pass": whole}
    rows = [row("one pass", whole, computed=1, seconds=time.perf_counter() - start)]
    for overlap in overlaps:
        fused, seconds = fused_in_tiles(fuser, files, overlap, folder)
        images[f"overlap {overlap}"] = fused
        values = {
            "difference": 100 * np.abs(fused - whole).mean() / MAX_VALUE,
            "seam": seam(fused, edges(overlap)),
            "seam_one_pass": seam(whole, edges(overlap)),
            "computed": (TILE / (TILE - overlap)) ** 2,
            "seconds": seconds,
        }
        rows.append(row(overlap, fused, **values))
    return rows, images


def main() -> None:
    """Measure, draw, print the table."""
    flags = parser(__doc__, "scene_blending.json")
    add_flags(flags, images=False)
    flags.add_argument("--weights", type=Path, required=True, help=".pth file of U2Net")
    flags.add_argument("--overlaps", type=numbers, default=[0, 8, 16, 24, 32])
    flags.add_argument("--networks", type=words, default=["u2net", *TRAINED])
    flags.add_argument("--steps", type=int, default=60, help="of training the other networks")
    flags.add_argument("--picture", type=Path)
    options = flags.parse_args()
    pair = degraded(*read(options.data, "wv2"), SQUARE, SQUARE, sensor="wv2")
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_pair(folder, pair["pan"], pair["ms"])
        for network in options.networks:
            if network == "u2net":
                fuser = rsf.load_torch("u2net", options.weights, num_bands=8, sensor="wv3")
            else:
                fuser = trained(network, options.steps, folder)
            measured, images = measure(network, fuser, pair, files, options.overlaps, folder)
            rows = record.merge(options.out, measured, ("network", "overlap"))
            if network == "u2net" and options.picture:
                drawn = ("one pass", "overlap 0", "overlap 16")
                draw({name: images[name] for name in drawn}, pair["gt"], options.picture)
    print(record.table(COLUMNS, ([row.get(column) for column in COLUMNS] for row in rows)))


if __name__ == "__main__":
    main()
