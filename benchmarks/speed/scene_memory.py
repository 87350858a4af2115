"""A large scene on disk, fused by the command line: peak memory against the budget, and throughput.

    python benchmarks/scene_memory.py [--side=12000] [--memory=2GB] [--methods=bdsd_pc,pannet]

The pair is synthetic: PAN of side x side pixels, MS of four bands at ratio 4, uint16, written in
strips. Networks carry weights as they are drawn: neither memory nor time depends on their values.
Every run is a process of its own, whose largest resident set the kernel reports. Rows go to
benchmarks/results/scene_memory.json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import rasterio
from rasterio.windows import Window

import rsfusion_jax as rsf
from rsfusion_jax.models import init_params

RESULTS = Path(__file__).parent / "results" / "scene_memory.json"
RATIO, BANDS = 4, 4


def write_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """Textured PAN and MS, strip by strip, so that this process stays small."""
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


def run(method: str, pair, folder: Path, memory: str) -> dict:
    """Fuses the pair in a child process and measures it."""
    chosen = ["--method", method, "--sensor", "qb"]
    if method in rsf.list_models():
        model = rsf.create_model(method, num_bands=BANDS)
        fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
        rsf.save_torch(fuser, folder / "weights.pth")
        chosen = ["--weights", str(folder / "weights.pth"), "--model", method, "--sensor", "qb"]
    out = folder / f"{method}.tif"
    command = [sys.executable, "-m", "rsfusion_jax.cli.main", "fuse", *map(str, pair), str(out)]
    command += [*chosen, "--memory", memory, "--shift", "none"]
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{method} failed: {printed}")
    with rasterio.open(out) as file:
        pixels = file.width * file.height
    seconds = time.perf_counter() - start
    stages = re.findall(r"(\w+) ([\d.]+)", printed.rsplit("seconds:", 1)[1])
    out.unlink()
    return {
        "method": method,
        "pixels": pixels,
        "budget": memory,
        "peak_gb": round(usage.ru_maxrss / 2**20, 3),
        "megapixels_per_second": round(pixels / 1e6 / seconds, 3),
        "seconds": {name: float(value) for name, value in stages},
    }


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=12000)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--methods", default="bdsd_pc,pannet")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pair = write_pair(Path(folder), options.side)
        for method in options.methods.split(","):
            rows.append(run(method, pair, Path(folder), options.memory))
            print(rows[-1], flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print("| method | PAN pixels | budget | peak memory, GiB | MP/s |\n|---|---|---|---|---|")
    for row in rows:
        speed = row["megapixels_per_second"]
        print(
            f"| {row['method']} | {row['pixels']} | {row['budget']} | {row['peak_gb']} | {speed} |"
        )


if __name__ == "__main__":
    main()
