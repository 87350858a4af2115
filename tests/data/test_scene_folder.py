"""A folder of scenes of different sizes as one set."""

import h5py
import numpy as np
import pytest
import scipy.io

import rsfusion_jax as rsf
from rsfusion_jax.data.pipeline import eval_batches
from rsfusion_jax.data.stored.scene_folder import is_scene_folder, open_scenes
from rsfusion_jax.evaluation import evaluate as module


def _scene(height, width, bands=4, seed=0):
    rng = np.random.default_rng(seed)
    gt = rng.integers(150, 1900, (4 * height, 4 * width, bands)).astype(np.uint16)
    return {"gt": gt, "ms": gt[2::4, 2::4], "pan": gt[..., 0]}


@pytest.fixture
def folder(tmp_path):
    scipy.io.savemat(tmp_path / "scene_10.mat", _scene(5, 9, seed=10))
    scipy.io.savemat(tmp_path / "scene_2.mat", _scene(8, 6, seed=2))
    stack = [_scene(7, 7, seed=seed) for seed in (3, 4)]
    with h5py.File(tmp_path / "scene_3.h5", "w") as file:
        for key in ("gt", "ms", "pan"):
            images = np.stack([scene[key] for scene in stack])
            file[key] = images[:, None] if key == "pan" else images.transpose(0, 3, 1, 2)
    (tmp_path / "notes.txt").write_text("not a scene")
    return tmp_path


def test_scenes_follow_the_numbers_in_their_names(folder):
    assert is_scene_folder(folder)
    source = open_scenes(folder, sensor="qb")
    expected = [
        _scene(8, 6, seed=2),
        *(_scene(7, 7, seed=s) for s in (3, 4)),
        _scene(5, 9, seed=10),
    ]
    assert len(source) == 4 and source.info.name == folder.name
    for index, scene in enumerate(expected):
        np.testing.assert_allclose(source[index]["gt"], scene["gt"] / 2047, rtol=1e-6)
    with pytest.raises(IndexError):
        source[4]
    sizes = [(mask.sum(), batch["pan"].shape[1:3]) for batch, mask, _ in eval_batches(source, 2)]
    assert sizes == [(1, (32, 24)), (2, (28, 28)), (1, (20, 36))]


def test_another_kind_of_scene_is_named(folder):
    with h5py.File(folder / "scene_4.h5", "w") as file:
        file["ms"], file["pan"] = np.full((2, 4, 6, 6), 900), np.full((2, 1, 24, 24), 900)
        file.attrs["max_value"] = 2047.0
    with pytest.raises(rsf.UserError, match=r"scene_4\.h5 has has_gt=False where scene_2\.mat has"):
        open_scenes(folder, sensor="qb")


def test_evaluate_takes_such_a_folder(folder, tmp_path, monkeypatch):
    sources = []
    monkeypatch.setattr(module, "leaderboard", lambda _, source, *a, **o: sources.append(source))
    options = {"max_value": None, "ratio": None, "batch_size": 2, "out": str(tmp_path / "out")}
    module.evaluate(workdir=None, methods=["exp"], data=str(folder), sensor="qb", **options)
    assert len(sources[0]) == 4
