"""A network that sees the whole image, fused whole and as blended tiles: what the tiles cost.

    PYTHONPATH=. python benchmarks/scene_blending.py --image=imgWV2.mat --weights=u2net.pth

A square of the WorldView-2 image is degraded by Wald's protocol, so that its MS is the truth. U2Net
with its published weights fuses it in one pass, and through `fuse_scene` in tiles of 64 pixels with
several overlaps. Reported: ERGAS against the truth, mean difference from the image in one pass, and
the mean step between neighbouring columns at the tiles' edges over that elsewhere, for the
tiled image and, at the same columns, for the one in one pass. Rows go to
benchmarks/results/scene_blending.json, a picture to docs/images/blending.png.
"""

import argparse
import json
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio
import scipy.io

import rsfusion_jax as rsf

RESULTS = Path(__file__).parent / "results" / "scene_blending.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "blending.png"
TILE, RATIO, MAX_VALUE = 64, 4, 2047.0
SIDE = 192  # pixels of the truth along a side


def write(path: Path, image: np.ndarray, metres: float) -> Path:
    """A GeoTIFF of (H, W, C)."""
    height, width, count = image.shape
    options = {"height": height, "width": width, "count": count, "dtype": "float32"}
    options |= {"crs": "EPSG:32633", "driver": "GTiff"}
    options["transform"] = rasterio.Affine(metres, 0, 4e5, 0, -metres, 5e6)
    with rasterio.open(path, "w", **options) as file:
        file.write(np.moveaxis(image, -1, 0).astype(np.float32))
    return path


def seam(image: np.ndarray, stride: int) -> float:
    """Mean step over the tiles' edges, divided by the mean step elsewhere."""
    steps = [np.abs(np.diff(image, axis=axis)).mean(axis=(1 - axis, 2)) for axis in (0, 1)]
    edges = np.zeros(len(steps[0]), bool)
    edges[stride - 1 :: stride] = edges[TILE - 1 :: stride] = True
    return float(np.mean([step[edges].mean() / step[~edges].mean() for step in steps]))


def main() -> None:
    """Measures, draws, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--overlaps", default="0,16,32")
    options = parser.parse_args()
    content = scipy.io.loadmat(options.image)
    pan, ms = content["I_PAN"][..., None].astype(np.float32), content["I_MS"].astype(np.float32)
    fine, coarse = slice(64 * RATIO, (64 + SIDE) * RATIO), slice(64, 64 + SIDE)
    pair = rsf.data.simulate(pan[fine, fine], ms[coarse, coarse], sensor="wv2", ratio=RATIO)
    fuser = rsf.load_torch("u2net", options.weights, num_bands=8, sensor="wv3")
    whole = fuser(pair["pan"], pair["ms"])
    truth = pair["gt"]
    ergas = lambda image: round(float(rsf.metrics.ergas(truth, image, ratio=RATIO)), 4)  # noqa: E731
    rows = [{"tiles": "one pass", "ERGAS": ergas(whole)}]
    images = {"one pass": whole}
    with tempfile.TemporaryDirectory() as folder:
        files = [
            write(Path(folder) / f"{key}.tif", pair[key], metres)
            for key, metres in (("pan", 2.0), ("ms", 2.0 * RATIO))
        ]
        for overlap in map(int, options.overlaps.split(",")):
            out = Path(folder) / f"{overlap}.tif"
            # The simulated MS has its pixels' centres at PAN index 2, not at 1.5.
            shift = (RATIO // 2 - (RATIO - 1) / 2,) * 2
            options = {"tile": TILE, "overlap": overlap, "shift": shift, "extent": "pan"}
            rsf.fuse_scene(*files, out, fuser=fuser, quiet=True, **options)
            with rasterio.open(out) as file:
                fused = np.moveaxis(file.read(), 0, -1)
            inside = np.clip(fused, 0, MAX_VALUE)
            images[f"overlap {overlap}"] = inside
            rows.append(
                {
                    "tiles": f"overlap {overlap}",
                    "ERGAS": ergas(inside),
                    "difference": round(float(np.abs(inside - whole).mean() / MAX_VALUE), 6),
                    "seam": round(seam(inside, TILE - overlap), 4),
                    "seam_one_pass": round(seam(whole, TILE - overlap), 4),
                }
            )
            print(rows[-1], flush=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    names = ["one pass", "overlap 0", "overlap 32"]
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 4.3))
    low, high = np.percentile(truth[..., [4, 2, 1]], (1, 99), axis=(0, 1))
    for axis, name in zip(axes, names, strict=True):
        picture = (images[name][16:176, 16:176, [4, 2, 1]] - low) / (high - low)
        axis.imshow(np.clip(picture, 0, 1))
        axis.set_title(f"tiles, {name}" if "overlap" in name else name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    main()
