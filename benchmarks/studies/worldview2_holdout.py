"""Networks trained on one part of a real WorldView-2 image and scored on another.

    python -m benchmarks.studies.worldview2_holdout --data=FOLDER [--networks=ramsf]

Run from the clone's root. Data: the WorldView-2 image that benchmarks/images.py names; `--data` is
its folder.

Spatial hold-out: MS [64:256, 64:256] of the 320 x 320 image is left out of training, and
[96:224, 96:224] in its middle is scored, so that 32 MS pixels lie between the two. Each area is
degraded by Wald's protocol from its own crop. Networks have the widths of configs/small.py unless
--full is given.

Rows go to benchmarks/results/worldview2_holdout.json; the table of all rows is printed.
"""

import time
from pathlib import Path

import jax

from benchmarks import record
from benchmarks.command_line import parser, words
from benchmarks.images import CENTRE, MAX_VALUES, RATIO, add_flags, degraded, read
from configs import small
from rsfusion_jax import classical
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.inference.load import load
from rsfusion_jax.training.loop import train

LEFT_OUT = slice(64, 256)
SIDE, STRIDE = 64, 32  # of training samples, MS pixels
METRICS = ("SAM", "ERGAS", "PSNR", "Q2n")


def training_samples(pan, ms):
    """Yield overlapping samples of the four strips around the square, each degraded once."""
    height, width = ms.shape[:2]
    top, bottom = slice(0, LEFT_OUT.start), slice(LEFT_OUT.stop, height)
    left, right = slice(0, LEFT_OUT.start), slice(LEFT_OUT.stop, width)
    everywhere = slice(0, height)
    strips = [(top, slice(0, width)), (bottom, slice(0, width))]
    strips += [(everywhere, left), (everywhere, right)]
    for rows, columns in strips:
        strip = degraded(pan, ms, rows, columns, sensor="wv2")
        tall, wide = strip["gt"].shape[:2]
        for y in range(0, tall - SIDE + 1, STRIDE):
            for x in range(0, wide - SIDE + 1, STRIDE):
                yield {key: window(image, y, x, key == "ms") for key, image in strip.items()}


def window(image, y: int, x: int, coarse: bool):
    """Cut the sample at (y, x) out of an image, or out of the degraded MS."""
    scale = RATIO if coarse else 1
    return image[y // scale : (y + SIDE) // scale, x // scale : (x + SIDE) // scale]


def write_sets(data: Path, folder: Path) -> tuple[Path, Path]:
    """Write the training and the test set, unless they exist."""
    paths = folder / "train.h5", folder / "test.h5"
    if not all(path.exists() for path in paths):
        folder.mkdir(parents=True, exist_ok=True)
        pan, ms = read(data, "wv2")
        attributes = {"max_value": MAX_VALUES["wv2"], "ms_phase": 2.0}
        attributes["pan_degradation"] = "imresize"
        samples = list(training_samples(pan, ms))
        write_set(paths[0], iter(samples), len(samples), attributes)
        test = degraded(pan, ms, CENTRE, CENTRE, sensor="wv2")
        write_set(paths[1], iter([test]), 1, attributes)
    return paths


def run(network: str, fields: dict, label: str, paths, options) -> dict:
    """Train one network and score it."""
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
    count = sum(leaf.size for leaf in jax.tree.leaves(fuser.variables))
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


def main() -> None:
    """Train and score the chosen networks and print the table."""
    flags = parser(__doc__, "worldview2_holdout.json")
    add_flags(flags, images=False)
    flags.add_argument("--networks", type=words, default=list(small.WIDTHS))
    flags.add_argument("--full", action="store_true", help="published widths")
    flags.add_argument(
        "--without", type=words, default=[], help="CF2N's switches to turn off, one run each"
    )
    flags.add_argument("--steps", type=int, default=2000)
    flags.add_argument("--batch", type=int, default=4)
    flags.add_argument("--patch", type=int, default=32)
    flags.add_argument("--learning-rate", type=float, default=1e-3)
    flags.add_argument("--folder", type=Path, default=Path("runs/worldview2_holdout"))
    options = flags.parse_args()
    paths = write_sets(options.data, options.folder)
    test = open_set(paths[1], sensor="wv2")

    def store(rows: list[dict]) -> list[dict]:
        return record.merge(options.out, rows, ("method",), order=lambda row: row["ERGAS"])

    rows = record.read(options.out)
    if not rows:
        for name in classical.list_methods():
            means = score(classical_method(name, test.info).fuse, test, batch_size=1).mean()
            rows = store([{"method": name, **{metric: means[metric] for metric in METRICS}}])
    for network in options.networks:
        for switch in options.without or [None]:
            fields = {} if options.full else dict(small.WIDTHS[network])
            label = network + (" full" if options.full else "")
            if switch:
                fields[switch], label = False, f"{label} without {switch.removeprefix('use_')}"
            rows = store([run(network, fields, label.replace(" ", "_"), paths, options)])
    lines = [
        [row["method"], row.get("parameters"), *(f"{row[metric]:.3f}" for metric in METRICS)]
        for row in rows
    ]
    print(record.table(("method", "parameters", *METRICS), lines))


if __name__ == "__main__":
    main()
