"""Cloud removal with radar at ratio 1, on built-in scenes: networks beside the clouded image.

    python -m benchmarks.studies.cloud_removal [--networks=ramsf,cf2n] [--steps=1000]

Run from the clone's root. Data: none, scenes are built in.

Each network that takes ratio 1, at the width of configs/small.py, sees the same samples: four bands
on a clouded day and a radar image in two polarisations; the ground truth is a clear day. Scores are
those of the whole image and of the pixels under clouds and shadows. For comparison: the clouded
image as it is, and the network with the radar image of another scene.

Rows go to benchmarks/results/cloud_removal.json; the table of all rows is printed.
"""

import time
from pathlib import Path

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.studies.task_matrix import OtherGuides, mean_and_error
from configs import small
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

NETWORKS = ("cf2n", "feinfn", "ramsf", "rsanet", "u2net")
METRICS = ("MAE", "RMSE", "PSNR", "SSIM", "SAM")
COLUMNS = (*METRICS, *(f"{name} clouds" for name in METRICS))


def get_config(network: str, steps: int):
    """Return the config of one network's run."""
    config = small.get_config(network)
    config.name = f"{network}_clouds"
    config.data.update(ratio=1, valid="", test="", crops_per_sample=64)
    config.data.synthetic.update(guide="sar", train_scenes=32, test_scenes=8)
    config.eval.best_metric = "PSNR"
    config.train.update(steps=steps, batch_size=4, log_every=250, checkpoint_every=10**6)
    return config


def row(label: str, fuse, source) -> dict:
    """Score one method: means over the test scenes, and the standard error of MAE under clouds."""
    scores = score(fuse, source)
    means = scores.mean()
    _, error = mean_and_error(scores, "MAE clouds")
    return {"network": label, **{name: means[name] for name in COLUMNS}, "error": error}


def cells(row: dict) -> list[object]:
    """Format one line of the table: whole image / under clouds."""
    digits = {"PSNR": 2, "SSIM": 3, "SAM": 2}
    line = [row["network"]]
    for name in METRICS:
        places = digits.get(name, 1)
        line.append(f"{row[name]:.{places}f} / {row[f'{name} clouds']:.{places}f}")
    line[1] += f" ± {row['error']:.1f}"
    return [*line, f"{row['other_guide']:.1f}" if "other_guide" in row else None]


def main() -> None:
    """Train and score the chosen networks and print the table."""
    flags = parser(__doc__, "cloud_removal.json")
    flags.add_argument("--networks", type=words, default=list(NETWORKS))
    flags.add_argument("--steps", type=int, default=1000)
    flags.add_argument("--folder", type=Path, default=Path("runs/cloud_removal"))
    options = flags.parse_args()
    config = get_config("ramsf", options.steps)
    config.data.test = "synthetic"  # scored here, not at the end of each run
    source = open_split(config.data, "test", config.seed)

    def store(result: dict) -> list[dict]:
        return record.merge(
            options.out,
            [result],
            ("network",),
            order=lambda row: ("clouded image", *NETWORKS).index(row["network"]),
        )

    rows = store(row("clouded image", lambda pan, ms, lms: lms, source))
    for network in options.networks:
        start = time.perf_counter()
        fuser = load(train(get_config(network, options.steps), options.folder / network))
        minutes = (time.perf_counter() - start) / 60
        result = row(network, fuser.fuse_unit, source) | {"minutes": minutes}
        result["other_guide"] = score(fuser.fuse_unit, OtherGuides(source)).mean()["MAE clouds"]
        result["budget"] = f"{options.steps} steps of 4 patches of 32 pixels"
        rows = store(result)
    columns = "network", *METRICS, "MAE under clouds, radar of another scene"
    print(record.table(columns, map(cells, rows)))


if __name__ == "__main__":
    main()
