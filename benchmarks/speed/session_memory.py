"""Memory of long sessions: does it grow with training steps and with images of new sizes?

    python -m benchmarks.speed.session_memory [--modes=train,sizes] [--steps=3000] [--sizes=100]

Run from the clone's root. Data: none, scenes are built in.

`train`: PNN on 16-pixel patches of the built-in scenes, with a validation every 500 steps.
`sizes`: a Fuser of PNN is called with images that each have a size of their own. Resident memory is
read every 100 steps or after every size. The slope is that of a least-squares line through the last
three quarters, when programs are compiled and caches full. Each mode is a process of its own.

Rows go to benchmarks/results/session_memory.json; the table of all rows is printed.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import jax
import numpy as np
import psutil

import rsfusion_jax as rsf
from benchmarks import record
from benchmarks.command_line import parser, words
from configs import small
from rsfusion_jax.models import init_params
from rsfusion_jax.training.loop import train

COLUMNS = ("what", "count", "MB at a quarter", "MB at the end", "slope", "CPU seconds")
UNITS = {"train": ("training steps", 1000), "sizes": ("sizes of images", 1)}
EVERY = 100


def resident() -> float:
    """Return the memory of this process in MB."""
    return psutil.Process().memory_info().rss / 2**20


def training(steps: int) -> list[tuple[float, float]]:
    """Train and return (step, MB)."""
    config = small.get_config("u2net")
    config.model = {"name": "pnn"}
    config.data.patch_size, config.data.crops_per_sample = 16, 16
    config.data.synthetic.update(train_scenes=8, valid_scenes=1, test_scenes=1, size=64)
    config.train.update(
        steps=steps, batch_size=4, log_every=EVERY, eval_every=500, checkpoint_every=500
    )
    points, ended = [], threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "run" / "metrics.jsonl"

        def watch():
            seen = 0
            while not ended.wait(0.02):
                lines = log.read_text().count('"train/loss"') if log.exists() else 0
                if lines > seen:
                    seen = lines
                    points.append((seen * EVERY, resident()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            train(config, Path(folder) / "run")
        finally:
            ended.set()
            watcher.join()
    return points


def new_sizes(count: int) -> list[tuple[float, float]]:
    """Fuse an image of each of many sizes and return (number, MB)."""
    model = rsf.create_model("pnn", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    draw, points = np.random.default_rng(0), []
    for number in range(count):
        rows, columns = 8 + number % 10, 8 + number // 10
        pan, ms = (
            draw.integers(0, 2047, (factor * rows, factor * columns, bands))
            for factor, bands in ((4, 1), (1, 4))
        )
        fuser(pan, ms)
        points.append((number + 1, resident()))
    return points


def measure(mode: str, count: int) -> dict:
    """Measure one row in this process."""
    start = time.process_time()
    points = training(count) if mode == "train" else new_sizes(count)
    late = points[len(points) // 4 :]
    slope = np.polyfit(*np.transpose(late), 1)[0]
    return {
        "mode": mode,
        "count": count,
        "points": len(points),
        "quarter": round(late[0][1], 1),
        "end": round(late[-1][1], 1),
        "slope": round(slope * UNITS[mode][1], 3),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def cells(row: dict) -> list[object]:
    """Format one line of the table."""
    name, unit = UNITS[row["mode"]]
    per = f"{row['slope']:.2f} MB per {'1,000' if unit > 1 else 'size'}"
    return [name, row["count"], row["quarter"], row["end"], per, row["cpu_seconds"]]


def main() -> None:
    """Measure each mode in a process and print the table."""
    flags = parser(__doc__, "session_memory.json")
    flags.add_argument("--modes", type=words, default=list(UNITS))
    flags.add_argument("--steps", type=int, default=3000)
    flags.add_argument("--sizes", type=int, default=100)
    options = flags.parse_args()
    if len(options.modes) > 1:
        for mode in options.modes:
            command = [sys.executable, "-m", "benchmarks.speed.session_memory", f"--modes={mode}"]
            command += [f"--steps={options.steps}", f"--sizes={options.sizes}"]
            subprocess.run([*command, f"--out={options.out}"], check=True, env=dict(os.environ))
    else:
        (mode,) = options.modes
        row = measure(mode, options.steps if mode == "train" else options.sizes)
        record.merge(options.out, [row], ("mode", "count"))
    print(record.table(COLUMNS, map(cells, record.read(options.out))))


if __name__ == "__main__":
    main()
