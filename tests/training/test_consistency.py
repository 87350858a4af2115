"""Learning at full resolution: the loss without a truth, and adaptation by it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage

import rsfusion_jax as rsf
from rsfusion_jax.adaptation.recipe import recipe
from rsfusion_jax.adaptation.run import Wish
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.augment import random_crop
from rsfusion_jax.errors import UserError
from rsfusion_jax.metrics.reprojection import reprojected
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.ops.resample import decimate
from rsfusion_jax.runs.folder import open_run_folder
from rsfusion_jax.scenes.degraded.windows import make_windows
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.sensors import get_sensor
from rsfusion_jax.training.consistency import SPATIAL, enlarged, inconsistency
from rsfusion_jax.training.objectives import make_objective

CAMERA = get_sensor({"bands": 3, "mtf_ms": 0.3, "ratio": 4})
NARROW = {"name": "bandwise", "width": 4, "blocks": 1}


def truth(side=96, seed=0):
    """Textures (1, side, side, 4): PAN and three bands that follow it, in [0, 1]."""
    fine = np.random.default_rng(seed).standard_normal((side, side, 4))
    fine = scipy.ndimage.gaussian_filter(fine, (1.0, 1.0, 0))
    fine = 0.4 + 0.1 * (fine[..., :1] + 0.05 * fine[..., 1:]) / fine.std()
    pan = fine.mean(-1, keepdims=True)
    return pan[None].astype(np.float32), fine[None, ..., :3].astype(np.float32)


def counts(side=64):
    """PAN and MS of a scene whose corners coincide, counts."""
    pan, bands = truth(4 * side)
    ms = reprojected(jnp.asarray(bands), CAMERA, 4, 1.5)
    return [np.rint(2047 * np.asarray(image[0])).astype(np.uint16) for image in (pan, ms)]


def test_consistent_image_has_no_loss_and_others_have():
    pan, bands = truth()
    ms = np.asarray(reprojected(bands, CAMERA, 4, 1.5))
    lms = enlarged(ms, 4)
    found = {
        name: [float(term) for term in inconsistency(image, pan, ms, lms, CAMERA)]
        for name, image in {
            "truth": bands,
            "exp": lms,
            "brighter": 1.1 * bands,
            "pan": 0.4 + 2 * (np.repeat(pan, 3, axis=-1) - 0.4),
        }.items()
    }
    assert found["truth"][0] < 1e-6 and found["truth"][1] < 5e-3
    assert found["exp"][1] > 0.2
    assert found["brighter"][0] == pytest.approx(0.1, abs=0.01) and found["brighter"][1] < 5e-3
    assert found["pan"][0] > 0.02 and found["pan"][1] < 5e-3


def test_network_is_given_what_fusing_gives_it():
    """MS read where the Fuser's phase puts it: band-limited, and MS itself for odd ratios."""
    rows = np.arange(24.0)[:, None, None]
    ms = np.broadcast_to(np.sin(2 * np.pi * rows / 8), (24, 24, 1))
    lms = enlarged(ms, 4)
    places = (np.arange(96.0) - 1.5) / 4
    inside = slice(32, 64)
    assert np.abs(lms[inside, 48, 0] - np.sin(2 * np.pi * places[inside] / 8)).max() < 1e-3
    np.testing.assert_allclose(decimate(enlarged(ms, 3), 3), ms, atol=1e-12)


def test_loss_falls_and_its_gradient_is_finite_on_flat_ground():
    """From EXP, with a part of the image constant and a part of it zero."""
    pan, bands = (image.copy() for image in truth(64))
    pan[:, :28], bands[:, :28] = 0.3, 0.2
    pan[:, 28:, :28], bands[:, 28:, :28] = 0, 0
    ms = jnp.asarray(reprojected(bands, CAMERA, 4, 1.5))
    lms = enlarged(ms, 4)

    @jax.jit
    def loss(fused):
        reprojection, spatial = inconsistency(fused, pan, ms, lms, CAMERA)
        return reprojection + SPATIAL * spatial

    optimizer = optax.adam(1e-3)
    fused, state, losses = lms, optimizer.init(lms), []
    for _ in range(6):
        value, gradient = jax.value_and_grad(loss)(fused)
        losses.append(float(value))
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
        updates, state = optimizer.update(gradient, state)
        fused = optax.apply_updates(fused, updates)
    assert losses[-1] < 0.9 * losses[0]


