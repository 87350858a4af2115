"""Resume where the same data lies elsewhere, and continue a finished run with more steps."""

import json
import shutil

import h5py
import numpy as np
import pytest
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.data.identity import set_identity
from rsfusion_jax.data.stored.convert import convert_set
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.runs.folder import finished_step, mark_finished, open_run_folder
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.loop import train


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One set in three forms, and a set with one other pixel."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(8)
    gt = rng.integers(100, 1900, (6, 4, 16, 16)).astype(np.uint16)
    arrays = {"gt": gt, "ms": gt[:, :, 2::4, 2::4], "pan": gt[:, :1]}
    with h5py.File(folder / "a.h5", "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip")
    shutil.copy(folder / "a.h5", folder / "copy.h5")
    convert_set(folder / "a.h5", folder / "fast.h5")
    shutil.copy(folder / "a.h5", folder / "other.h5")
    with h5py.File(folder / "other.h5", "r+") as file:
        file["gt"][3, 2, 7, 9] += 1
    return folder


def _config(files, name, **options):
    config = tiny_config()
    with config.unlocked():
        config.model = type(config)({"name": "pnn"})
    config.data.update(train=str(files / name), valid="", test="", patch_size=8, sensor="qb")
    config.train.update(batch_size=2, steps=3, log_every=1, checkpoint_every=2)
    config.train.update(options)
    return config


def _losses(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["train/loss"] for line in lines}


def test_a_run_goes_on_with_its_set_elsewhere_and_for_longer(files, tmp_path, capsys):
    run = train(_config(files, "a.h5"), tmp_path / "run")
    whole = _losses(run)
    (run / "finished.json").unlink()
    shutil.rmtree(run / "checkpoints" / "3")
    with pytest.raises(rsf.UserError, match=r"other\.h5 does not hold the images that the run in"):
        train(_config(files, "other.h5"), run)
    capsys.readouterr()
    train(_config(files, "fast.h5"), run)
    assert "resuming at step 2 of 3 steps on fast.h5" in capsys.readouterr().out
    assert _losses(run) == whole

    with pytest.raises(rsf.UserError, match="ended at step 3, this config asks for 2"):
        train(_config(files, "a.h5", steps=2), run)
    train(_config(files, "copy.h5", steps=5), run)
    assert "resuming at step 3 of 5" in capsys.readouterr().out
    losses = _losses(run)
    assert sorted(losses) == [1, 2, 3, 4, 5] and {k: losses[k] for k in whole} == whole
    train(_config(files, "copy.h5", steps=5), run)
    assert "training finished at step 5" in capsys.readouterr().out


def test_the_identity_of_a_set_is_its_content(files):
    a, copy, fast, other = (
        set_identity(open_set(files / f"{name}.h5", sensor="qb"))
        for name in ("a", "copy", "fast", "other")
    )
    assert a == copy == fast != other
    assert a != set_identity(open_set(files / "a.h5", sensor="qb", max_value=4095))


def test_a_continued_run_is_not_finished_wherever_it_was_killed(tmp_path):
    config, run = default_config(), tmp_path / "run"
    config.train.update(steps=9, epochs=0)
    sets = {"train": "1", "valid": None, "test": None}
    open_run_folder(run, config, default_config(), sets, 9)
    mark_finished(run, 9)
    assert finished_step(run, config, default_config()) == 9
    longer = config.copy_and_resolve_references()
    longer.train.steps = 14
    assert finished_step(run, longer, default_config()) is None
    mark_finished(run, 9, continued=True)  # killed before the config was written
    open_run_folder(run, longer, default_config(), sets, 14)
    assert json.loads((run / "config.json").read_text())["train"]["steps"] == 14
    assert finished_step(run, longer, default_config()) is None
    mark_finished(run, 14)
    assert finished_step(run, longer, default_config()) == 14
    longer.optim.learning_rate = 0.5
    with pytest.raises(rsf.UserError, match=r"optim\.learning_rate"):
        finished_step(run, longer, default_config())


def test_folders_of_earlier_versions(tmp_path):
    """They do not say what their sets held: the same paths are resumed, others are refused."""
    config, run = default_config(), tmp_path / "run"
    config.data.update(train="a.h5", valid="b.h5", test="")
    open_run_folder(run, config, default_config())
    moved = config.copy_and_resolve_references()
    moved.data.valid, moved.data.workers = "c.h5", 3
    sets = {"train": "1", "valid": "2", "test": None}
    with pytest.raises(rsf.UserError, match=r"data\.valid: 'b\.h5' there, 'c\.h5' now"):
        open_run_folder(run, moved, default_config(), sets)
    open_run_folder(run, config, default_config(), sets)  # from here on the folder knows
    open_run_folder(run, moved, default_config(), sets)
    with pytest.raises(rsf.UserError, match=r"data\.train=a\.h5 does not hold the images"):
        open_run_folder(run, moved, default_config(), sets | {"train": "3"})
    moved.data.test = "d.h5"
    with pytest.raises(rsf.UserError, match=r"data\.test: '' there, 'd\.h5' now"):
        open_run_folder(run, moved, default_config(), sets | {"test": "4"})
