"""Error intervals: their calibration on drawn errors, their raster beside the fused scene."""

import json
import re

import flax.linen as nn
import jax
import numpy as np
import pytest
import rasterio
from adaptation_scenes import scene
from scene_files import left_behind, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import init_params
from rsfusion_jax.models.network import Network
from rsfusion_jax.scenes import run as scene_run
from rsfusion_jax.scenes.degraded.calibrate import (
    CALIBRATE,
    FIT,
    Calibration,
    Errors,
    coverage,
    fit_half_widths,
)
from rsfusion_jax.scenes.work.half_width import HalfWidths, half_width, reach

compiled = jax.jit(half_width, static_argnums=3)
QUIET = {"quiet": True, "shift": "none", "samples": 0, "overviews": False}


def drawn(seed, spread=1.0, side=96, bands=2):
    """A window whose errors grow with PAN's detail, by `spread` times as much as it."""
    random = np.random.default_rng(seed)
    rough = random.choice([0.3, 3.0], (side // 16, side // 16)).repeat(16, 0).repeat(16, 1)
    pan = 400 + 20 * rough[..., None] * random.standard_normal((side, side, 1))
    lms = 300 + 5 * random.standard_normal((side, side, bands))
    fused = lms + 0.5 * (pan - 400)
    noise = random.standard_normal(fused.shape) * [1.0, 3.0]
    gt = fused + spread * rough[..., None] * noise
    role = np.full((side, side), FIT, np.int8)
    role[:, side // 2 :] = CALIBRATE
    return Errors(*(image.astype(np.float32) for image in (pan, lms, fused, gt)), role)


@pytest.fixture(scope="module")
def widths():
    return fit_half_widths([drawn(0), drawn(1)], 4, 80)


def test_coverage_on_errors_that_were_not_calibrated_on(widths):
    others = [drawn(seed) for seed in (7, 8, 9)]
    assert 0.77 < coverage(others, 4, widths) < 0.85
    # Twice the errors within the same intervals: far fewer hold.
    assert coverage([drawn(7, spread=2.0)], 4, widths) < 0.6


def test_half_widths_follow_errors(widths):
    one = drawn(7)
    images = (image[None] for image in (one.pan, one.lms, one.fused))
    half = np.asarray(compiled(*images, 4, widths))[0]
    assert half.shape == one.gt.shape and (half > 0).all()
    within = [(one.error[..., band] <= half[..., band]).mean() for band in range(2)]
    np.testing.assert_allclose(within, 0.8, atol=0.05)
    # Errors of the second band are three times as large.
    assert 2.5 < half[..., 1].mean() / half[..., 0].mean() < 3.5
    constant = [np.quantile(one.error[..., band], within[band]) for band in range(2)]
    assert (half.mean(axis=(0, 1)) < 0.92 * np.array(constant)).all()


def test_the_unit_does_not_matter(widths):
    errors = [drawn(0), drawn(1)]
    small = [
        Errors(*(image / 4096 for image in (e.pan, e.lms, e.fused, e.gt)), e.role) for e in errors
    ]
    smaller = fit_half_widths(small, 4, 80)
    one = errors[0]
    images = [image[None] for image in (one.pan, one.lms, one.fused)]
    expected = compiled(*images, 4, widths)
    other = compiled(*(image / 4096 for image in images), 4, smaller)
    np.testing.assert_allclose(4096 * np.asarray(other), expected, rtol=1e-3)


def test_a_half_width_depends_on_nothing_beyond_its_reach(widths):
    one, far = drawn(3), reach(4)
    images = [image[None] for image in (one.pan, one.lms, one.fused)]
    whole = np.asarray(compiled(*images, 4, widths))
    cut = np.s_[:, 20 - far : 60 + far, 20 - far : 60 + far]
    part = np.asarray(compiled(*(image[cut] for image in images), 4, widths))
    inner = np.s_[:, far:-far, far:-far]
    np.testing.assert_allclose(part[inner], whole[:, 20:60, 20:60], rtol=1e-5)


def test_too_few_pixels_for_a_share():
    one = drawn(0)
    one.role[:, 52:] = 0
    fit_half_widths([one], 4, 80)
    with pytest.raises(UserError, match=r"too small for intervals of 99 %: 384 .* least 6336"):
        fit_half_widths([one], 4, 99)
    # Between the numbers at which the quantile moves on to the next error.
    one.role[:, 51:] = 0
    fit_half_widths([one], 4, 80)
    one.role[:, 50:] = 0
    with pytest.raises(UserError, match=r"intervals of 80 %: 192 .* expected at least 256"):
        fit_half_widths([one], 4, 80)


def test_pixels_for_the_coefficients_are_needed():
    one = drawn(0)
    one.role[one.role == FIT] = 0
    with pytest.raises(UserError, match="none is left to fit"):
        fit_half_widths([one], 4, 80)


def test_a_calibration_is_kept(widths):
    kept = Calibration(widths, 80, 1000, None)
    back = Calibration.of_dict(json.loads(json.dumps(kept.as_dict())))
    for ours, theirs in zip(back.widths, kept.widths, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert back.sentence == kept.sentence and isinstance(back.widths, HalfWidths)


@pytest.fixture(scope="module")
def pair():
    return scene(64, 72)


def written(folder, **options):
    """The fused raster and that of its half widths, as stored."""
    options = {"method": "gsa", "dtype": "float32", **QUIET, **options}
    out, beside = folder / "out.tif", folder / "error.tif"
    files = folder / "pan.tif", folder / "ms.tif"
    rsf.fuse_scene(*files, out, interval=(85, beside), **options)
    return read(out), read(beside)


@pytest.fixture(scope="module")
def of_arrays(pair):
    return rsf.interval(*pair, method="gsa", level=85, ms_phase=1.5)


def test_the_raster_is_that_of_arrays(pair, of_arrays, tmp_path):
    write_pair(tmp_path, *pair)
    (fused, stored), (half, beside) = written(tmp_path, block=64)
    np.testing.assert_allclose(fused, of_arrays.fused, rtol=1e-4)
    np.testing.assert_allclose(half, of_arrays.half_width, rtol=2e-3)
    assert (half > 0).all()
    assert beside.tags["RSFUSION_INTERVAL"] == "85" and beside.dtypes == ("float32",) * 3
    assert beside.transform == stored.transform and beside.crs == stored.crs
    assert left_behind(tmp_path) == ["error.tif", "ms.tif", "out.tif", "pan.tif"]
    assert of_arrays.calibration.from_below is None
    assert "too small to measure the gap" in of_arrays.calibration.sentence


def test_what_the_raster_says_of_its_values(pair, tmp_path):
    """A half width is a difference: in stored units times MS's scale, without its offset."""
    files = write_pair(tmp_path, *pair)
    with rasterio.open(files[1], "r+") as file:
        file.scales, file.offsets = (0.5, 0.25, 2.0), (-0.1, 3.0, 0.0)
        file.units, file.descriptions = ("W",) * 3, ("green", "red", None)
    (_, stored), (half, beside) = written(tmp_path)
    assert stored.scales == beside.scales == (0.5, 0.25, 2.0)
    assert stored.offsets == (-0.1, 3.0, 0.0) and beside.offsets == (0.0,) * 3
    assert beside.units == ("W",) * 3 and np.isnan(beside.nodata)
    name = "85 % half width"
    assert beside.descriptions == (f"green, {name}", f"red, {name}", name)
    assert (half > 0).all()


def test_nodata_stays_nodata(pair, tmp_path):
    pan, ms = (image.copy() for image in pair)
    ms[:6, 10:14] = 0
    pan[-30:, :20] = 0
    write_pair(tmp_path, pan, ms, nodata=0)
    (fused, _), (half, _) = written(tmp_path)
    np.testing.assert_array_equal(np.isnan(half), fused == 0)
    assert 0.01 < np.isnan(half).mean() < 0.1


def test_an_interrupted_run_is_resumed(pair, tmp_path, monkeypatch):
    folders = [tmp_path / name for name in ("whole", "parts")]
    for folder in folders:
        folder.mkdir()
        write_pair(folder, *pair)
    written(folders[0], block=64)
    store = scene_run.Store.write

    def stops(self, index, tiles, counts):
        if index == 9:
            raise KeyboardInterrupt
        store(self, index, tiles, counts)

    with monkeypatch.context() as patch:
        patch.setattr(scene_run.Store, "write", stops)
        with pytest.raises(KeyboardInterrupt):
            written(folders[1], block=64)
    assert left_behind(folders[1])[:2] == [".out.tif.journal", ".out.tif.partial"]

    def calibrates(*_):
        raise AssertionError("calibrated again")

    monkeypatch.setattr(scene_run, "calibrate_placed", calibrates)
    with pytest.raises(UserError, match="a run with another interval"):
        rsf.fuse_scene(
            *(folders[1] / name for name in ("pan.tif", "ms.tif", "out.tif")),
            method="gsa",
            dtype="float32",
            block=64,
            resume=True,
            interval=(60, folders[1] / "error.tif"),
            **QUIET,
        )
    written(folders[1], block=64, resume=True)
    for name in ("out.tif", "error.tif"):
        assert (folders[1] / name).read_bytes() == (folders[0] / name).read_bytes()


class SeesAll(Network):
    """A network whose result depends on the whole image that it is shown."""

    title = "SeesAll"

    @nn.compact
    def __call__(self, pan, ms, lms, train=False):
        detail = pan - pan.mean(axis=(1, 2), keepdims=True)
        gain = self.param("gain", nn.initializers.constant(0.5), (self.num_bands,))
        return {"fused": lms + gain * detail}


def test_tiles_of_a_global_network(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(rsf.models.own_models, "_registered", {})
    rsf.register_model("seesall", SeesAll)
    model = rsf.create_model("seesall", num_bands=3)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, max_value=2047)
    write_pair(tmp_path, *pair)
    (fused, _), (half, _) = written(tmp_path, method=None, fuser=fuser, block=64, tile=32)
    # The same lattice of tiles in blocks of another size: each sees the tiles that reach into it.
    options = {"fuser": fuser, "level": 85, "ms_phase": 1.5}
    whole = rsf.interval(*pair, tile=32, **options)
    np.testing.assert_allclose(fused, whole.fused, atol=0.02)
    np.testing.assert_allclose(half, whole.half_width, rtol=2e-3)
    assert half.std() > 0 and whole.calibration.pixels > 500
    # What is judged are tiles of that size, whose means differ from those of larger ones.
    larger = rsf.interval(*pair, tile=128, **options)
    assert np.abs(larger.fused - fused).mean() > 1
    assert (half.mean() / larger.half_width.mean()) != pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_shards_write_one_raster(pair, tmp_path):
    write_pair(tmp_path, *pair)
    files = [tmp_path / name for name in ("pan.tif", "ms.tif")]
    options = {"method": "brovey", "dtype": "float32", "block": 128, **QUIET}
    for part in (1, 2):
        interval = (85, tmp_path / "error.tif")
        rsf.fuse_scene(*files, tmp_path / "out.tif", shard=(part, 2), interval=interval, **options)
    rsf.fuse_scene(*files, tmp_path / "o.tif", interval=(85, tmp_path / "e.tif"), **options)
    np.testing.assert_array_equal(read(tmp_path / "error.tif")[0], read(tmp_path / "e.tif")[0])


REFUSED = {
    "small": (scene(24, 40), {}, r"24x40 MS pixels under PAN, expected at least 32x32"),
    "name": (scene(32, 32), {"out": "ms.tif"}, "is one of the inputs"),
    "twice": (scene(32, 32), {"out": "out.tif"}, "is named for two outputs"),
    "format": (scene(32, 32), {"out": "error.png"}, "must end with .tif"),
    "share": (scene(32, 32), {"percent": "100"}, "no share of errors in percent"),
    "word": (scene(32, 32), {"percent": "most"}, "'most' is no number like 90"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused(name, tmp_path, monkeypatch, capsys):
    images, options, sentence = REFUSED[name]
    write_pair(tmp_path, *images)
    monkeypatch.chdir(tmp_path)
    interval = [options.get("percent", "90"), options.get("out", "error.tif")]
    argv = ["fuse", "pan.tif", "ms.tif", "out.tif", "--method=gsa", "--interval", *interval]
    with pytest.raises(SystemExit) as ended:
        run([*argv, "--quiet"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "error: " in said
    assert re.search(sentence, said), said
    assert left_behind(tmp_path) == ["ms.tif", "pan.tif"]


def test_an_existing_raster_is_not_replaced(tmp_path, monkeypatch, capsys):
    write_pair(tmp_path, *scene(32, 32))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "error.tif").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        run(["fuse", "pan.tif", "ms.tif", "out.tif", "--interval", "90", "error.tif", "--quiet"])
    assert ended.value.code == 2 and "exists already" in capsys.readouterr().err
    assert (tmp_path / "error.tif").read_text() == "mine"
