"""Every network on every task: one small training each, scored on scenes it has not seen.

    python -m benchmarks.studies.task_matrix [--networks=ramsf,u2net] [--tasks=ms8]

Run from the clone's root. Data: none, scenes are built in.

Each cell trains the reduced-width network of configs/small.py on built-in scenes and sees the same
number of samples. `--networks` also takes the variants below. A cell that is finished is not
trained again. For comparison: EXP, the best classical method (pansharpening), and the network's own
error with the PAN (or RGB, or SAR) of another scene, which shows whether it uses its guide image.

Rows go to benchmarks/results/task_matrix.json; the table of all rows is printed.
"""

import dataclasses
import importlib
import json
import shutil
import time
from pathlib import Path

import h5py
import numpy as np

from benchmarks import record
from benchmarks.command_line import parser, words
from configs import small
from rsfusion_jax import classical
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import Scores, score
from rsfusion_jax.inference.load import load
from rsfusion_jax.new_files import new_files
from rsfusion_jax.training.loop import train

TASKS = {
    "ms8": {"sensor": "wv3"},
    "ms4": {"sensor": "wv4"},
    "hs_x4": {"sensor": "wv3", "num_bands": 102, "ratio": 4},
    "hs_x6": {"sensor": "wv3", "num_bands": 102, "ratio": 6},
    "hsi_msi_x4": {"sensor": "wv3", "num_bands": 31, "ratio": 4, "guide": "rgb"},
    "hsi_msi_x8": {"sensor": "wv3", "num_bands": 31, "ratio": 8, "guide": "rgb"},
    "sar_x4": {"sensor": "wv4", "ratio": 4, "guide": "sar"},
}
TITLES = {
    "ms8": "MS, 8 bands",
    "ms4": "MS, 4 bands",
    "hs_x4": "hyperspectral, 102 bands, x4",
    "hs_x6": "hyperspectral, 102 bands, x6",
    "hsi_msi_x4": "HSI-MSI, 31 + 3 bands, x4",
    "hsi_msi_x8": "HSI-MSI, 31 + 3 bands, x8",
    "sar_x4": "MS + SAR, 4 + 2 bands, x4",
}
VARIANTS = {"mmapp_lms": ("mmapp", {"add_lms": True}, "MMAPP + upsampled MS (ours)")}
"""Fields of this package's own that no paper has: network, fields, title."""
TRAIN_SCENES, TEST_SCENES = 32, 8
# Entries of a row that depend on its task alone.
BASELINES = ("ergas_exp", "sam_exp", "classical", "classical_ergas", "classical_sam")


class OtherGuides:
    """A set whose samples carry the guide of the next sample."""

    def __init__(self, source):
        self.info, self._source = source.info, source

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._source)

    def __getitem__(self, index: int):
        """Sample `index` with another's `pan`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {**self._source[index], "pan": self._guide(index)}

    def _guide(self, index: int):
        return self._source[(index + 1) % len(self)]["pan"]


class NoGuides(OtherGuides):
    """A set whose samples carry a guide of zeros."""

    def _guide(self, index: int):
        return np.zeros_like(self._source[index]["pan"])


def render(task: str, split: str, count: int, path: Path) -> None:
    """Write the scenes of a task once, so that every network reads the same file."""
    if path.exists():
        return
    options = dict(TASKS[task])
    ratio = options.get("ratio", 4)
    size = 16 * ratio if ratio == 6 else 96
    scenes = SyntheticScenes(
        options.pop("sensor"), num_scenes=count, size=size, split=split, **options
    )
    info = scenes.info
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_files([path]) as temporary:
        attributes = {"max_value": info.max_value, "ms_phase": info.ms_phase}
        if info.pan_degradation:
            attributes["pan_degradation"] = info.pan_degradation
        stored = (
            {key: (image * info.max_value).astype(np.float32) for key, image in sample.items()}
            for sample in (scenes[index] for index in range(count))
        )
        write_set(temporary[path], stored, count, attributes)
    (path.with_suffix(".sensor.json")).write_text(json.dumps(dataclasses.asdict(info.sensor)))


def cell_config(network: str, task: str, folder: Path, steps: int, rate: float | None):
    """Return the config of one cell's run."""
    published, fields, _ = VARIANTS.get(network, (network, {}, ""))
    config = small.get_config(published)
    config.model = {**config.model, **fields}
    config.name = f"{network}_{task}"
    data = config.data
    data.sensor = ""
    data.own_sensor = json.loads((folder / f"{task}_train.sensor.json").read_text())
    data.train, data.valid, data.test = str(folder / f"{task}_train.h5"), "", ""
    data.ratio = TASKS[task].get("ratio", 4)
    data.patch_size = 36 if data.ratio == 6 else 32
    data.crops_per_sample = 64
    config.train.update(steps=steps, batch_size=4, log_every=250, checkpoint_every=10**6)
    config.optim.learning_rate = rate or config.optim.learning_rate
    return config


