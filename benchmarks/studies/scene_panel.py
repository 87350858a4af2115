"""One part of a scene as PAN, MS and fused files show it, side by side.

    python -m benchmarks.studies.scene_panel PAN.tif MS.tif BDSD-PC=a.tif U2Net=b.tif --out=PNG

Run from the clone's root. Data: any GeoTIFF pair and files that `rsfusion fuse` made of it. The
picture of the README shows test/pan.tif and test/mul.tif of
https://github.com/CristianICS/gdal-pansharpening, a WorldView-3 pair (GPL-3).

`--centre` and `--size` say which part is drawn, in pixels of the first fused file. All colour
images have one stretch, that of MS.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from rasterio.windows import from_bounds

from benchmarks.command_line import numbers, parser


def read(path, bounds, bands):
    """Read the part of a file within map bounds, (H, W, bands)."""
    with rasterio.open(path) as file:
        window = from_bounds(*bounds, transform=file.transform)
        image = file.read(bands, window=window, boundless=True, fill_value=0)
    return np.moveaxis(image, 0, -1).astype(float)


def main() -> None:
    """Draw the panel."""
    flags = parser(__doc__)
    flags.add_argument("pan", type=Path)
    flags.add_argument("ms", type=Path)
    flags.add_argument("fused", nargs="+", help="NAME=FILE")
    flags.add_argument("--out", type=Path, required=True)
    flags.add_argument(
        "--rgb", type=numbers, default=[5, 3, 2], help="bands of MS from 1, red green blue"
    )
    flags.add_argument("--centre", type=numbers, help="ROW,COLUMN; the middle without")
    flags.add_argument("--size", type=int, default=160, help="PAN pixels")
    options = flags.parse_args()
    fused = dict(item.split("=", 1) for item in options.fused)
    with rasterio.open(next(iter(fused.values()))) as file:
        middle = [side // 2 for side in file.shape]
        row, column = options.centre or middle
        half = options.size // 2
        window = rasterio.windows.Window(column - half, row - half, options.size, options.size)
        bounds = rasterio.windows.bounds(window, file.transform)
    images = {"PAN": read(options.pan, bounds, [1]), "MS": read(options.ms, bounds, options.rgb)}
    low, high = np.percentile(images["MS"], (1, 99), axis=(0, 1))
    images |= {name: read(path, bounds, options.rgb) for name, path in fused.items()}
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
