"""Networks trained on one part of a real WorldView-2 image and scored on another.

    PYTHONPATH=. python benchmarks/worldview2_holdout.py --image=imgWV2.mat [--networks=ramsf]

Spatial hold-out: MS [64:256, 64:256] of the 320 x 320 image is left out of training, and
[96:224, 96:224] in its middle is scored, so that 32 MS pixels lie between the two. Each area is
degraded by Wald's protocol from its own crop. Networks have the widths of configs/small.py unless
--full is given. Rows go to benchmarks/results/worldview2_holdout.json; the table is printed.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import scipy.io

from configs import small
from rsfusion_jax import classical
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

LEFT_OUT, TEST = slice(64, 256), slice(96, 224)
SIDE, STRIDE = 64, 32  # of training samples, MS pixels
MAX_VALUE, RATIO = 2047.0, 4
METRICS = ("SAM", "ERGAS", "PSNR", "Q2n")


def crop(pan, ms, rows: slice, columns: slice) -> dict[str, np.ndarray]:
    """Wald's protocol on one crop of the image, given in MS pixels."""
    fine = [slice(RATIO * s.start, RATIO * s.stop) for s in (rows, columns)]
    return simulate(pan[fine[0], fine[1]], ms[rows, columns], sensor="wv2", ratio=RATIO)


def training_samples(pan, ms):
    """Overlapping samples of the four strips around the square, each strip simulated once."""
    height, width = ms.shape[:2]
    top, bottom = slice(0, LEFT_OUT.start), slice(LEFT_OUT.stop, height)
    left, right = slice(0, LEFT_OUT.start), slice(LEFT_OUT.stop, width)
    everywhere = slice(0, height)
    strips = [(top, slice(0, width)), (bottom, slice(0, width))]
    strips += [(everywhere, left), (everywhere, right)]
    for rows, columns in strips:
        strip = crop(pan, ms, rows, columns)
        tall, wide = strip["gt"].shape[:2]
        for y in range(0, tall - SIDE + 1, STRIDE):
            for x in range(0, wide - SIDE + 1, STRIDE):
                scale = {"ms": RATIO}
                yield {
                    key: image[
                        y // scale.get(key, 1) : (y + SIDE) // scale.get(key, 1),
                        x // scale.get(key, 1) : (x + SIDE) // scale.get(key, 1),
                    ]
                    for key, image in strip.items()
                }


def write_sets(image: Path, folder: Path) -> tuple[Path, Path]:
    """The training and the test set, made once."""
    paths = folder / "train.h5", folder / "test.h5"
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        content = scipy.io.loadmat(image)
        pan = content["I_PAN"].astype(np.float32)[..., None]
        ms = content["I_MS"].astype(np.float32)
        attributes = {"max_value": MAX_VALUE, "ms_phase": 2.0, "pan_degradation": "imresize"}
        samples = list(training_samples(pan, ms))
        write_set(paths[0], iter(samples), len(samples), attributes)
        write_set(paths[1], iter([crop(pan, ms, TEST, TEST)]), 1, attributes)
    return paths


def run(network: str, fields: dict, label: str, paths, options) -> dict:
    """Trains one network and scores it."""
    config = small.get_config(network)
    config.name = label
    config.model = {"name": network, **fields}
    config.data.update(sensor="wv2", train=str(paths[0]), valid="", test="")
    config.data.update(patch_size=options.patch, crops_per_sample=64, augment="d4")
    config.train.update(steps=options.steps, batch_size=options.batch, ema_decay=0.995)
    config.train.update(log_every=500, checkpoint_every=10**6)
    config.optim.learning_rate = options.learning_rate
    config.optim.clip_norm = 1.0
    start = time.perf_counter()
    folder = train(config, options.folder / label)
    minutes = (time.perf_counter() - start) / 60
    fuser = load(folder)
    count = sum(leaf.size for leaf in _leaves(fuser.variables))
    row = score(fuser.fuse_unit, open_set(paths[1], sensor="wv2"), batch_size=1).mean()
    budget = f"{options.steps} steps of {options.batch} patches of {options.patch} pixels"
    return {
        "method": label,
        "parameters": count,
        **{name: row[name] for name in METRICS},
        "budget": budget,
        "learning_rate": options.learning_rate,
        "minutes": round(minutes, 2),
    }


def _leaves(tree):
    return [leaf for v in tree.values() for leaf in (_leaves(v) if isinstance(v, dict) else [v])]


def main() -> None:
    """Adds the rows that are asked for and prints all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(small.WIDTHS))
    parser.add_argument("--full", action="store_true", help="published widths")
    parser.add_argument("--without", default="", help="CF2N's switches to turn off, by comma")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--folder", type=Path, default=Path("runs/worldview2_holdout"))
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/results/worldview2_holdout.json")
    )
    options = parser.parse_args()
    paths = write_sets(options.image, options.folder)
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    test = open_set(paths[1], sensor="wv2")
    if not rows:
        for name in classical.list_methods():
            means = score(classical_method(name, test.info).fuse, test, batch_size=1).mean()
            rows.append({"method": name, **{metric: means[metric] for metric in METRICS}})
    switches = [switch for switch in options.without.split(",") if switch]
    for network in options.networks.split(","):
        for switch in switches or [None]:
            fields = {} if options.full else dict(small.WIDTHS[network])
            label = network + (" full" if options.full else "")
            if switch:
                fields[switch], label = False, f"{label} without {switch.removeprefix('use_')}"
            row = run(network, fields, label.replace(" ", "_"), paths, options)
            rows = [old for old in rows if old["method"] != row["method"]] + [row]
            rows.sort(key=lambda row: row["ERGAS"])
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"| method | parameters | {' | '.join(METRICS)} |\n|---|---|---|---|---|---|")
    for row in rows:
        values = " | ".join(f"{row[metric]:.3f}" for metric in METRICS)
        print(f"| {row['method']} | {row.get('parameters', '-')} | {values} |")


if __name__ == "__main__":
    main()
