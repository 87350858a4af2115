"""Quality and speed of whole training runs, by the arithmetic they compute in.

    python -m benchmarks.studies.gpu_training [--networks=u2net] [--steps=1000] [--seeds=0,1,2]

Run from the clone's root. Data: none, scenes are built in. It is for machines with a GPU, and runs
on others too.

Each row is one run of the reduced-width network of configs/small.py on built-in scenes of four
bands, scored on scenes it has not seen. "float32" computes products in full float32, "tf32" as JAX
does by default on recent GPUs, "bfloat16" with train.dtype=bfloat16. Steps per second and the share
of time that a step waited for its batch are the run's own, of its last quarter.

Rows go to benchmarks/results/gpu_training.json; the table is printed.
"""

import json
import tempfile
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import numbers, parser, words
from benchmarks.studies.task_matrix import cell_config, mean_and_error, render
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

TASK, TRAIN_SCENES, TEST_SCENES = "ms4", 32, 8
ARITHMETICS = {  # train.dtype, train.precision
    "float32": ("float32", "highest"),
    "tf32": ("float32", "default"),
    "bfloat16": ("bfloat16", "default"),
}
SHOWN = {
    "ERGAS": "ergas",
    "steps / s": "steps_per_second",
    "images / s": "images_per_second",
    "waits for data": "data_wait",
    "compile, s": "compile_seconds",
}


def run(network: str, arithmetic: str, seed: int, folder: Path, steps: int, batch: int) -> dict:
    """Train and score one network."""
    config = cell_config(network, TASK, folder, steps, None)
    config.seed = seed
    config.train.dtype, config.train.precision = ARITHMETICS[arithmetic]
    config.train.update(batch_size=batch, log_every=max(1, steps // 4))
    workdir = train(config, folder / f"{network}_{arithmetic}_{seed}")
    logged = {}
    for line in (workdir / "metrics.jsonl").read_text().splitlines():
        logged |= json.loads(line)
    sensor = json.loads((folder / f"{TASK}_test.sensor.json").read_text())
    source = open_set(folder / f"{TASK}_test.h5", sensor=sensor, ratio=4, max_value=None)
    ergas, _ = mean_and_error(score(load(workdir).fuse_unit, source), "ERGAS")
    row = {"network": network, "arithmetic": arithmetic, "seed": seed, "steps": steps}
    row |= {"batch": batch, "ergas": ergas}
    speeds = list(SHOWN.values())[1:]
    return row | {key: logged[f"speed/{key}"] for key in speeds if f"speed/{key}" in logged}


def main() -> None:
    """Train the chosen networks and print the table."""
    flags = parser(__doc__, "gpu_training.json")
    flags.add_argument("--networks", type=words, default=["ramsf", "u2net"])
    flags.add_argument("--arithmetics", type=words, default=list(ARITHMETICS))
    flags.add_argument("--seeds", type=numbers, default=[0])
    flags.add_argument("--steps", type=int, default=1000)
    flags.add_argument("--batch", type=int, default=4)
    options = flags.parse_args()
    rows = record.read(options.out)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", TRAIN_SCENES), ("test", TEST_SCENES)):
            render(TASK, split, count, folder / f"{TASK}_{split}.h5")
        for network in options.networks:
            for seed in options.seeds:
                for arithmetic in options.arithmetics:
                    size = options.steps, options.batch
                    row = run(network, arithmetic, seed, folder, *size)
                    keys = "network", "arithmetic", "seed", "steps", "batch"
                    rows = record.merge(options.out, [row], keys)
    columns = ["network", "arithmetic", "seed", "steps", "batch", *SHOWN]
    lines = [
        [*(row[key] for key in columns[:5]), f"{row['ergas']:.3f}"]
        + [f"{row[key]:.3g}" if key in row else None for key in list(SHOWN.values())[1:]]
        for row in rows
    ]
    print(record.table(columns, lines))


if __name__ == "__main__":
    main()