def mean_and_error(scores: Scores, metric: str) -> tuple[float, float]:
    """Return the mean over the scenes and its standard error."""
    values = scores.values[metric]
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def baselines(task: str, source) -> dict:
    """Score EXP and, for pansharpening, the best classical method in ERGAS."""
    exp = score(classical_method("exp", source.info).fuse, source)
    row = {f"{metric}_exp": mean_and_error(exp, metric.upper())[0] for metric in ("ergas", "sam")}
    if "guide" in TASKS[task]:
        return row
    best = None
    for name in classical.list_methods():
        try:
            scores = score(classical_method(name, source.info).fuse, source)
        except UserError:  # not defined for these bands or this ratio
            continue
        ergas, sam = scores.mean()["ERGAS"], scores.mean()["SAM"]
        if name != "exp" and (best is None or ergas < best["classical_ergas"]):
            best = {"classical": name, "classical_ergas": ergas, "classical_sam": sam}
    return {**row, **best}


def run_cell(network: str, task: str, source, folder: Path, steps: int, rate: float | None) -> dict:
    """Train and score one network on one task."""
    workdir = folder / f"{network}_{task}"
    start = time.perf_counter()
    config = cell_config(network, task, folder, steps, rate)
    try:
        train(config, workdir)
    except UserError as error:
        return {"network": network, "task": task, "refused": str(error)}
    minutes = (time.perf_counter() - start) / 60
    fuser = load(workdir)
    own, swapped = score(fuser.fuse_unit, source), score(fuser.fuse_unit, OtherGuides(source))
    row = {"network": network, "task": task}
    for metric in ("ergas", "sam"):
        row[metric], row[f"{metric}_error"] = mean_and_error(own, metric.upper())
    row["ergas_other_guide"] = mean_and_error(swapped, "ERGAS")[0]
    row["budget"] = f"{steps} steps of 4 patches"
    row["learning_rate"] = config.optim.learning_rate
    row["minutes"] = round(minutes, 2)
    return row


def error_without_guide(
    network: str, task: str, source, folder: Path, steps: int, rate: float | None
) -> float:
    """Return ERGAS of the network trained and tested with guides of zeros: MS alone."""
    config = cell_config(network, task, folder, steps, rate)
    blank = folder / f"{task}_train_without_guide.h5"
    if not blank.exists():
        with new_files([blank]) as temporary:
            shutil.copy(config.data.train, temporary[blank])
            with h5py.File(temporary[blank], "r+") as file:
                file["pan"][...] = 0
    config.data.train = str(blank)
    fuser = load(train(config, folder / f"{network}_{task}_without_guide"))
    return mean_and_error(score(fuser.fuse_unit, NoGuides(source)), "ERGAS")[0]


def title(network: str) -> str:
    """Return the name of a network in the table."""
    if network in VARIANTS:
        return VARIANTS[network][2]
    return importlib.import_module(f"rsfusion_jax.models.{network}").Model.title


def cells(row: dict) -> list[object]:
    """Format one line of the table."""
    line = [TITLES[row["task"]], title(row["network"])]
    if "refused" in row:
        return [*line, f"refused: {row['refused'].split(';')[0]}", "", "", "", "", ""]
    best = None
    if "classical" in row:
        method = row["classical"].upper().replace("_", "-")
        best = f"{method}: {row['classical_ergas']:.3f}, {row['classical_sam']:.3f}"
    return [
        *line,
        f"{row['budget'].split()[0]}, {row['learning_rate']:g}",
        f"{row['ergas']:.3f} ± {row['ergas_error']:.3f}",
        f"{row['sam']:.3f} ± {row['sam_error']:.3f}",
        f"{row['ergas_other_guide']:.3f}",
        f"{row['ergas_exp']:.3f}, {row['sam_exp']:.3f}",
        best,
    ]


def main() -> None:
    """Fill the chosen cells and print the table."""
    flags = parser(__doc__, "task_matrix.json")
    flags.add_argument("--networks", type=words, default=list(small.WIDTHS))
    flags.add_argument("--tasks", type=words, default=list(TASKS))
    flags.add_argument("--steps", type=int, default=1000)
    flags.add_argument("--learning-rate", type=float, help="in place of configs/small.py's")
    flags.add_argument(
        "--without-guide", action="store_true", help="train each cell without its guide as well"
    )
    flags.add_argument("--folder", type=Path, default=Path("runs/task_matrix"))
    options = flags.parse_args()
    rows = record.read(options.out)
    for task in options.tasks:
        for split, count in (("train", TRAIN_SCENES), ("test", TEST_SCENES)):
            render(task, split, count, options.folder / f"{task}_{split}.h5")
        sensor = json.loads((options.folder / f"{task}_test.sensor.json").read_text())
        path = options.folder / f"{task}_test.h5"
        source = open_set(path, sensor=sensor, ratio=TASKS[task].get("ratio", 4), max_value=None)
        known = [row for row in rows if row["task"] == task]
        compared = {key: known[0][key] for key in BASELINES if key in known[0]} if known else {}
        compared = compared or baselines(task, source)
        for network in options.networks:
            cell = network, task, source, options.folder, options.steps, options.learning_rate
            row = run_cell(*cell) | compared
            if options.without_guide:
                row["ergas_no_guide"] = error_without_guide(*cell)
            rows = record.merge(
                options.out,
                [row],
                ("network", "task"),
                order=lambda row: (list(TASKS).index(row["task"]), row["network"]),
            )
    columns = ("task", "network", "steps, rate", "ERGAS", "SAM", "ERGAS with another guide")
    columns += ("EXP: ERGAS, SAM", "best classical: ERGAS, SAM")
    print(record.table(columns, map(cells, rows)))


if __name__ == "__main__":
    main()
