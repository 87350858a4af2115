"""wandb and MLflow by stand-ins: what a run sends them, and what happens when they fail."""

import json
import sys
import types

import numpy as np
import pytest
from tiny_runs import tiny_config

from rsfusion_jax.errors import UserError
from rsfusion_jax.training import trackers
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.writers import RunLog

PICTURE = np.zeros((4, 4, 3), np.uint8)
CONFIG = {"name": "tiny", "train": {f"field{index}": index for index in range(120)}}


@pytest.fixture
def calls(monkeypatch):
    """Installs stand-ins for both packages; yields the list of calls that they get."""
    made = []

    def note(name, result=None):
        def call(*args, **options):
            made.append((name, args, options))
            return result

        return call

    run = types.SimpleNamespace(
        id="w1", define_metric=note("define"), log=note("log"), finish=note("finish")
    )
    wandb = types.SimpleNamespace(init=note("init", run), Image=lambda picture: "picture")
    info = types.SimpleNamespace(info=types.SimpleNamespace(run_id="m1"))
    names = ("set_experiment", "log_params", "log_metrics", "log_image", "end_run")
    mlflow = types.SimpleNamespace(
        start_run=note("start_run", info), **{name: note(name) for name in names}
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return made


def of(calls, name):
    return [(args, options) for called, args, options in calls if called == name]


def write(workdir, names, first_step=0):
    log = RunLog(workdir, first_step, names, CONFIG)
    log.scalars(first_step + 1, {"train/loss": np.float32(0.5)})
    log.image(first_step + 1, "valid/fused", PICTURE)
    log.close()


def test_wandb_gets_all_and_a_resumed_run_goes_on(tmp_path, calls):
    write(tmp_path, ("wandb",))
    ((_, options),) = of(calls, "init")
    assert options["id"] is None and options["name"] == "tiny" and options["config"] == CONFIG
    assert of(calls, "define") == [(("*",), {"step_metric": "step"})]
    sent = [args[0] for args, _ in of(calls, "log")]
    assert sent == [{"step": 1, "train/loss": 0.5}, {"step": 1, "valid/fused": "picture"}]
    assert len(of(calls, "finish")) == 1 and not (tmp_path / "tensorboard").exists()
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "train/loss": 0.5}
    write(tmp_path, ("wandb",), first_step=1)
    assert of(calls, "init")[1][1]["id"] == "w1" and of(calls, "init")[1][1]["resume"] == "allow"


def test_mlflow_gets_all_and_a_resumed_run_goes_on(tmp_path, calls):
    write(tmp_path, ("tensorboard", "mlflow", "mlflow"))
    assert of(calls, "start_run") == [((), {"run_id": None, "run_name": "tiny"})]
    params = [args[0] for args, _ in of(calls, "log_params")]
    assert [len(part) for part in params] == [100, 21] and params[0]["train.field7"] == "7"
    assert of(calls, "log_metrics") == [(({"train/loss": 0.5},), {"step": 1})]
    ((args, options),) = of(calls, "log_image")
    assert args[0] is PICTURE and options == {"artifact_file": "valid/fused/1.png"}
    assert len(of(calls, "end_run")) == 1 and any((tmp_path / "tensorboard").iterdir())
    write(tmp_path, ("mlflow", "wandb"), first_step=1)
    assert of(calls, "start_run")[1][1]["run_id"] == "m1" and len(of(calls, "log_params")) == 2
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"mlflow": "m1", "wandb": "w1"}


def test_a_tracker_that_fails_is_left_out(tmp_path, calls, monkeypatch):
    def fails(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(sys.modules["mlflow"], "log_metrics", fails)
    with pytest.warns(UserWarning, match=r"mlflow fails .*no network.*goes on without it"):
        write(tmp_path, ("mlflow",))
    assert (tmp_path / "metrics.jsonl").read_text() and not of(calls, "log_image")
    monkeypatch.setattr(sys.modules["wandb"], "init", fails)
    with pytest.raises(UserError, match=r"wandb cannot be started .*no network"):
        RunLog(tmp_path, 0, ("mlflow", "wandb"), CONFIG)
    assert len(of(calls, "end_run")) == 1


def test_a_package_that_is_missing_is_said_first(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    config = tiny_config()
    config.train.trackers = ("wandb",)
    with pytest.raises(UserError, match="'wandb' needs the package wandb, which is not installed"):
        train(config, tmp_path / "run")
    config.train.trackers = ("comet",)
    with pytest.raises(UserError, match=r"train.trackers=.*of each entry 'tensorboard' or 'wandb'"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
