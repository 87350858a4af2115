"""Quicklooks: red, green and blue as the file says; a failed picture does not lose the image."""

import numpy as np
import pytest
import rasterio
from scene_files import read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.product import quality

QUICK = {"samples": 0, "shift": "none", "quiet": True, "overwrite": True, "method": "gsa"}


@pytest.fixture
def pair(tmp_path):
    """Four bands; in each another quarter of the scene is bright."""
    ms = np.random.default_rng(8).integers(200, 260, (16, 20, 4)).astype(np.uint16)
    for band, quarter in enumerate(
        (np.s_[:8, :10], np.s_[:8, 10:], np.s_[8:, :10], np.s_[8:, 10:])
    ):
        ms[(*quarter, band)] += 900
    pan = np.repeat(np.repeat(ms.mean(-1, keepdims=True), 3, 0), 3, 1).astype(np.uint16)
    return write_pair(tmp_path, pan, ms, ratio=3)


def brightest(folder, pair, **options):
    """The bands of MS that a quicklook shows as red, green and blue, from 1."""
    rsf.fuse_scene(*pair, folder / "o.tif", quicklook=folder / "q.png", **QUICK, **options)
    picture = read(folder / "q.png")[0].astype(float)
    quarters = [picture[:20, :26], picture[:20, 34:], picture[28:, :26], picture[28:, 34:]]
    means = np.array([quarter.mean((0, 1)) for quarter in quarters])
    return tuple(int(band) + 1 for band in means.argmax(axis=0))


def tag(path, **changes):
    with rasterio.open(path, "r+") as file:
        for band, value in enumerate(changes.get("names", ()), start=1):
            file.set_band_description(band, value)
        for band, value in enumerate(changes.get("centres", ()), start=1):
            file.update_tags(band, wavelength=str(value))
        if "colours" in changes:
            file.colorinterp = [rasterio.enums.ColorInterp[name] for name in changes["colours"]]


def test_what_the_file_says_decides_in_this_order(tmp_path, pair):
    assert brightest(tmp_path, pair) == (3, 2, 1)
    assert brightest(tmp_path, pair, sensor="ge1", bands=(3, 4, 1, 2)) == (3, 2, 1)
    tag(pair[1], names=("B04", "B2", "band 3", "B8A"))
    assert brightest(tmp_path, pair) == (1, 3, 2)
    tag(pair[1], centres=(660, 840, 480, 560))
    assert brightest(tmp_path, pair, sensor={"bands": 4, "mtf_ms": 0.3}) == (1, 4, 3)
    tag(pair[1], names=("B8", "B2 (Blue)", "Green", "red"))
    assert brightest(tmp_path, pair) == (4, 3, 2)
    tag(pair[1], colours=("red", "green", "blue", "undefined"))
    assert brightest(tmp_path, pair) == (1, 2, 3)
    assert brightest(tmp_path, pair, bands=(4, 3, 2, 1)) == (1, 2, 3)
    assert brightest(tmp_path, pair, rgb=(3, 1, 4)) == (3, 1, 4)


@pytest.mark.parametrize(("rgb", "message"), [((1, 2, 5), "bands 1 to 4"), ((1, 2), "three bands")])
def test_bands_that_are_not_there(tmp_path, pair, rgb, message):
    with pytest.raises(UserError, match=message):
        rsf.fuse_scene(*pair, tmp_path / "o.tif", rgb=rgb, quicklook=tmp_path / "q.png", **QUICK)
    assert not (tmp_path / "o.tif").exists()


def test_a_failed_picture_does_not_lose_the_image(tmp_path, pair, monkeypatch):
    def fails(*args):
        raise IndexError("band index 7 out of range")

    monkeypatch.setattr(quality, "write_quicklook", fails)
    out, report = tmp_path / "o.tif", tmp_path / "r.json"
    with pytest.raises(UserError, match=r"o\.tif is written, but .*q\.png is not \(band index 7"):
        rsf.fuse_scene(*pair, out, quicklook=tmp_path / "q.png", report=report, **QUICK)
    assert read(out)[0].shape == (48, 60, 4) and report.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ms.tif",
        "o.tif",
        "pan.tif",
        "r.json",
    ]
