"""What a run survives: signals, damaged checkpoints, a second start, a full disk, bad losses."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.errors import Interrupted
from rsfusion_jax.runs.checkpoint import Checkpoints, find_checkpoint
from rsfusion_jax.runs.integrity import with_digests
from rsfusion_jax.runs.lock import RunLock
from rsfusion_jax.training import loop
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.step_log import BadLossError, StepLog


def small_config(**options):
    """The smallest network and a loader without threads; seconds per run."""
    config = tiny_config()
    config.name = "small"
    with config.unlocked():
        config.model = type(config)({"name": "pnn"})
    config.data.valid = config.data.test = ""
    config.train.update(batch_size=4, steps=6, log_every=1, checkpoint_every=2, **options)
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, with checkpoints of steps 4 and 6."""
    return train(small_config(), tmp_path_factory.mktemp("runs") / "whole")


def _leaves(workdir, step=6):
    variables = rsf.load(workdir / "checkpoints" / str(step)).variables
    return [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


def assert_same_end(a, b):
    for mine, theirs in zip(_leaves(a), _leaves(b), strict=True):
        assert np.array_equal(mine, theirs)
    losses = [
        [(line["step"], line["train/loss"]) for line in map(json.loads, text.splitlines())]
        for text in ((run / "metrics.jsonl").read_text() for run in (a, b))
    ]
    assert losses[0] == losses[1] and [step for step, _ in losses[0]] == [1, 2, 3, 4, 5, 6]


@pytest.fixture
def unfinished(whole, tmp_path):
    """A copy of the run as if it had been killed after its last checkpoint."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "finished.json").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_and_the_run_goes_on(number, whole, tmp_path, monkeypatch):
    add = StepLog.add

    def signalled(self, step, metrics):
        if step == 3:
            signal.raise_signal(number)
        add(self, step, metrics)

    monkeypatch.setattr(StepLog, "add", signalled)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=f"stopped by {number.name}: step 3 of 6 is saved"):
        train(small_config(), tmp_path / "run")
    assert signal.getsignal(number) is before
    assert (tmp_path / "run" / "checkpoints" / "3").is_dir()
    monkeypatch.setattr(StepLog, "add", add)
    train(small_config(), tmp_path / "run")
    assert_same_end(whole, tmp_path / "run")


def test_the_program_exits_with_75():
    code = (
        "from rsfusion_jax.cli.entry import guarded\n"
        "from rsfusion_jax.training.interruption import StopRequest\n"
        "import os, signal\n"
        "def main():\n"
        "    with StopRequest(): os.kill(os.getpid(), signal.SIGTERM)\n"
        "guarded(main)\n"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 75, ended.stderr
    assert "stopped by SIGTERM" in ended.stderr and "Traceback" not in ended.stderr


def _truncate_arrays(step):
    for path in step.glob("params/**/d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_data_position(step):
    (step / "data" / "metadata").write_text('{"next_')


DAMAGES = {
    "truncated arrays": (_truncate_arrays, "its arrays are unreadable"),
    "no arrays": (lambda step: shutil.rmtree(step / "params" / "d"), "its arrays are unreadable"),
    "no metadata": (lambda s: (s / "_CHECKPOINT_METADATA").unlink(), "its metadata are missing"),
    "a part missing": (lambda s: shutil.rmtree(s / "training"), "its part training is missing"),
    "no card": (lambda s: (s / "card" / "metadata").unlink(), "its card is missing or unreadable"),
    "cut card": (lambda s: (s / "card" / "metadata").write_text("{"), "missing or unreadable"),
    "cut position": (_cut_data_position, "unreadable"),
    "emptied": (lambda s: (shutil.rmtree(s), s.mkdir()), "its metadata are missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(damage, whole, unfinished):
    break_it, sentence = DAMAGES[damage]
    break_it(unfinished / "checkpoints" / "6")
    with pytest.warns(UserWarning, match=f"checkpoints/6 is damaged .*{sentence}"):
        train(small_config(), unfinished)
    assert_same_end(whole, unfinished)
    assert (unfinished / "checkpoints" / "6.damaged").is_dir()


def test_half_written_and_deleted_checkpoints(whole, unfinished):
    folder = unfinished / "checkpoints"
    (folder / "6").rename(folder / "6.orbax-checkpoint-tmp")
    train(small_config(), unfinished)
    assert_same_end(whole, unfinished)
    (unfinished / "finished.json").unlink()
    shutil.rmtree(folder)
    train(small_config(), unfinished)  # from step 0
    assert_same_end(whole, unfinished)


def test_the_run_goes_on_with_other_devices(whole, unfinished):
    shutil.rmtree(unfinished / "checkpoints" / "6")
    config = small_config()
    config.mesh.update(devices=4, shard_params_over=2)
    train(config, unfinished)
    for mine, theirs in zip(_leaves(whole), _leaves(unfinished), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_all_damaged_is_an_error(unfinished):
    for step in ("4", "6"):
        _truncate_arrays(unfinished / "checkpoints" / step)
    with (
        pytest.warns(UserWarning),
        pytest.raises(rsf.UserError, match=r"no checkpoint .* is whole"),
    ):
        train(small_config(), unfinished)


def _edit_card(step, **changes):
    """As if it had been saved so: with the digest of the changed card."""
    path = step / "card" / "metadata"
    card = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(with_digests(card, card["digests"])))


def test_checkpoints_of_another_kind_are_refused(whole, unfinished):
    step = unfinished / "checkpoints" / "6"
    card = json.loads((step / "card" / "metadata").read_text())
    _edit_card(step, network={**card["network"], "name": "u2net"})
    with pytest.raises(rsf.UserError, match=r"holds a network with name='u2net'.*name='pnn'"):
        train(small_config(), unfinished)
    # The card says 3 bands, the arrays have 4.
    _edit_card(step, network={**card["network"], "num_bands": 3})
    with pytest.raises(
        rsf.UserError, match=r"has shape \(.*\) for .*kernel and this network shape"
    ):
        rsf.load(step)
    _edit_card(step, network=card["network"], format=2)
    with pytest.raises(rsf.UserError, match=r"has format 2 and .* up to 1; upgrade"):
        train(small_config(), unfinished)
    with pytest.raises(rsf.UserError, match="has format 2"):
        rsf.load(step)


def test_loading_passes_over_damage(unfinished):
    (unfinished / "checkpoints" / "6" / "_CHECKPOINT_METADATA").unlink()
    with pytest.warns(UserWarning, match="checkpoints/6 is damaged"):
        assert find_checkpoint(unfinished).name == "4"
    with pytest.raises(rsf.UserError, match=r"6 is damaged .*; use another one"):
        find_checkpoint(unfinished / "checkpoints" / "6")
    _truncate_arrays(unfinished / "checkpoints" / "4")
    with pytest.warns(UserWarning), pytest.raises(rsf.UserError, match="4 is damaged"):
        rsf.load(unfinished)


def test_a_folder_in_use_is_refused(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(rsf.UserError, match=f"in use by process {os.getpid()} on"):
            RunLock(tmp_path)
    with RunLock(tmp_path):
        pass


def test_a_dead_process_loses_its_folder(tmp_path):
    code = "import sys, os; from pathlib import Path\nfrom rsfusion_jax.runs.lock import RunLock\n"
    code += "RunLock(Path(sys.argv[1])); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    holder = json.loads((tmp_path / "lock").read_text())
    with pytest.warns(UserWarning, match=f"left by process {holder['pid']} .* taken over"):
        RunLock(tmp_path).close()
    # The number lives, but it is another process by now.
    (tmp_path / "lock").write_text(json.dumps({**holder, "pid": os.getpid()}))
    with pytest.warns(UserWarning, match="taken over"):
        RunLock(tmp_path).close()


def test_a_holder_on_another_host_is_watched(tmp_path, monkeypatch):
    from rsfusion_jax.runs import lock

    holder = {"pid": 1, "host": "elsewhere", "started": None}
    (tmp_path / "lock").write_text(json.dumps(holder))
    with pytest.warns(UserWarning, match="on elsewhere, which is dead"):
        RunLock(tmp_path, silence=0.01).close()
    (tmp_path / "lock").write_text(json.dumps(holder))
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: os.utime(tmp_path / "lock", (1, 1)))
    with pytest.raises(rsf.UserError, match="in use by process 1 on elsewhere"):
        RunLock(tmp_path)


def test_a_full_disk_names_what_was_saved(tmp_path, monkeypatch):
    save = Checkpoints.save

    def full(self, state, *args):
        if int(state.step) == 4:
            raise RuntimeError("writing") from OSError(errno.ENOSPC, "No space left on device")
        save(self, state, *args)

    monkeypatch.setattr(Checkpoints, "save", full)
    sentence = r"disk of .* is full; the last complete checkpoint is .*checkpoints/2: free"
    with pytest.raises(rsf.UserError, match=sentence):
        train(small_config(), tmp_path / "run")


def test_a_run_tells_its_speed_and_traces_some_steps(tmp_path, capsys):
    workdir = train(small_config(), tmp_path / "run", profile=True)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "speed/compile_seconds" in line] == [1]
    for line in lines:
        steps, images = line["speed/steps_per_second"], line["speed/images_per_second"]
        assert steps > 0 and images == pytest.approx(4 * steps)
        assert line["speed/images_per_second_per_device"] == images
        assert 0 < line["speed/data_wait"] < 1
    traces = list((workdir / "tensorboard").glob("plugins/profile/*/*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 0
    assert "trace of some steps: tensorboard --logdir" in capsys.readouterr().out


def test_memory_is_that_of_the_fullest_device(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    def told(*stats):
        monkeypatch.setattr(jax, "local_devices", lambda: [Device(s) for s in stats])
        book = _Notebook()
        log = StepLog(book, lambda step: 0.0, batch_size=8, devices=2)
        log.add(1, {"loss": 1.0, "grad_norm": 1.0})
        log.flush()
        return {key: value for key, value in book.last.items() if key.startswith("memory/")}

    used = [{"bytes_in_use": n << 20, "peak_bytes_in_use": 9 * n << 20} for n in (1, 2)]
    assert told(*used) == {"memory/in_use_mib": 2.0, "memory/peak_mib": 18.0}
    assert told(None, used[0]) == told(None) == {}  # CPUs do not say


class _Notebook:
    def scalars(self, step, values):
        self.last = values


def test_a_spike_is_measured_against_the_usual_loss():
    book = _Notebook()
    steps = StepLog(book, lambda step: 0.0, batch_size=8, devices=4, spike=3.0)
    for step in range(1, 31):
        steps.add(step, {"loss": 1.0 + step % 2, "grad_norm": 1.0})
    assert steps.flush() == "loss 1.50000"
    alone = book.last["speed/images_per_second_per_device"]
    assert 4 * alone == pytest.approx(book.last["speed/images_per_second"])
    steps.add(31, {"loss": 5.0, "grad_norm": 1.0})
    with pytest.raises(BadLossError, match=r"the loss 5 is a spike over 1.5 at step 31"):
        steps.flush()
    steps.add(31, {"loss": 1.0, "grad_norm": np.inf})
    with pytest.raises(BadLossError, match="gradient is not finite at step 31"):
        steps.flush()


def test_a_bad_loss_sends_the_run_back(tmp_path, monkeypatch):
    """One poisoned batch: the run returns to its checkpoint and continues with other data."""
    poisoned = []

    def poison(mesh, batch, put=loop.sharding.put_batch):
        poisoned.append(None)
        if len(poisoned) == 4:
            batch = {**batch, "gt": batch["gt"] * np.nan}
        return put(mesh, batch)

    monkeypatch.setattr(loop.sharding, "put_batch", poison)
    with pytest.warns(UserWarning, match=r"not finite at step 4; the run goes back to .*/2 "):
        train(small_config(on_bad_loss="rollback"), tmp_path / "run")
    assert len(poisoned) == 8
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line for line in lines if "guard/went_back_from" in line] == [
        {"step": 2, "guard/went_back_from": 4.0}
    ]
    assert all(np.isfinite(leaf).all() for leaf in _leaves(tmp_path / "run"))


def test_going_back_has_an_end(tmp_path, monkeypatch):
    def always(mesh, batch, put=loop.sharding.put_batch):
        return put(mesh, {**batch, "gt": batch["gt"] * np.nan})

    train(small_config(), tmp_path / "run")
    (tmp_path / "run" / "finished.json").unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    stored["train"].update(on_bad_loss="rollback", max_rollbacks=2)
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored))
    monkeypatch.setattr(loop.sharding, "put_batch", always)
    config = small_config(on_bad_loss="rollback", max_rollbacks=2)
    with pytest.warns(UserWarning), pytest.raises(rsf.UserError, match="after 2 rollbacks"):
        train(config, tmp_path / "run")
