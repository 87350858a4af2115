"""Adaptation to one scene: windows, hold-out, gains, and the command from file to file."""

import json

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adaptation_scenes import CAMERA, STUDENT, scene
from scene_files import field, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.adaptation import verdict
from rsfusion_jax.adaptation.budget import parse_budget, steps_within
from rsfusion_jax.adaptation.recipe import recipe
from rsfusion_jax.adaptation.run import Wish, start
from rsfusion_jax.adaptation.verdict import Verdict
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.simulation.areas import GAP
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.default import default_params
from rsfusion_jax.runs.folder import open_run_folder
from rsfusion_jax.scenes.degraded.camera import estimate_gain
from rsfusion_jax.scenes.degraded.windows import make_windows
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.pair.parts import read_part
from rsfusion_jax.training.config import default_config

NARROW = {"name": "bandwise", "width": 8}


def windows(pan, ms, held_out=True, valid=None, max_value=2047.0):
    made, _ = array_scene(pan, ms, 1.5, valid)
    return make_windows(made, CAMERA, (max_value, max_value), "imresize", held_out, 0)


def test_windows_are_parts_of_the_degraded_scene():
    pan, ms = scene(160, 128)
    whole = rsf.data.simulate(pan.astype(np.float32), ms.astype(np.float32), sensor=CAMERA)
    for window in windows(pan, ms, held_out=False)[0]:
        side = window.sample["gt"].shape[0]
        assert side == 64
        for key, image in window.sample.items():
            step = 4 if key == "ms" else 1
            top, left, size = window.row // step, window.column // step, side // step
            part = whole[key][top : top + size, left : left + size] / 2047
            assert np.abs(image - part).max() < 2e-3  # the filters' tails beyond the margin


def test_held_out_windows_lie_apart_and_masked_pixels_are_never_seen():
    pan, ms = scene(160, 192)
    valid = np.ones(ms.shape[:2], bool)
    valid[60:100, 90:120] = False
    hidden = [image.copy() for image in (pan, ms)]
    hidden[1][~valid] = 2040
    train, judge = windows(*hidden, valid=valid)
    assert judge and len(train) >= 4 and not all(one.is_complete for one in train)
    for one in [*train, *judge]:
        side = one.sample["gt"].shape[0]
        assert one.sample["gt"].max() < 2039 / 2047  # holes are filled
        inside = valid[one.row : one.row + side, one.column : one.column + side]
        assert not (one.sample["valid"][..., 0] > inside).any()
        assert one.is_complete == inside.all()
    assert all(one.is_complete for one in judge)
    for one in train:
        side = one.sample["gt"].shape[0]
        for other in judge:
            apart = max(abs(one.row - other.row), abs(one.column - other.column)) - side
            assert apart >= GAP


def test_scene_of_the_fields_phase_is_read_at_the_centres():
    rows, columns = np.arange(320.0), np.arange(320.0)
    pan = field(rows, columns, 1)
    ms = field(rows[2::4], columns[2::4])
    made, ratio = array_scene(pan, ms, None)
    part, valid = read_part(made, [64, 64], [128, 128])
    truth = field(rows[64:192:4] + 1.5, columns[64:192:4] + 1.5)
    assert ratio == 4 and valid.all() and np.abs(part.ms - truth).max() < 1


@pytest.mark.parametrize("gain", [0.2, 0.4])
def test_gain_is_measured_against_pan(gain):
    pan, ms = scene(96, 96, gain=gain)
    assert abs(estimate_gain(array_scene(pan, ms, 1.5)[0], 4) - gain) < 0.03
    flat = np.full_like(ms, 500)
    assert estimate_gain(array_scene(pan, flat, 1.5)[0], 4) is None


def test_full_scale_holds_the_brightest_value():
    assert full_scale_from_values([np.array([3, 241], np.uint8), np.array([7], np.uint8)]) == 255
    assert full_scale_from_values([np.array([1500], np.uint16)]) == 2047
    assert full_scale_from_values([np.array([900.0])], bits=11) == 2047
    assert full_scale_from_values([np.array([118.25]), np.array([3.0])]) == 128
    assert full_scale_from_values([np.array([0.7, 0.2])]) == 1


