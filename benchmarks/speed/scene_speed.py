"""Megapixels per second of `rsfusion fuse`, network by network, and where the time goes.

    python -m benchmarks.speed.scene_speed [--side=512] [--methods=bdsd_pc,pannet]

Run from the clone's root. Data: none. The pair is smooth noise: PAN of side x side pixels, MS of
four bands at ratio 4, uint16. Networks have random weights, on which time does not depend, in run
folders; their widths are those of configs/small.py, of the baselines the published ones.

Each method is a process of its own. Seconds are those that the command reports of its stages. The
rate is of PAN pixels while the scene is fused block by block. The shares are of that time: reading,
moving arrays to the device and back, waiting for the device ("compute"), storing blocks; as some
overlap, they are of their sum. Also in the table: the statistics of a classical method ("fit") and
making and measuring the output ("finish"), both mostly compilation for a small scene, and CPU
seconds of the whole command.

Rows go to benchmarks/results/scene_speed.json; the table of all rows is printed.
"""

import os
import tempfile
from pathlib import Path

import jax
import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.fuse_command import fuse
from benchmarks.images import write_pair
from rsfusion_jax.models import create_model, init_params, list_models
from rsfusion_jax.models.catalogue import SMALL_WIDTHS
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.sensors import get_sensor

RATIO, BANDS, SENSOR = 4, 4, "qb"
STAGES = {"read": "read", "transfer": "transfer", "compute": "device", "write": "write"}
DIFFUSION = ("ddif",)  # many steps over the whole scene: benchmarks/studies/ddif.py
CLASSICAL = "bdsd_pc"


def draw_pair(folder: Path, side: int) -> tuple[Path, Path]:
    """Write PAN and MS of the same smooth bands, on grids with a common corner."""
    random = np.random.default_rng(0)
    bands = gaussian_filter(random.standard_normal((side, side, BANDS)), (4, 4, 0), mode="wrap")
    bands = 800 + 200 * bands / bands.std()
    low = bands.reshape(side // RATIO, RATIO, side // RATIO, RATIO, BANDS).mean(axis=(1, 3))
    pair = bands.mean(axis=-1, keepdims=True), low
    return write_pair(folder, *(image.clip(1, 2047).astype(np.uint16) for image in pair))


def save_run(network: str, folder: Path) -> None:
    """Write a run folder with random weights."""
    fields = SMALL_WIDTHS.get(network, {})
    model = create_model(network, num_bands=BANDS, ratio=RATIO, **fields)
    scale = {"sensor": get_sensor(SENSOR), "max_value": 2047.0, "ms_phase": float(RATIO // 2)}
    checkpoints = Checkpoints(folder)
    card = network_card(model, {"name": network, **fields}, **scale)
    checkpoints.save_best(0, init_params(model, jax.random.key(0)), card, {})
    checkpoints.close()


def measure(method: str, pair, folder: Path, side: int) -> dict:
    """Measure one row."""
    flags = ["--method", method, "--sensor", SENSOR, "--shift", "none"]
    if method in list_models():
        save_run(method, folder / method)
        flags = ["--weights", str(folder / method), "--shift", "none"]
    result = fuse(pair, folder / f"{method}.tif", flags)
    seconds = result["seconds"]
    stages = {stage: seconds[name] for stage, name in STAGES.items()}
    return {
        "method": method,
        "side": side,
        "megapixels_per_second": round(side**2 / 1e6 / seconds["fuse"], 4),
        "shares": {stage: round(s / sum(stages.values()), 3) for stage, s in stages.items()},
        **result,
        "load": round(os.getloadavg()[0], 1),
    }


def table(rows: list[dict]) -> str:
    """Format the rows as Markdown, fastest first."""
    columns = ["method", "PAN", "MP/s", *STAGES, "fit, s", "fuse, s", "finish, s", "command, s"]
    lines = []
    for row in sorted(rows, key=lambda row: -row["megapixels_per_second"]):
        line = [row["method"], row["side"], f"{row['megapixels_per_second']:.2g}"]
        line += [f"{100 * row['shares'][stage]:.0f} %" for stage in STAGES]
        names = ("fit", "fuse", "assemble", "total")
        line += [f"{row['seconds'][name]:.1f}" for name in names]
        lines.append([*line, f"{row['cpu_seconds']:.0f}", row["load"]])
    return record.table([*columns, "CPU, s", "load"], lines)


def main() -> None:
    """Measure the chosen methods and print the table."""
    flags = parser(__doc__, "scene_speed.json")
    flags.add_argument("--side", type=int, default=512)
    direct = [name for name in list_models() if name not in DIFFUSION]
    flags.add_argument("--methods", type=words, default=[CLASSICAL, *direct])
    options = flags.parse_args()
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as folder:
        pair = draw_pair(Path(folder), options.side)
        for method in options.methods:
            row = measure(method, pair, Path(folder), options.side)
            print(row, flush=True)
            rows = record.merge(options.out, [row], ("method", "side"))
    print(table(rows))


if __name__ == "__main__":
    main()
