"""What `rsfusion fuse` costs, network by network: CPU seconds per megapixel, and where they go.

    python -m benchmarks.speed.scene_speed [--side=512] [--methods=pannet,u2net]

Run from the clone's root. Data: none. The pairs are smooth noise: PAN of side x side pixels, MS of
four bands at ratio 4, uint16. Networks have random weights, on which time does not depend, in run
folders; their widths are those of configs/small.py, of the baselines the published ones. Classical
methods are too fast for pairs of this size: scene_peers measures them.

Each run is a process of its own; blocks have half the side. A method runs twice on a pair of four
blocks, with an empty cache of programs ("first") and with a filled one ("second"), and twice on a
pair of one block. The CPU seconds of these processes hardly depend on other programs. The cost of a
megapixel is the difference between the second runs over that of their pixels: start, compilation
and measuring the output, whose parts do not grow with the scene, are not in it. The shares are of
the stages of the four blocks that the command reports: reading, moving arrays to the device and
back, waiting for the device ("compute"), storing blocks; as some overlap, they are of their sum.

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
SAMPLES = 1  # parts on which the output is measured, the same number in both pairs


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


def measure(method: str, pairs, folder: Path, side: int) -> dict:
    """Measure one row.

    Args:
        method: classical method or network.
        pairs: PAN and MS of half the side, and of the side.
        folder: for the run folder, the cache and the outputs.
        side: PAN pixels along a side of the larger pair.
    """
    flags = ["--method", method, "--sensor", SENSOR]
    if method in list_models():
        save_run(method, folder / method)
        flags = ["--weights", str(folder / method)]
    flags += ["--shift=none", f"--block={side // 2}", f"--samples={SAMPLES}"]
    os.environ["XDG_CACHE_HOME"] = str(folder / f"cache_{method}")
    small, large = pairs
    runs = [
        fuse(pair, folder / f"{method}_{index}.tif", flags)
        for index, pair in enumerate((large, large, small, small))
    ]
    first, second, _, one = (run["cpu_seconds"] for run in runs)
    stages = {stage: runs[1]["seconds"][name] for stage, name in STAGES.items()}
    return {
        "method": method,
        "side": side,
        "cpu_seconds_per_megapixel": round((second - one) / (0.75 * side**2 / 1e6), 2),
        "cpu_seconds_first": first,
        "cpu_seconds_second": second,
        "shares": {stage: round(s / sum(stages.values()), 3) for stage, s in stages.items()},
        "peak_gb": runs[1]["peak_gb"],
        "load": round(os.getloadavg()[0], 1),
    }


def table(rows: list[dict]) -> str:
    """Format the rows as Markdown, cheapest first."""
    columns = ["method", "PAN", "CPU s per MP", "first", "second", *STAGES, "peak, GiB"]
    lines = []
    for row in sorted(rows, key=lambda row: row["cpu_seconds_per_megapixel"]):
        line = [row["method"], row["side"], f"{row['cpu_seconds_per_megapixel']:.3g}"]
        line += [f"{row[f'cpu_seconds_{run}']:.1f}" for run in ("first", "second")]
        line += [f"{100 * row['shares'][stage]:.0f} %" for stage in STAGES]
        lines.append([*line, f"{row['peak_gb']:.2f}"])
    return record.table(columns, lines)


def main() -> None:
    """Measure the chosen methods and print the table."""
    flags = parser(__doc__, "scene_speed.json")
    flags.add_argument("--side", type=int, default=512)
    direct = [name for name in list_models() if name not in DIFFUSION]
    flags.add_argument("--methods", type=words, default=direct)
    options = flags.parse_args()
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for name, side in (("small", options.side // 2), ("large", options.side)):
            (Path(folder) / name).mkdir()
            pairs.append(draw_pair(Path(folder) / name, side))
        for method in options.methods:
            row = measure(method, pairs, Path(folder), options.side)
            print(row, flush=True)
            rows = record.merge(options.out, [row], ("method", "side"))
    print(table(rows))


if __name__ == "__main__":
    main()