def test_budgets():
    assert parse_budget("60s") == {"seconds": 60}
    assert parse_budget("2m") == {"seconds": 120}
    assert parse_budget("1000") == {"steps": 1000} and parse_budget("auto") == {}
    for wrong in ("fast", "0", "-3s", "s", "1e3"):
        with pytest.raises(UserError, match="neither seconds"):
            parse_budget(wrong)


def test_recipe_has_the_fields_of_a_run():
    config = recipe("dicnn", scene="x", steps=10, ratio=4, init="", seed=0)
    fields, usual = (
        {name for name in flax.traverse_util.flatten_dict(tree.to_dict()) if name[0] != "model"}
        for tree in (config, default_config())
    )
    assert fields == usual


def test_kept_runs_of_older_versions_can_be_resumed(tmp_path):
    """Their configs had only the fields that an adaptation uses; the others had their defaults."""
    config = recipe("dicnn", scene="x", steps=10, ratio=4, init="", seed=0)
    older = config.copy_and_resolve_references()
    for name in ("sensor", "own_sensor", "ratio", "max_value", "synthetic", "sen12ms_cr"):
        del older.data[name]
    for name in ("period_epochs", "step_epochs", "milestones", "milestone_steps", "gamma"):
        del older.optim[name]
    older.diffusion = {}
    open_run_folder(tmp_path / "run", older)
    open_run_folder(tmp_path / "run", config, default_config())
    config.optim.gamma = 0.25
    with pytest.raises(UserError, match=r"optim.gamma: None there, 0\.25 now"):
        open_run_folder(tmp_path / "run", config, default_config())


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, ("onesensor", "default")),
        ({"network": "anysensor"}, ("anysensor", "default")),
        ({"network": "pnn"}, ("pnn", "")),
        ({"network": NARROW}, (NARROW, "")),
        ({"init": "default"}, ({"name": "anysensor"}, "default")),
    ],
)
def test_where_an_adaptation_starts(wish, expected):
    assert start(Wish(**wish)) == expected


@pytest.mark.slow
def test_adaptation_starts_from_the_packaged_weights():
    """AnySensor's gently: two steps of Adam move no weight further than twice the learning rate."""
    pan, ms = scene(64, 64)
    options = {"ms_phase": 1.5, "held_out": False, "quiet": True, "steps": 2}

    def moved(params):
        change = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, default_params())
        return max(jax.tree.leaves(change))

    params = rsf.adapt(pan, ms, network="anysensor", **options).variables["params"]
    assert 0 < moved(params) < 2 * 5e-4 * 1.01
    params = rsf.adapt(pan, ms, **options).variables["params"]
    # The moving average of what stays as it is rounds.
    assert moved(params["first"]) < 1e-6 < np.abs(params["conv3"]["kernel"]).max()


def test_verdict():
    exp, formula = {"ERGAS": 5.0}, {"ERGAS": 3.0}
    assert Verdict(exp, formula, "gsa", {"ERGAS": 2.9}).network_wins
    assert not Verdict(exp, formula, "gsa", {"ERGAS": 3.1}).network_wins
    assert not Verdict(exp, formula, "gsa", {"ERGAS": float("nan")}).network_wins


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda pan, ms: (pan, ms, 2047.0), "too small to hold out"),
        (lambda pan, ms: (pan, ms, 100.0), "is saturated"),
        (lambda pan, ms: (pan, np.full_like(ms, 300), 2047.0), "has a constant MS"),
        (lambda pan, ms: (np.full_like(pan, 300), ms, 2047.0), "has a constant PAN"),
        (lambda pan, ms: (pan[:-4], ms, 2047.0), "ratio is unknown"),
        (lambda pan, ms: (pan[:64, :64], ms[:16, :16], 2047.0), "needs at least 32x32"),
    ],
)
def test_scenes_that_cannot_teach(change, sentence):
    pan, ms, max_value = change(*scene(64, 64))
    with pytest.raises(UserError, match=sentence):
        rsf.adapt(pan, ms, max_value=max_value, steps=1, quiet=True)


