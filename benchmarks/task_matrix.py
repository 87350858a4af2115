"""Every network on every task: one small training each, scored on scenes it has not seen.

    PYTHONPATH=. python benchmarks/task_matrix.py [--networks=ramsf,u2net] [--tasks=ms8]

Each cell trains the reduced-width network of configs/small.py on built-in scenes and sees the same
number of samples. A cell that is finished is not trained again. Beside each network: EXP, the best
classical method (pansharpening), and the network's own error when it is given the PAN (or RGB, or
SAR) of another scene, which shows whether it uses its guide. Rows go to docs/task_matrix.json; the
table is printed as Markdown.
"""

import argparse
import dataclasses
import importlib
import json
import shutil
import time
from pathlib import Path

import h5py
import numpy as np

from configs import small
from rsfusion_jax import classical
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.data.stored.set_file import new_files, write_set
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import Scores, score
from rsfusion_jax.inference.load import load
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
TRAIN_SCENES, TEST_SCENES = 32, 8
# What a row says of its task and not of its network.
BESIDE = ("ergas_exp", "sam_exp", "classical", "classical_ergas", "classical_sam")


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
    """Writes the scenes of a task once, so that every network reads the same file."""
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
    """The run of one cell."""
    config = small.get_config(network)
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
    """Mean over the scenes and its standard error."""
    values = scores.values[metric]
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def baselines(task: str, source) -> dict:
    """EXP and, for pansharpening, the best classical method in ERGAS."""
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
    """Trains and scores one network on one task."""
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
    """ERGAS of the network trained and tested with guides of zeros: what the bands alone give."""
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


def table(rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [
        "| task | network | steps, rate | ERGAS | SAM | ERGAS with another guide "
        "| EXP: ERGAS, SAM | best classical: ERGAS, SAM |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        model = importlib.import_module(f"rsfusion_jax.models.{row['network']}").Model
        name = f"| {TITLES[row['task']]} | {model.title} |"
        if "refused" in row:
            lines.append(f"{name} refused: {row['refused'].split(';')[0]} | | | | | |")
            continue
        best = "-"
        if "classical" in row:
            method = row["classical"].upper().replace("_", "-")
            best = f"{method}: {row['classical_ergas']:.3f}, {row['classical_sam']:.3f}"
        lines.append(
            f"{name} {row['budget'].split()[0]}, {row['learning_rate']:g} "
            f"| {row['ergas']:.3f} ± {row['ergas_error']:.3f} "
            f"| {row['sam']:.3f} ± {row['sam_error']:.3f} | {row['ergas_other_guide']:.3f} "
            f"| {row['ergas_exp']:.3f}, {row['sam_exp']:.3f} | {best} |"
        )
    return "\n".join(lines)


def read_rows(path: Path) -> list[dict]:
    """What is there already."""
    return json.loads(path.read_text()) if path.exists() else []


def main() -> None:
    """Fills the cells that are asked for and prints all that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(small.WIDTHS))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--learning_rate", type=float, help="in place of configs/small.py's")
    parser.add_argument(
        "--without_guide", action="store_true", help="train each cell without its guide as well"
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/task_matrix"))
    parser.add_argument("--out", type=Path, default=Path("docs/task_matrix.json"))
    options = parser.parse_args()
    rows = read_rows(options.out)
    for task in options.tasks.split(","):
        for split, count in (("train", TRAIN_SCENES), ("test", TEST_SCENES)):
            render(task, split, count, options.folder / f"{task}_{split}.h5")
        sensor = json.loads((options.folder / f"{task}_test.sensor.json").read_text())
        path = options.folder / f"{task}_test.h5"
        source = open_set(path, sensor=sensor, ratio=TASKS[task].get("ratio", 4), max_value=None)
        known = [row for row in rows if row["task"] == task]
        beside = {key: known[0][key] for key in BESIDE if key in known[0]} if known else {}
        beside = beside or baselines(task, source)
        for network in options.networks.split(","):
            cell = network, task, source, options.folder, options.steps, options.learning_rate
            row = run_cell(*cell) | beside
            if options.without_guide:
                row["ergas_no_guide"] = error_without_guide(*cell)
            # Read again: another process may have filled a cell meanwhile.
            rows = read_rows(options.out)
            rows = [old for old in rows if (old["network"], old["task"]) != (network, task)]
            rows.append(row)
            rows.sort(key=lambda row: (list(TASKS).index(row["task"]), row["network"]))
            options.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
