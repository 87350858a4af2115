"""Scores of the pixels under clouds."""

import numpy as np
import pytest

from rsfusion_jax import metrics
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.score import score

MEASURES = {
    "sam": {},
    "mae": {},
    "rmse": {},
    "psnr": {"data_range": 1.0},
    "ssim": {"data_range": 1.0},
}


def pair():
    rng = np.random.default_rng(0)
    gt = rng.uniform(0.1, 1, (40, 36, 3))
    return gt, gt + rng.normal(size=gt.shape) * np.linspace(0.01, 0.2, 36)[:, None]


@pytest.mark.parametrize("name", MEASURES)
def test_a_rectangle_scores_as_the_image_cut_to_it(name):
    gt, fused = pair()
    where, window = np.zeros((40, 36, 1)), np.s_[8:30, 10:31]
    where[window] = 1
    measure = getattr(metrics, name)
    masked = measure(gt, fused, where=where, precision="float64", **MEASURES[name])
    if name == "ssim":  # its windows reach five pixels beyond the centres that count
        window = np.s_[3:35, 5:36]
    cut = measure(gt[window], fused[window], precision="float64", **MEASURES[name])
    np.testing.assert_allclose(masked, cut, rtol=1e-12)
    whole = measure(gt, fused, precision="float64", **MEASURES[name])
    assert abs(masked - whole) > 1e-3 * abs(whole)


def test_a_mask_of_another_size_is_refused():
    gt, fused = pair()
    with pytest.raises(UserError, match=r"mae: where is \(40, 35, 1\), expected a mask"):
        metrics.mae(gt, fused, where=np.ones((40, 35, 1)))


def test_clouded_pixels_are_scored_apart():
    scenes = SyntheticScenes("wv4", num_scenes=2, size=48, seed=3, ratio=1, guide="sar")
    result = score(lambda pan, ms, lms: lms, scenes)
    samples = [scenes[index] for index in range(2)]
    expected = [
        np.abs(sample["gt"] - sample["lms"])[sample["mask"][..., 0] > 0].mean()
        * scenes.info.max_value
        for sample in samples
    ]
    np.testing.assert_allclose(result.values["MAE clouds"], expected, rtol=1e-4)
    assert (result.values["MAE clouds"] > result.values["MAE"]).all()
    assert "RMSE" in result.values and "ERGAS" not in result.values


def test_images_without_clouds_do_not_count():
    scenes = SyntheticScenes("wv4", num_scenes=2, size=48, seed=3, ratio=1, guide="sar")

    class OneClear:
        info = scenes.info

        def __len__(self):
            return 2

        def __getitem__(self, index):
            sample = dict(scenes[index])
            sample["mask"] = sample["mask"] * (index == 0)
            return sample

    result = score(lambda pan, ms, lms: lms, OneClear())
    first, second = result.values["SAM clouds"]
    assert np.isnan(second) and result.mean()["SAM clouds"] == pytest.approx(first)