def test_arrays_to_a_fuser(tmp_path):
    """A few steps on a small scene: better than EXP, in its units; goes on from kept weights."""
    pan, ms = scene(64, 64)
    given = {"ms_phase": 1.5, "held_out": False, "quiet": True}
    kept = tmp_path / "kept"
    fuser = rsf.adapt(pan, ms, network=STUDENT, steps=60, keep=kept, **given)
    assert fuser.max_value == 2047 and fuser.sensor.name == "measured"
    crop = rsf.data.simulate(pan.astype(np.float32), ms.astype(np.float32), sensor=CAMERA)
    fused = fuser(crop["pan"], crop["ms"])
    errors = [rsf.metrics.ergas(crop["gt"], image, ratio=4) for image in (fused, crop["lms"])]
    assert errors[0] < 0.9 * errors[1]
    np.testing.assert_array_equal(rsf.load(kept)(crop["pan"], crop["ms"]), fused)
    record = json.loads((kept / "adaptation.json").read_text())
    assert record["windows"]["held_out"] == 0 and record["max_value"] == 2047
    further = rsf.adapt(pan, ms, init=kept, steps=1, **given)
    assert further.model.title == "DiCNN"
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), further.variables, fuser.variables)
    # Adam's first step moves every weight by the learning rate.
    assert 0 < max(map(float, jax.tree.leaves(moved))) < 1.1e-3


def test_seconds_become_steps():
    pan, ms = scene(64, 64)
    train, _ = windows(pan, ms, held_out=False)

    class Set(list):
        info = rsf.data.source.SetInfo("x", CAMERA, 3, 1, 4, 2047.0, 2.0, True)

    sets = {"train": Set(window.sample for window in train)}
    config = recipe(STUDENT, scene="x", steps=1, ratio=4, init="", seed=0)
    few, many = (steps_within(seconds, config, sets) for seconds in (1e-3, 1e3))
    assert few == 40 and many > 400


def test_command_uses_the_winner(tmp_path, capsys, monkeypatch):
    """Two steps teach nothing: the formula fuses, or `--strict` refuses; the run is kept."""
    monkeypatch.setattr(verdict, "RIVALS", ("gsa", "brovey"))  # each has to be compiled
    pair = [str(path) for path in write_pair(tmp_path, *scene(112, 112))]
    out, kept = tmp_path / "out.tif", tmp_path / "kept"
    flags = ["--adapt", "2", "--network=dicnn", f"--keep={kept}", "--shift=none", "--samples=0"]
    run(["fuse", *pair, str(out), *flags, "--quiet"])
    image, about = read(out)
    assert image.shape == (448, 448, 3)
    scores = json.loads((kept / "adaptation.json").read_text())["held_out_scores"]
    assert scores["classical"]["ERGAS"] < min(scores[k]["ERGAS"] for k in ("exp", "network"))
    assert about.tags["RSFUSION_METHOD"] == scores["method"]
    assert rsf.load(kept).max_value == 2047
    capsys.readouterr()
    for extra, sentence in (
        (["--strict", "--overwrite"], "is better on this scene"),
        (["--resume", "--overwrite"], "without --shard, --resume"),
        ([], "exists"),
    ):
        with pytest.raises(SystemExit) as stop:
            run(["fuse", *pair, str(out), *flags, *extra])
        assert stop.value.code == 2 and sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(["fuse", *pair, str(out), "--strict"])
    assert "belong to --adapt" in capsys.readouterr().err


def test_guides_of_several_bands_are_compared_with_hypersharpening(tmp_path, capsys):
    pan, ms = scene(96, 96)
    guides = np.concatenate([pan, np.roll(pan, 3, axis=0) // 2], axis=-1)
    pair = [str(path) for path in write_pair(tmp_path, guides, ms)]
    out, kept = tmp_path / "out.tif", tmp_path / "kept"
    flags = ["--network=dicnn", f"--keep={kept}", "--shift=none", "--samples=0", "--quiet"]
    run(["fuse", *pair, str(out), "--adapt", "2", *flags])
    scores = json.loads((kept / "adaptation.json").read_text())["held_out_scores"]
    assert scores["method"] in ("hyper_glp", "hyper_gsa")
    assert scores["classical"]["ERGAS"] < 0.8 * scores["exp"]["ERGAS"]
    assert read(out)[1].tags["RSFUSION_METHOD"] == scores["method"]
    assert rsf.load(kept).model.guide_bands == 2


def test_a_dark_image_beside_large_counts_is_not_constant():
    pan, ms = scene(64, 64)
    images = pan.astype(np.float32) * 30, ms.astype(np.float32) / 1e4
    assert windows(*images, held_out=False, max_value=65535.0)[0]
    with pytest.raises(UserError, match="has a constant MS"):
        windows(pan, np.full_like(ms, 3), held_out=False)
