"""The packaged weights: what they are, that they beat plain methods, and where they are used."""

import numpy as np
import pytest
from scene_files import counts, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.data.synthetic import ManyCameras, SyntheticScenes
from rsfusion_jax.inference.default import FOLDER, default_params, provenance
from rsfusion_jax.models import create_model
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.training.start import initial_params


@pytest.fixture(scope="module")
def scene():
    """A scene of a seed and a sensor's record that nothing was trained on."""
    source = SyntheticScenes("wv3", num_scenes=1, size=64, split="test", seed=5, nuisances=True)
    return source[0]


def _ergas(scene, fused):
    return float(rsf.metrics.ergas(scene["gt"], fused, ratio=4))


def test_small_and_of_known_origin():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000
    about = provenance()
    assert about["network"]["name"] == "anysensor"
    assert about["config"]["data"]["train"] == "synthetic"


def test_better_than_plain_methods(scene):
    fuser = rsf.load_default(8)
    fused = fuser(scene["pan"], scene["ms"], scene["lms"])
    rivals = [
        rsf.classical.fuse(name, scene["pan"], scene["ms"], sensor="wv3", lms=scene["lms"])
        for name in ("exp", "brovey", "gsa")
    ]
    assert _ergas(scene, fused) < min(_ergas(scene, image) for image in rivals)


def test_half_a_pixel_out_of_register(scene):
    pan = (scene["pan"] + np.roll(scene["pan"], 1, 0)) / 2
    pan = (pan + np.roll(pan, 1, 1)) / 2
    fused = rsf.load_default(8)(pan, scene["ms"], scene["lms"])
    assert _ergas(scene, fused) < 0.9 * _ergas(scene, scene["lms"])


def test_counts_are_fused_as_fractions_are(scene):
    pan, ms = (np.rint(2047 * scene[key][:32, :32]) for key in ("pan", "ms"))
    pan, ms = pan[:, :, :], ms[:8, :8, :3]
    by_counts = rsf.load_default(3, max_value=2047)(pan, ms)
    by_fractions = rsf.load_default(3)(pan / 2047, ms / 2047)
    assert np.abs(by_counts - 2047 * by_fractions).max() < 0.1


def test_command_without_weights_and_method(tmp_path, capsys):
    pan, ms = counts(24, 24)
    pair = [str(path) for path in write_pair(tmp_path, pan, ms, offset=(0.5, 0.5))]
    out = tmp_path / "out.tif"
    run(["fuse", *pair, str(out), "--shift=none", "--samples=0", "--dtype=float32"])
    assert "no --weights and no --method" in capsys.readouterr().err
    image, about = read(out)
    assert about.tags["RSFUSION_METHOD"] == "anysensor"
    whole = rsf.load_default(4, max_value=2047)(pan, ms)
    inside = (whole > 0) & (whole < 2047)
    assert inside.mean() > 0.5 and np.abs(image - whole)[inside].max() < 0.05


def test_other_networks_cannot_start_from_them():
    model, card = create_model("anysensor", num_bands=2), {"network": {"name": "anysensor"}}
    assert set(initial_params("default", model, card)) == set(default_params())
    with pytest.raises(rsf.UserError, match="is for the network"):
        initial_params("default", model, {"network": {"name": "pnn", "num_bands": 2}})


def test_nothing_to_exchange_with_torch(tmp_path):
    with pytest.raises(rsf.UserError, match="no published weights"):
        rsf.save_torch(rsf.load_default(4), tmp_path / "x.pth")


def test_cameras_are_drawn_by_index():
    scenes = ManyCameras(num_scenes=5, size=16)
    sample = scenes[3]
    assert sample["gt"].shape == (16, 16, 10) and sample["pan"].shape == (16, 16, 1)
    again = ManyCameras(num_scenes=9, size=16)[3]
    assert all(np.array_equal(sample[key], again[key]) for key in sample)
    counts = {len(np.unique(scenes[i]["gt"][0, :4].T, axis=0)) for i in range(5)}
    assert counts <= {4, 8, 10} and len(counts) > 1
    with pytest.raises(IndexError):
        scenes[5]
    with pytest.raises(rsf.UserError, match="num_scenes=0"):
        ManyCameras(num_scenes=0, size=16)


def test_relative_loss_counts_bands_by_their_means():
    from rsfusion_jax.training.distances import relative

    truth = np.full((1, 4, 4, 2), [0.08, 0.48], np.float32)
    assert relative(truth * 1.1, truth) == pytest.approx((0.008 / 0.1 + 0.048 / 0.5) / 2, rel=1e-4)


@pytest.mark.parametrize(("ratio", "guides"), [(2, 1), (3, 1), (2, 4)])
def test_other_ratios_and_guides(ratio, guides, tmp_path, capsys):
    """The packaged weights fuse them too, and nearer to the truth than interpolation."""
    source = SyntheticScenes("wv3", num_scenes=1, size=48, split="test", seed=6, nuisances=True)
    truth, pan = source[0]["gt"], source[0]["pan"]
    if guides > 1:
        pan, truth = truth[..., :guides], truth[..., guides:]
    ms = observe(truth, Psf("mtf"), ratio, gains=0.3, centred=False)
    lms = interp23(ms, ratio)
    fuser = rsf.load_default(truth.shape[-1], guide_bands=guides, ratio=ratio)
    fused = fuser(pan, ms, lms)
    assert np.square(fused - truth).mean() < 0.7 * np.square(lms - truth).mean()


def test_every_ratio_is_fused_by_them(tmp_path, capsys):
    for ratio in (2, 5):
        pair = write_pair(tmp_path, *counts(24, 24, bands=3, ratio=ratio, seed=9), ratio=ratio)
        out = tmp_path / f"{ratio}.tif"
        run(["fuse", *map(str, pair), str(out), "--samples=0", "--shift=none"])
        assert read(out)[1].tags["RSFUSION_METHOD"] == "anysensor"
