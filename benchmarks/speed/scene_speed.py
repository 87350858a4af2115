"""Megapixels per second of `rsfusion fuse`, network by network, and where the time goes.

    PYTHONPATH=. python benchmarks/scene_speed.py [--side=512] [--methods=bdsd_pc,pannet]

The pair is smooth noise: PAN of side x side pixels, MS of four bands at ratio 4, uint16. Networks
have the widths of configs/small.py, the baselines their published ones, and weights as they are
drawn, on which time does not depend; they are given as run folders. Each is a process of its own.

Seconds are those that the command reports of its stages. The rate is of PAN pixels while the scene
is fused, block by block, and the shares are of that: reading, moving arrays to the device and back,
waiting for the device ("compute"), storing blocks. Some go on at the same time, so shares are of
their sum. Beside them stand the statistics of a classical method ("fit") and what makes and
measures the output ("finish"); of a small scene both mostly compile. The processor's seconds are
those of the whole command. Rows go to benchmarks/results/scene_speed.json.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import rasterio
from scipy.ndimage import gaussian_filter

from rsfusion_jax.models import create_model, init_params, list_models
from rsfusion_jax.models.catalogue import SMALL_WIDTHS
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.sensors import get_sensor

RESULTS = Path(__file__).parent / "results" / "scene_speed.json"
RATIO, BANDS, SENSOR = 4, 4, "qb"
STAGES = {"read": "read", "transfer": "transfer", "compute": "device", "write": "write"}
DRAWN = ("ddif",)  # in steps over the whole scene: benchmarks/ddif.py
CLASSICAL = "bdsd_pc"


def write_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """PAN and MS of the same smooth bands, on grids with a common corner."""
    random = np.random.default_rng(0)
    bands = gaussian_filter(random.standard_normal((BANDS, side, side)), (0, 4, 4), mode="wrap")
    bands = 800 + 200 * bands / bands.std()
    low = bands.reshape(BANDS, side // RATIO, RATIO, side // RATIO, RATIO).mean(axis=(2, 4))
    paths = folder / "pan.tif", folder / "ms.tif"
    for path, image, metres in zip(paths, (bands.mean(0)[None], low), (0.5, 2.0), strict=True):
        count, height, width = image.shape
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            dtype="uint16",
            crs="EPSG:32642",
            transform=rasterio.Affine(metres, 0, 4e5, 0, -metres, 4.2e6),
            photometric="MINISBLACK",
            count=count,
            height=height,
            width=width,
        ) as file:
            file.write(np.clip(image, 1, 2047).astype(np.uint16))
    return paths


def save_run(network: str, folder: Path) -> None:
    """A run folder with fresh weights."""
    fields = SMALL_WIDTHS.get(network, {})
    model = create_model(network, num_bands=BANDS, ratio=RATIO, **fields)
    scale = {"sensor": get_sensor(SENSOR), "max_value": 2047.0, "ms_phase": float(RATIO // 2)}
    checkpoints = Checkpoints(folder)
    card = network_card(model, {"name": network, **fields}, **scale)
    checkpoints.save_best(0, init_params(model, jax.random.key(0)), card, {})
    checkpoints.close()


def fuse(method: str, pair, folder: Path) -> dict:
    """Fuses the pair in a child process and takes down what it reports."""
    chosen = ["--method", method, "--sensor", SENSOR]
    if method in list_models():
        save_run(method, folder / method)
        chosen = ["--weights", str(folder / method)]
    command = [sys.executable, "-m", "rsfusion_jax.cli.main", "fuse", *map(str, pair)]
    command += [str(folder / f"{method}.tif"), *chosen, "--shift", "none"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    printed, told = child.communicate()
    if child.returncode:
        raise SystemExit(f"{method} failed: {told}")
    stages = re.findall(r"(\w+) ([\d.]+)", printed.rsplit("seconds:", 1)[1])
    return {name: float(seconds) for name, seconds in stages}


def measure(method: str, pair, folder: Path, side: int) -> dict:
    """One row."""
    before = os.times()
    seconds = fuse(method, pair, folder)
    after = os.times()
    spent = after.children_user + after.children_system
    spent -= before.children_user + before.children_system
    stages = {stage: seconds[name] for stage, name in STAGES.items()}
    return {
        "method": method,
        "side": side,
        "megapixels_per_second": round(side**2 / 1e6 / seconds["fuse"], 4),
        "shares": {stage: round(s / sum(stages.values()), 3) for stage, s in stages.items()},
        "seconds": seconds,
        "cpu_seconds": round(spent, 1),
        "load": round(os.getloadavg()[0], 1),
        "device": jax.devices()[0].device_kind,
        "cores": len(os.sched_getaffinity(0)),
        "date": datetime.date.today().isoformat(),
    }


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        f"| | PAN | MP/s | {' | '.join(STAGES)} | seconds: fit | fuse | finish | whole command "
        "| of the processor | load |",
        "|" + "---|" * (9 + len(STAGES)),
    ]
    for row in sorted(rows, key=lambda row: -row["megapixels_per_second"]):
        cells = [row["method"], row["side"], f"{row['megapixels_per_second']:.2g}"]
        cells += [f"{100 * row['shares'][stage]:.0f} %" for stage in STAGES]
        names = ("fit", "fuse", "assemble", "total")
        cells += [f"{row['seconds'][name]:.1f}" for name in names]
        cells += [f"{row['cpu_seconds']:.0f}", row["load"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measures the chosen methods and prints all rows that are there."""
    direct = [name for name in list_models() if name not in DRAWN]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--methods", default=",".join([CLASSICAL, *direct]))
    options = parser.parse_args()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        pair = write_pair(Path(folder), options.side)
        for method in options.methods.split(","):
            row = measure(method, pair, Path(folder), options.side)
            print(row, flush=True)
            key = row["method"], row["side"]
            rows = [old for old in rows if (old["method"], old["side"]) != key] + [row]
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