def test_windows_keep_pan_beside_their_truth():
    pan, ms = counts()
    valid = np.ones(ms.shape[:2], bool)
    valid[:5] = False
    scene, _ = array_scene(pan, ms, 1.5, valid)
    given = scene, CAMERA, (2047.0, 2047.0), "as_ms", False, 0
    assert all("pan_full" not in window.sample for window in make_windows(*given)[0])
    windows, _ = make_windows(*given, full_resolution=True)
    for window in windows:
        assert window.row >= 5
        area = np.s_[4 * window.row :, 4 * window.column :]
        np.testing.assert_array_equal(
            window.sample["pan_full"], (pan / np.float32(2047))[area][:128, :128]
        )
    crop = random_crop(windows[0].sample, np.random.default_rng(0), 8, 4)
    assert crop["pan_full"].shape == (32, 32, 1)
    low = crop["pan_full"].reshape(8, 4, 8, 4).mean((1, 3))
    assert np.corrcoef(low.ravel(), crop["gt"].mean(-1).ravel())[0, 1] > 0.9


WISH = {"network": {"name": "pnn"}, "steps": 1, "full_resolution": 0.5, "fine_tune": 2}


def adapted(side, folder, **wish):
    pan, ms = counts(side)
    given = {"sensor": CAMERA, "max_value": 2047.0, "ms_phase": 1.5, "quiet": True}
    fuser = rsf.adapt(pan, ms, keep=folder, **given, **(WISH | wish))
    return fuser, json.loads((folder / "adaptation.json").read_text())


def test_options_reach_the_training_and_are_recorded(tmp_path):
    kept = tmp_path / "kept"
    fuser, record = adapted(64, kept, held_out=False)
    assert (record["full_resolution"], record["fine_tune"]) == (0.5, 2)
    first, last = (json.loads((run / "config.json").read_text()) for run in (kept / "start", kept))
    assert (first["train"]["objective"], first["train"]["full_resolution"]) == ("supervised", 0.5)
    assert (last["train"]["objective"], last["train"]["steps"]) == ("full_resolution", 2)
    assert last["init_from"] == str(kept / "start")
    assert "train/reprojection" in (kept / "start" / "metrics.jsonl").read_text()
    begun, tuned, loaded = (
        jax.tree.leaves(f.variables) for f in (rsf.load(kept / "start"), fuser, rsf.load(kept))
    )
    assert any((a != b).any() for a, b in zip(begun, tuned, strict=True))
    for a, b in zip(tuned, loaded, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_held_out_windows_are_scored_at_both_resolutions(tmp_path, monkeypatch):
    monkeypatch.setattr("rsfusion_jax.adaptation.verdict.RIVALS", ())
    _, record = adapted(112, tmp_path / "kept", network=NARROW)
    scores, finer = record["held_out_scores"], record["held_out_full_resolution"]
    assert scores["before_tuning"]["ERGAS"] != scores["network"]["ERGAS"]
    assert finer["before"]["R-ERGAS"] != finer["network"]["R-ERGAS"]
    assert finer["exp"]["D_rho"] > finer["network"]["D_rho"]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"full_resolution": -1.0}, "full_resolution=-1.0 is no weight"),
        ({"full_resolution": float("nan")}, "is no weight"),
        ({"full_resolution": float("inf")}, "is no weight"),
        ({"fine_tune": -5}, "fine_tune=-5 is no number of steps"),
        ({"fine_tune": 2.5}, "is no number of steps"),
        ({"fine_tune": float("inf")}, "is no number of steps"),
    ],
)
def test_values_that_mean_nothing(wish, sentence):
    with pytest.raises(UserError, match=sentence):
        Wish(**wish)


def test_refusals(capsys):
    pan, ms = counts(32)
    with pytest.raises(UserError, match="PAN has 2 bands"):
        rsf.adapt(np.concatenate([pan, pan], -1), ms, fine_tune=1, quiet=True)
    objective = make_objective("supervised", "l1", full_resolution_weight=1.0, sensor=CAMERA)
    model = create_model(**NARROW, num_bands=3, guide_bands=1, ratio=4)
    shapes = {"pan": (1, 8, 8, 1), "ms": (1, 2, 2, 3), "lms": (1, 8, 8, 3), "gt": (1, 8, 8, 3)}
    batch = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    params = init_params(model, jax.random.key(0))
    with pytest.raises(UserError, match="needs PAN at full resolution"):
        jax.eval_shape(lambda p: objective(model, p, batch, jax.random.key(0)), params)
    with pytest.raises(SystemExit):
        run(["fuse", "pan.tif", "ms.tif", "out.tif", "--fine-tune=5"])
    assert "belong to --adapt" in capsys.readouterr().err


def test_runs_go_on_although_configs_got_fields_that_are_off(tmp_path):
    config = recipe("pnn", scene="x", steps=1, ratio=4, init="", seed=0)
    older = config.copy_and_resolve_references()
    del older.train.full_resolution
    open_run_folder(tmp_path / "run", older)
    open_run_folder(tmp_path / "run", config)
    config.train.full_resolution = 1.0
    with pytest.raises(UserError, match=r"full_resolution: None there, 1\.0 now"):
        open_run_folder(tmp_path / "run", config)
