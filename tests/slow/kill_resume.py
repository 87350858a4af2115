"""kill -9 at random moments of one training run, which must end as if nothing had happened.

    python tests/slow/kill_resume.py [--kills=20] [--folder=/tmp/kill_resume] [--seed=0]

Trains a small network twice: once in peace, once killed again and again, by turns at any moment,
while a checkpoint is being written and while the validation set is scored. The last checkpoints
must then agree bit for bit (weights, average, optimiser, random key, position in the data), and so
must the best checkpoints and the logged losses and scores. Minutes on two cores; not in the suite.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

ROOT = Path(__file__).resolve().parents[2]
EVAL_EVERY = 40
MOMENTS = ("any", "save", "evaluation")


def command(folder: Path, steps: int) -> list[str]:
    options = {
        "name": "kill_resume",
        "data.patch_size": 16,
        "data.crops_per_sample": 4,
        "data.test": "",
        "data.synthetic.train_scenes": 2,
        "data.synthetic.valid_scenes": 8,
        "data.synthetic.size": 32,
        "train.batch_size": 4,
        "train.steps": steps,
        "train.ema_decay": 0.9,
        "train.log_every": 1,
        "train.eval_every": EVAL_EVERY,
        "train.checkpoint_every": 7,
        "optim.warmup_steps": 5,
        "eval.batch_size": 1,
        "mesh.devices": 1,
    }
    flags = [f"--config.{name}={value}" for name, value in options.items()]
    recipe = f"--config={ROOT / 'configs' / 'pannet.py'}:synthetic"
    return [sys.executable, str(ROOT / "train.py"), recipe, f"--workdir={folder}", *flags]


def start(folder: Path, steps: int) -> subprocess.Popen:
    environment = {"JAX_PLATFORMS": "cpu", **os.environ}
    log = folder.with_suffix(".log").open("a")
    return subprocess.Popen(command(folder, steps), env=environment, stdout=log, stderr=log)


def lines(folder: Path) -> list[dict]:
    """Whole lines of metrics.jsonl; none while it is not there."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def now(folder: Path) -> set[str]:
    """Which of `MOMENTS` it is."""
    moments = {"any"}
    if any((folder / "checkpoints").glob("*orbax-checkpoint-tmp*")):
        moments.add("save")
    last = lines(folder)[-1:]
    if last and last[0]["step"] % EVAL_EVERY == 0 and "train/loss" in last[0]:
        moments.add("evaluation")
    return moments


def kill_once(folder: Path, steps: int, moment: str, rng: random.Random) -> tuple[int, set[str]]:
    """Starts the run and kills it at such a moment; returns its step then and what it was doing."""
    begun = len(lines(folder))
    process = start(folder, steps)
    while len(lines(folder)) <= begun or not (folder / "metrics.jsonl").exists():
        assert process.poll() is None, f"ended by itself: see {folder.with_suffix('.log')}"
        begun = min(begun, len(lines(folder)))  # lines after the last checkpoint are dropped
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.8))
    deadline = time.monotonic() + 20
    while moment not in now(folder) and time.monotonic() < deadline:
        time.sleep(0.0005)
    if moment != "any":
        time.sleep(rng.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "finished before it was killed; raise --steps"
    return lines(folder)[-1]["step"], now(folder)


def arrays(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by item and name."""
    found = {}
    for item in ("params", "ema", "training"):
        if not (folder / item).is_dir():
            continue
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            tree = checkpointer.restore(folder / item)
        for path, leaf in jax.tree.leaves_with_path(tree):
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found


def compare(whole: Path, killed: Path, steps: int) -> int:
    """Asserts that two runs ended equally; returns the number of arrays compared."""
    best = {
        run: max((run / "best").iterdir(), key=lambda p: int(p.name)) for run in (whole, killed)
    }
    assert best[whole].name == best[killed].name, "other best steps"
    count = 0
    for mine, theirs in (
        (whole / "checkpoints" / str(steps), killed / "checkpoints" / str(steps)),
        (best[whole], best[killed]),
    ):
        a, b = arrays(mine), arrays(theirs)
        assert a.keys() == b.keys()
        for name, array in a.items():
            assert array.dtype == b[name].dtype and array.tobytes() == b[name].tobytes(), name
        count += len(a)
    positions = [
        (run / "checkpoints" / str(steps) / "data" / "metadata").read_text()
        for run in (whole, killed)
    ]
    assert positions[0] == positions[1], "other positions in the data"
    logged = [
        [{k: v for k, v in line.items() if not k.startswith("speed/")} for line in lines(run)]
        for run in (whole, killed)
    ]
    assert logged[0] == logged[1], "other losses or scores"
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/kill_resume"))
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    whole, killed = options.folder / "whole", options.folder / "killed"
    rng, seen = random.Random(options.seed), collections.Counter()
    for index in range(options.kills):
        step, doing = kill_once(killed, options.steps, MOMENTS[index % len(MOMENTS)], rng)
        seen.update(doing)
        print(f"kill {index + 1}: after step {step}, during {', '.join(sorted(doing))}", flush=True)
    for folder in (killed, whole):
        assert start(folder, options.steps).wait() == 0, f"see {folder.with_suffix('.log')}"
    count = compare(whole, killed, options.steps)
    print(
        f"{options.kills} kills ({seen['save']} in a save, {seen['evaluation']} in evaluation): "
        f"{count} arrays, the data position, losses and scores are equal bit for bit"
    )


if __name__ == "__main__":
    main()
