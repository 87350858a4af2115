"""Adaptation to scenes with holes, and to pairs of different units."""

import jax
import numpy as np
import pytest
from adaptation_scenes import CAMERA, STUDENT, scene
from scene_files import read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.adaptation.arrays import array_scene
from rsfusion_jax.adaptation.camera import estimate_gain
from rsfusion_jax.adaptation.windows import Windows, make_windows
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.score import score
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


def test_images_of_other_units_get_scales_of_their_own(tmp_path):
    """The network sees the same whatever the units; its run keeps both scales."""
    pan, ms = scene(48, 48)
    options = {"ms_phase": 1.5, "held_out": False, "quiet": True, "network": STUDENT, "steps": 3}
    results = {}
    for name, scales in {"a": (32.0, 2**-12), "b": (64.0, 2**-14)}.items():
        images = pan.astype(np.float32) * scales[0], ms.astype(np.float32) * scales[1]
        fuser = rsf.adapt(*images, keep=tmp_path / name, **options)
        assert fuser.pan_value == 2048 * scales[0] and fuser.max_value == 2048 * scales[1]
        results[name] = fuser(*images) / scales[1]
        np.testing.assert_array_equal(rsf.load(tmp_path / name)(*images) / scales[1], results[name])
    np.testing.assert_array_equal(results["a"], results["b"])
    # Without its run's scales, those that the user states; one cannot suit both images.
    pair = [str(path) for path in write_pair(tmp_path, *images)]
    flags = ["--quiet", "--samples=0", "--shift=none", f"--weights={tmp_path / 'b'}"]
    run(["fuse", *pair, str(tmp_path / "o.tif"), *flags])
    run(["fuse", *pair, str(tmp_path / "p.tif"), *flags, "--max-value=131072,0.125"])
    one, two = (read(tmp_path / f"{name}.tif")[0] for name in "op")
    np.testing.assert_array_equal(one, two)
    assert 0.3 * ms.mean() < one.mean() * 2**14 < 2 * ms.mean()
