"""Runs of two processes that lose one of them, or are asked to stop, and go on exactly. Slow."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from loopback import environment, free_address

import rsfusion_jax as rsf

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
STEPS = 60
OPTIONS = {
    "name": "pair",
    "data.patch_size": 16,
    "data.valid": "",
    "data.test": "",
    "data.synthetic.train_scenes": 2,
    "data.synthetic.size": 32,
    "train.batch_size": 4,
    "train.steps": STEPS,
    "train.log_every": 1,
    "train.checkpoint_every": 10,
}


def start(workdir):
    """Both processes of one run, a device each, over loopback."""
    address = free_address()
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        f"--config={ROOT / 'configs' / 'pnn.py'}:synthetic",
        f"--workdir={workdir}",
        f"--coordinator={address}",
        "--num_processes=2",
        *(f"--config.{name}={value}" for name, value in OPTIONS.items()),
    ]
    return [
        subprocess.Popen(
            [*command, f"--process_id={index}"],
            env=environment(devices=1),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def end(running, seconds=600):
    """Their exit statuses and what they said last."""
    said = [process.communicate(timeout=seconds)[1] for process in running]
    return [process.returncode for process in running], said


def lines(workdir):
    path = workdir / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wait_for_step(workdir, step, running):
    deadline = time.monotonic() + 300
    while not any(line["step"] >= step for line in lines(workdir)):
        assert all(process.poll() is None for process in running) and time.monotonic() < deadline
        time.sleep(0.01)


def finish(workdir):
    statuses, said = end(start(workdir))
    assert statuses == [0, 0], said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("pair") / "whole"
    finish(workdir)
    return workdir


def assert_same_end(one, other):
    leaves = [
        jax.tree.leaves(rsf.load(run / "checkpoints" / str(STEPS)).variables)
        for run in (one, other)
    ]
    for mine, theirs in zip(*leaves, strict=True):
        assert np.array_equal(mine, theirs)
    losses = [[(line["step"], line["train/loss"]) for line in lines(run)] for run in (one, other)]
    assert losses[0] == losses[1] and [step for step, _ in losses[0]] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("lost", [0, 1])
def test_one_is_killed_and_both_resume_exactly(lost, whole, tmp_path):
    running = start(tmp_path / "run")
    wait_for_step(tmp_path / "run", 25, running)
    running[lost].kill()
    killed = time.monotonic()
    statuses, said = end(running, seconds=60)
    print(f"the other ended {time.monotonic() - killed:.1f} s after process {lost} was killed")
    assert statuses[lost] == -signal.SIGKILL and statuses[1 - lost] == 75, said
    sentence = f"error: process {lost} of 2 is gone; start all processes again to go on from the"
    assert sentence in said[1 - lost]
    assert len(lines(tmp_path / "run")) < STEPS
    finish(tmp_path / "run")
    assert_same_end(whole, tmp_path / "run")


def test_one_is_asked_to_stop_and_both_save_the_same_step(whole, tmp_path):
    running = start(tmp_path / "run")
    wait_for_step(tmp_path / "run", 13, running)
    running[1].terminate()
    statuses, said = end(running)
    assert statuses == [75, 75], said
    steps = {text.split("stopped by SIGTERM: step ")[1].split(" of ")[0] for text in said}
    assert len(steps) == 1 and (tmp_path / "run" / "checkpoints" / steps.pop()).is_dir()
    finish(tmp_path / "run")
    assert_same_end(whole, tmp_path / "run")
