"""Peak memory and speed of `rsfusion fuse` on a large scene, against its memory budget.

    python -m benchmarks.speed.scene_memory [--side=12000] [--memory=2GB] [--methods=bdsd_pc,pannet]

Run from the clone's root. Data: none. The pair is textured noise: PAN of side x side pixels, MS of
four bands at ratio 4, uint16, written strip by strip to a temporary folder (2 GB at 12000 pixels).
Networks have random weights: neither memory nor time depends on their values. Each method is a
process of its own, whose largest resident set the kernel reports.

Rows go to benchmarks/results/scene_memory.json; the table of all rows is printed.
"""

import tempfile
from pathlib import Path

import jax
import numpy as np
import rasterio
from rasterio.windows import Window

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.fuse_command import fuse
from rsfusion_jax.models import init_params

RATIO, BANDS, SENSOR = 4, 4, "qb"
COLUMNS = ("method", "PAN pixels", "budget", "peak memory, GiB", "MP/s")


def draw_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """Write textured PAN and MS strip by strip, so that this process stays small."""
    paths = folder / "pan.tif", folder / "ms.tif"
    low = side // RATIO
    random = np.random.default_rng(0)
    common = {"driver": "GTiff", "dtype": "uint16", "crs": "EPSG:32642", "tiled": True}
    common["photometric"] = "MINISBLACK"

    def create(path, pixels, count, metres):
        transform = rasterio.Affine(metres, 0, 4e5, 0, -metres, 4.2e6)
        size = {"width": pixels, "height": pixels, "count": count, "transform": transform}
        return rasterio.open(path, "w", **size, **common)

    with create(paths[0], side, 1, 0.5) as pan, create(paths[1], low, BANDS, 0.5 * RATIO) as ms:
        for row in range(0, low, 128):
            rows = min(128, low - row)
            base = 300 + 900 * random.random((rows, low), np.float32)
            bands = base + 200 * random.random((BANDS, rows, low), np.float32)
            ms.write(bands.astype(np.uint16), window=Window(0, row, low, rows))
            fine = bands.mean(axis=0).repeat(RATIO, 0).repeat(RATIO, 1)
            fine += 60 * random.standard_normal(fine.shape, np.float32)
            window = Window(0, RATIO * row, side, RATIO * rows)
            pan.write(np.clip(fine, 1, 2047).astype(np.uint16), 1, window=window)
    return paths


def measure(method: str, pair, folder: Path, memory: str) -> dict:
    """Measure one row."""
    flags = ["--method", method]
    if method in rsf.list_models():
        model = rsf.create_model(method, num_bands=BANDS)
        fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor=SENSOR)
        rsf.save_torch(fuser, folder / "weights.pth")
        flags = ["--weights", str(folder / "weights.pth"), "--model", method]
    out = folder / f"{method}.tif"
    result = fuse(pair, out, [*flags, "--sensor", SENSOR, "--memory", memory, "--shift", "none"])
    with rasterio.open(out) as file:
        pixels = file.width * file.height
    out.unlink()
    return {
        "method": method,
        "pixels": pixels,
        "budget": memory,
        "megapixels_per_second": round(pixels / 1e6 / result["seconds"]["total"], 3),
        **result,
    }


def cells(row: dict) -> list[object]:
    """Format one line of the table."""
    names = ("method", "pixels", "budget", "peak_gb", "megapixels_per_second")
    return [row[name] for name in names]


def main() -> None:
    """Measure the chosen methods and print the table."""
    flags = parser(__doc__, "scene_memory.json")
    flags.add_argument("--side", type=int, default=12000)
    flags.add_argument("--memory", default="2GB")
    flags.add_argument("--methods", type=words, default=["bdsd_pc", "pannet"])
    options = flags.parse_args()
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as folder:
        pair = draw_pair(Path(folder), options.side)
        for method in options.methods:
            row = measure(method, pair, Path(folder), options.memory)
            print(row, flush=True)
            rows = record.merge(options.out, [row], ("method", "pixels", "budget"))
    print(record.table(COLUMNS, map(cells, rows)))


if __name__ == "__main__":
    main()
