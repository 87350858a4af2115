"""Training: one step, many devices, interruptions, run folders and what a run leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import config_flags  # noqa: F401  (the config files need absl set up)
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from configs import fusionnet
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.ignored import NEEDS
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.objectives import supervised
from rsfusion_jax.training.step import make_train_step

ROOT = Path(__file__).resolve().parents[2]


def _flags(config, workdir):
    """The command-line form of `tiny_config`, without what changes nothing."""
    yield f"--config={ROOT / 'configs' / 'fusionnet.py'}:synthetic"
    yield f"--workdir={workdir}"
    fields, plain = (
        flax.traverse_util.flatten_dict(one.to_dict(), sep=".")
        for one in (config, fusionnet.get_config("synthetic"))
    )
    for path, value in fields.items():
        if value != plain[path] and (path not in NEEDS or NEEDS[path].met(config)):
            yield f"--config.{path}={value}"


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    return train(_finished_config(), workdir)


def _finished_config():
    config = tiny_config()
    config.train.log_features = "conv3"
    return config


def _params(workdir, step):
    return _leaves(rsf.load(workdir / "checkpoints" / str(step)).variables)


def _leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_a_run_leaves_what_users_look_for(finished_run):
    report = json.loads((finished_run / "report.json").read_text())
    assert list(report["methods"]) == ["EXP", "BROVEY", "FusionNet"]
    assert report["protocol"]["images"] == 2
    lines = [json.loads(line) for line in (finished_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/loss" in line] == [2, 3, 4, 6]
    assert [line["step"] for line in lines if "valid/ERGAS" in line] == [3, 6]
    for name in ("panel_fusionnet.png", "panel_exp.png", "config.json", "tensorboard", "best"):
        assert (finished_run / name).exists()
    assert rsf.load(finished_run).max_value == rsf.get_sensor("wv3").max_value
    events = b"".join(path.read_bytes() for path in (finished_run / "tensorboard").iterdir())
    assert events.count(b"features/conv3") == events.count(b"valid/fused") == 2


def test_a_finished_run_says_so(finished_run, capsys):
    before = (finished_run / "metrics.jsonl").read_bytes()
    train(_finished_config(), finished_run)
    assert "finished at step 6" in capsys.readouterr().out
    assert (finished_run / "metrics.jsonl").read_bytes() == before


def test_another_config_is_refused(finished_run):
    config = tiny_config()
    config.optim.learning_rate = 0.5
    with pytest.raises(rsf.UserError, match=r"optim.learning_rate: 0.0003 there, 0.5 now"):
        train(config, finished_run)


def test_fine_tuning_starts_from_given_weights(finished_run, tmp_path):
    config = tiny_config()
    config.init_from = str(finished_run)
    config.optim.learning_rate = 0.0
    config.data.test = ""
    config.train.update(steps=2, checkpoint_every=2, ema_decay=0.5)
    train(config, tmp_path / "tuned")
    for start, end in zip(
        _leaves(rsf.load(finished_run).variables), _params(tmp_path / "tuned", 2), strict=True
    ):
        assert np.array_equal(start, end)
    config.data.synthetic.guide = "rgb"
    with pytest.raises(rsf.UserError, match=r"guide_bands=1, this run builds .* guide_bands=3"):
        train(config, tmp_path / "other")


def test_non_finite_loss_names_step_and_checkpoint(tmp_path):
    config = tiny_config()
    config.optim.learning_rate = 1e30
    config.optim.warmup_steps = 4
    config.optim.schedule = "constant"
    config.train.update(steps=8, checkpoint_every=1, eval_every=100, log_every=1)
    config.data.valid = ""
    with pytest.raises(rsf.UserError, match=r"not finite at step \d+.*checkpoints/\d+") as caught:
        train(config, tmp_path / "nan")
    named = str(caught.value).split("checkpoint is ")[1].split(";")[0]
    assert all(np.isfinite(leaf).all() for leaf in _leaves(rsf.load(named).variables))


@jax.default_matmul_precision("highest")
def _losses(devices, fsdp, dtype=np.float32, nudge=0.0):
    """Loss of 20 steps on one batch, from the same seed; `nudge` scales the first parameters."""
    model = create_model("fusionnet", num_bands=4)
    optimizer = optax.adam(1e-3)
    step = make_train_step(model, supervised("l1"), optimizer)
    rng = np.random.default_rng(0)
    shapes = {"pan": (8, 16, 16, 1), "ms": (8, 4, 4, 4), "gt": (8, 16, 16, 4)}
    batch = {key: rng.random(shape, np.float32).astype(dtype) for key, shape in shapes.items()}
    batch["lms"] = batch["gt"]
    mesh = sharding.make_mesh(devices, fsdp)
    with jax.set_mesh(mesh):
        params = init_params(model, jax.random.key(0))
        params = jax.tree.map(lambda p: (p * (1 + nudge)).astype(dtype), params)
        state = create_state(params, optimizer, jax.random.key(0), ema=False)
        placed = sharding.state_shardings(mesh, state)
        state = jax.device_put(state, placed)
        fn = jax.jit(step, donate_argnums=0, out_shardings=(placed, sharding.replicated(mesh)))
        values = []
        for _ in range(20):
            state, metrics = fn(state, sharding.put_batch(mesh, batch))
            values.append(float(metrics["loss"]))
    return np.array(values)


def test_one_device_equals_eight_to_rounding():
    """Adam amplifies rounding from step to step, so the scale is what one rounding error does.

    Over 20 steps eight devices differ from one by rounding, or by a few times what one device
    differs from itself when its first parameters move by one unit in the last place.
    """
    one, eight = _losses(1, 1), _losses(8, 1)
    assert one[-1] < one[0]
    assert np.abs(eight / one - 1)[:5].max() < 1e-6
    rounding = np.abs(_losses(1, 1, nudge=2**-23) / one - 1).max()
    assert np.abs(eight / one - 1).max() <= max(1e-6, 5 * rounding)


@pytest.mark.slow
def test_sharded_parameters_equal_one_device_in_float64():
    """Without rounding there is no difference left: it is the same computation."""
    with jax.enable_x64(True):
        one, eight = _losses(1, 1, np.float64), _losses(8, 4, np.float64)
    assert np.abs(eight / one - 1).max() < 1e-9


@jax.default_matmul_precision("highest")
def test_accumulation_equals_one_large_batch():
    model = create_model("fusionnet", num_bands=2)
    optimizer = optax.sgd(1.0)
    rng = np.random.default_rng(0)
    shapes = {"pan": (4, 16, 16, 1), "ms": (4, 4, 4, 2), "lms": (4, 16, 16, 2)}
    batch = {key: jnp.asarray(rng.random(shape, np.float32)) for key, shape in shapes.items()}
    batch["gt"] = batch["lms"] / 2
    params = init_params(model, jax.random.key(0))
    results = []
    for accumulate in (1, 2):
        step = make_train_step(
            model, supervised("mse"), optimizer, accumulate=accumulate, ema_decay=lambda step: 0.9
        )
        state = create_state(params, optimizer, jax.random.key(0), ema=True)
        results.append(jax.jit(step)(state, batch))
    (state, metrics), (split_state, split_metrics) = results
    assert abs(metrics["loss"] - split_metrics["loss"]) < 1e-6
    for p, q in zip(_leaves(state.params), _leaves(split_state.params), strict=True):
        assert np.abs(p - q).max() < 1e-5
    for old, new, ema in zip(
        _leaves(params), _leaves(state.params), _leaves(state.ema), strict=True
    ):
        assert np.allclose(ema, 0.9 * old + 0.1 * new, atol=1e-6)


def test_killed_run_resumes_bit_for_bit(tmp_path):
    """N steps, kill -9, and the rest: the same parameters and data order as without the kill."""
    config = tiny_config()
    config.data.valid = config.data.test = ""
    config.train.update(steps=30, checkpoint_every=2, log_every=1)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}

    def start(workdir):
        command = [sys.executable, str(ROOT / "train.py"), *_flags(config, workdir)]
        return subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE)

    with start(tmp_path / "whole") as whole:
        assert whole.wait(300) == 0, whole.stderr.read().decode()
    with start(tmp_path / "killed") as killed:
        metrics = tmp_path / "killed" / "metrics.jsonl"
        while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 5):
            assert killed.poll() is None, killed.stderr.read().decode()
            time.sleep(0.002)
        killed.send_signal(signal.SIGKILL)
    folder = tmp_path / "killed" / "checkpoints"
    saved = [int(path.name) for path in folder.iterdir() if path.name.isdigit()]
    assert saved and max(saved) < 30
    with start(tmp_path / "killed") as resumed:
        assert resumed.wait(300) == 0, resumed.stderr.read().decode()

    for a, b in zip(_params(tmp_path / "whole", 30), _params(tmp_path / "killed", 30), strict=True):
        assert np.array_equal(a, b)
    losses = []
    for name in ("whole", "killed"):
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        losses.append([(line["step"], line["train/loss"]) for line in lines])
    assert losses[0] == losses[1] and len(losses[0]) == 30


def test_bfloat16_keeps_float32_parameters():
    model = create_model("fusionnet", num_bands=2, dtype=jnp.bfloat16)
    optimizer = optax.adam(1e-3)
    batch = {"pan": jnp.ones((2, 16, 16, 1)), "ms": jnp.ones((2, 4, 4, 2))}
    batch["gt"] = batch["lms"] = jnp.full((2, 16, 16, 2), 0.5)
    params = init_params(model, jax.random.key(0))
    assert model.apply({"params": params}, **_inputs(batch))["fused"].dtype == jnp.bfloat16
    step = jax.jit(make_train_step(model, supervised("l1"), optimizer))
    state = create_state(params, optimizer, jax.random.key(0), ema=False)
    first = None
    for _ in range(5):
        state, metrics = step(state, batch)
        first = metrics["loss"] if first is None else first
    assert metrics["loss"].dtype == jnp.float32 and metrics["loss"] < first
    assert all(leaf.dtype == np.float32 for leaf in _leaves(state.params))


def _inputs(batch):
    return {key: batch[key] for key in ("pan", "ms", "lms")}


def test_fine_tuning_from_the_authors_file(finished_run, tmp_path):
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card
    from rsfusion_jax.training.start import initial_params

    fuser = rsf.load(finished_run)
    rsf.save_torch(fuser, tmp_path / "w.pth")
    card = read_card(find_checkpoint(finished_run))
    params = initial_params(str(tmp_path / "w.pth"), fuser.model, card)
    for mine, theirs in zip(_leaves(params), _leaves(fuser.variables), strict=True):
        assert np.array_equal(mine, theirs)
