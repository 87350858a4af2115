"""Adaptation to scenes with holes, and to pairs of different units."""

import jax
import numpy as np
import pytest
from adaptation_scenes import CAMERA, STUDENT, scene
from scene_files import read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.scenes.degraded.camera import estimate_gain
from rsfusion_jax.scenes.degraded.windows import Windows, make_windows
from rsfusion_jax.scenes.pair.full_scale import full_scale_from_values
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.pair.scales import scene_scales
from rsfusion_jax.training.objectives import make_objective

HIDDEN = 2040


def striped(size, every=26, width=7):
    """(h, w) bool: False in slanting stripes, which leave no complete window."""
    rows, columns = np.indices((size, size))
    return (rows + columns // 4) % every >= width


def test_striped_scenes_teach_and_measure():
    pan, ms = scene(176, 176)
    valid = striped(176)
    ms[~valid] = HIDDEN
    made, _ = array_scene(pan, ms, 1.5, valid)
    train, judge = make_windows(made, CAMERA, (2047.0, 2047.0), "as_ms", True, 0)
    assert len(train) >= 4 and judge
    for one in [*train, *judge]:
        side = one.sample["gt"].shape[0]
        inside = valid[one.row : one.row + side, one.column : one.column + side]
        counts = one.sample["valid"][..., 0] > 0
        assert 0.3 <= counts.mean() < 0.7 and not (counts & ~inside).any()
        np.testing.assert_allclose(
            one.sample["gt"][counts] * 2047,
            ms[one.row : one.row + side, one.column : one.column + side][counts],
            atol=1e-3,
        )
    info = SetInfo("x", CAMERA, 3, 1, 4, 2047.0, 2.0, True)
    # Wrong where there is no truth alone: free of error, in any metric.
    wrong = Windows(judge, info)
    truth = np.stack([one["gt"] + (1 - one["valid"]) * 0.2 for one in (w.sample for w in judge)])
    means = score(lambda pan, ms, lms: truth[: len(pan)], wrong, batch_size=len(judge)).mean()
    assert means["ERGAS"] == means["MAE"] == 0 and means["SSIM"] == pytest.approx(1, abs=1e-5)
    half = score(lambda pan, ms, lms: lms, wrong).mean()["ERGAS"]
    expected = []
    for one in (window.sample for window in judge):
        here = one["valid"][..., 0] > 0
        gt, lms = one["gt"][here].astype(float), one["lms"][here].astype(float)
        errors = np.square(gt - lms).mean(0) / np.square(gt.mean(0))
        expected.append(25 * np.sqrt(errors.mean()))
    assert half == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("loss", ["l1", "mse", "relative", "l1ssim"])
def test_holes_have_no_gradient(loss):
    class Constant:
        predicts, title = "fused", "constant"

        def apply(self, variables, *images, **_):
            return {"fused": variables["params"]}

    random = np.random.default_rng(0)
    gt, fused = (random.random((2, 16, 16, 3)).astype(np.float32) for _ in range(2))
    valid = np.ones((2, 16, 16, 1), np.float32)
    valid[0, :9] = 0
    batch = {"pan": gt, "ms": gt, "lms": gt, "gt": gt, "valid": valid}
    objective = make_objective("supervised", loss)
    slope = jax.grad(lambda image: objective(Constant(), image, batch, jax.random.key(0))[0])(fused)
    touched = np.abs(np.asarray(slope)).max(axis=-1, keepdims=True) > 0
    np.testing.assert_array_equal(touched, valid > 0)


def test_gain_is_measured_between_stripes():
    pan, ms = scene(160, 160, gain=0.3)
    ms[~striped(160, 40, 7)] = HIDDEN
    made = array_scene(pan, ms, 1.5, striped(160, 40, 7))[0]
    assert abs(estimate_gain(made, 4) - 0.3) < 0.05


def test_networks_see_the_same_whatever_the_units():
    pan, ms = scene(48, 48)
    seen = []
    for scales in (32.0, 2**-12), (64.0, 2**-14):
        images = pan.astype(np.float32) * scales[0], ms.astype(np.float32) * scales[1]
        values = [image.reshape(-1, image.shape[2]) for image in images]
        ms_scale, pan_scale = scene_scales(values, full_scale_from_values(values), None)
        assert (pan_scale, ms_scale) == (2048 * scales[0], 2048 * scales[1])
        made, _ = array_scene(*images, 1.5)
        seen.append(make_windows(made, CAMERA, (pan_scale, ms_scale), "as_ms", False, 0)[0])
    for one, other in zip(*seen, strict=True):
        for key, image in one.sample.items():
            np.testing.assert_array_equal(image, other.sample[key])
    assert scene_scales([pan, ms], 2047.0, None) == (2047.0, None)
    assert scene_scales([pan, ms], 2047.0, (4095.0, 255.0)) == (255.0, 4095.0)


@pytest.mark.slow
def test_runs_keep_both_scales(tmp_path):
    pan, ms = scene(48, 48)
    images = pan.astype(np.float32) * 64, ms.astype(np.float32) / 2**14
    kept = tmp_path / "kept"
    options = {"ms_phase": 1.5, "held_out": False, "quiet": True, "network": STUDENT, "steps": 3}
    fuser = rsf.adapt(*images, keep=kept, **options)
    assert (fuser.pan_value, fuser.max_value) == (131072, 0.125)
    np.testing.assert_array_equal(rsf.load(kept)(*images), fuser(*images))
    # The kept scales are used for files too; where the user states scales, those.
    pair = [str(path) for path in write_pair(tmp_path, *images)]
    flags = ["--quiet", "--samples=0", "--shift=none", f"--weights={kept}"]
    run(["fuse", *pair, str(tmp_path / "o.tif"), *flags])
    run(["fuse", *pair, str(tmp_path / "p.tif"), *flags, "--max-value=131072,0.125"])
    one, other = (read(tmp_path / f"{name}.tif")[0] for name in "op")
    np.testing.assert_array_equal(one, other)
