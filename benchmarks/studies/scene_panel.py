"""One part of a scene as PAN, MS and fused files show it, side by side.

    python benchmarks/scene_panel.py PAN.tif MS.tif BDSD-PC=a.tif U2Net=b.tif --out=scene.png

The fused files are what `rsfusion fuse` wrote; `--centre` and `--size` name the part in pixels of
the first one. One stretch, that of MS, is used for all colour images.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from rasterio.windows import from_bounds


def read(path, bounds, bands):
    """The part of a file within map bounds, (H, W, bands)."""
    with rasterio.open(path) as file:
        window = from_bounds(*bounds, transform=file.transform)
        image = file.read(bands, window=window, boundless=True, fill_value=0)
    return np.moveaxis(image, 0, -1).astype(float)


def main() -> None:
    """Draws the panel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pan", type=Path)
    parser.add_argument("ms", type=Path)
    parser.add_argument("fused", nargs="+", help="NAME=FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rgb", default="5,3,2", help="bands of MS from 1, red green blue")
    parser.add_argument("--centre", default="", help="ROW,COLUMN; the middle")
    parser.add_argument("--size", type=int, default=160, help="PAN pixels")
    options = parser.parse_args()
    bands = [int(band) for band in options.rgb.split(",")]
    fused = dict(item.split("=", 1) for item in options.fused)
    with rasterio.open(next(iter(fused.values()))) as file:
        middle = [side // 2 for side in file.shape]
        row, column = map(int, options.centre.split(",")) if options.centre else middle
        half = options.size // 2
        window = rasterio.windows.Window(column - half, row - half, options.size, options.size)
        bounds = rasterio.windows.bounds(window, file.transform)
    images = {"PAN": read(options.pan, bounds, [1]), "MS": read(options.ms, bounds, bands)}
    low, high = np.percentile(images["MS"], (1, 99), axis=(0, 1))
    images |= {name: read(path, bounds, bands) for name, path in fused.items()}
    figure, axes = plt.subplots(1, len(images), figsize=(3 * len(images), 3.25))
    for axis, (name, image) in zip(axes, images.items(), strict=True):
        if image.shape[-1] == 1:
            axis.imshow(image[..., 0], cmap="gray", vmax=np.percentile(image, 99.5))
        else:
            axis.imshow(np.clip((image - low) / (high - low), 0, 1))
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
