"""Cloud removal with radar at ratio 1, on built-in scenes: networks beside the clouded image.

    PYTHONPATH=. python benchmarks/cloud_removal.py [--networks=ramsf,cf2n] [--steps=1000]

Each network that takes ratio 1, at the width of configs/small.py, sees the same samples: four bands
on a clouded day and a radar image in two polarisations; the truth is a clear day. Scores are those
of the whole image and of the pixels under clouds and shadows. Beside them: the clouded image as it
is, and the network with the radar image of another scene. Rows go to
benchmarks/results/cloud_removal.json; the table is printed as Markdown.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.task_matrix import OtherGuides, mean_and_error
from configs import small
from rsfusion_jax.data.configured import open_split
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

NETWORKS = ("cf2n", "feinfn", "ramsf", "rsanet", "u2net")
METRICS = ("MAE", "RMSE", "PSNR", "SSIM", "SAM")
COLUMNS = (*METRICS, *(f"{name} clouds" for name in METRICS))


def get_config(network: str, steps: int):
    """The run of one network."""
    config = small.get_config(network)
    config.name = f"{network}_clouds"
    config.data.update(ratio=1, valid="", test="", crops_per_sample=64)
    config.data.synthetic.update(guide="sar", train_scenes=32, test_scenes=8)
    config.eval.best_metric = "PSNR"
    config.train.update(steps=steps, batch_size=4, log_every=250, checkpoint_every=10**6)
    return config


def row(label: str, fuse, source) -> dict:
    """Means over the test scenes and the standard error of the error under clouds."""
    scores = score(fuse, source)
    means = scores.mean()
    _, error = mean_and_error(scores, "MAE clouds")
    return {"network": label, **{name: means[name] for name in COLUMNS}, "error": error}


def table(rows: list[dict]) -> str:
    """The rows as Markdown, whole image / under clouds."""
    lines = ["| network | " + " | ".join(METRICS) + " | MAE under clouds, radar of another scene |"]
    lines.append("|---" * (len(METRICS) + 2) + "|")
    for one in rows:
        digits = {"PSNR": 2, "SSIM": 3, "SAM": 2}
        cells = [
            f"{one[name]:.{digits.get(name, 1)}f} / {one[f'{name} clouds']:.{digits.get(name, 1)}f}"
            + (f" ± {one['error']:.1f}" if name == "MAE" else "")
            for name in METRICS
        ]
        other = f"{one['other_guide']:.1f}" if "other_guide" in one else "-"
        lines.append(f"| {one['network']} | {' | '.join(cells)} | {other} |")
    return "\n".join(lines)


def main() -> None:
    """Fills the rows that are asked for and prints all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--folder", type=Path, default=Path("runs/cloud_removal"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/cloud_removal.json"))
    options = parser.parse_args()
    config = get_config("ramsf", options.steps)
    config.data.test = "synthetic"  # scored here, not at the end of each run
    source = open_split(config.data, "test", config.seed)
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    made = [row("clouded image", lambda pan, ms, lms: lms, source)]
    for network in options.networks.split(","):
        start = time.perf_counter()
        fuser = load(train(get_config(network, options.steps), options.folder / network))
        minutes = (time.perf_counter() - start) / 60
        other = score(fuser.fuse_unit, OtherGuides(source)).mean()["MAE clouds"]
        budget = f"{options.steps} steps of 4 patches of 32 pixels"
        result = row(network, fuser.fuse_unit, source)
        made.append(result | {"other_guide": other, "budget": budget, "minutes": minutes})
        names = {one["network"] for one in made}
        rows = sorted([one for one in rows if one["network"] not in names] + made, key=_order)
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def _order(one: dict) -> int:
    return ("clouded image", *NETWORKS).index(one["network"])


if __name__ == "__main__":
    main()
