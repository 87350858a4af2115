"""A pair is opened and surveyed once, by whichever command it is fused."""

import collections

import jax
import numpy as np
import pytest
import rasterio
import rasterio.warp
from scene_files import counts, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax.adaptation import scene as adaptation
from rsfusion_jax.adaptation.run import Adaptation
from rsfusion_jax.cli.main import run
from rsfusion_jax.models import init_params
from rsfusion_jax.scenes.pair.raster_file import RasterFile

ONCE = {("open", "PAN"): 1, ("open", "MS"): 1, ("survey", "PAN"): 1, ("survey", "MS"): 1}


@pytest.fixture
def seen(monkeypatch):
    """How often each file is opened and surveyed."""
    seen = collections.Counter()
    opens, survey = RasterFile.__init__, RasterFile.survey

    def counted_open(self, path, label, *args, **options):
        seen["open", label] += 1
        opens(self, path, label, *args, **options)

    def counted_survey(self):
        seen["survey", self.label] += 1
        return survey(self)

    monkeypatch.setattr(RasterFile, "__init__", counted_open)
    monkeypatch.setattr(RasterFile, "survey", counted_survey)
    return seen


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--max-value=4095"],
        ["--method=gsa"],
        ["--weights={folder}/pnn.pth", "--model=pnn", "--sensor=qb"],
        ["--adapt=1", "--network=dicnn"],
    ],
)
def test_opened_and_surveyed_once(tmp_path, monkeypatch, seen, flags):
    def adapt_to(scene, wish, **about):
        fuser = rsf.load_default(len(scene.ms.bands), max_value=about["max_value"])
        return Adaptation(fuser, verdict=None, degraded=None)

    monkeypatch.setattr(adaptation, "adapt_to", adapt_to)  # what it trains is not tested here
    if "--model=pnn" in flags:
        model = rsf.create_model("pnn", num_bands=4)
        fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
        rsf.save_torch(fuser, tmp_path / "pnn.pth")
    pair = [str(path) for path in write_pair(tmp_path, *counts(24, 24))]
    flags = [flag.format(folder=tmp_path) for flag in flags]
    run(["fuse", *pair, str(tmp_path / "out.tif"), *flags, "--quiet", "--samples=0"])
    assert (tmp_path / "out.tif").exists()
    assert seen == ONCE


def test_warped_ms_is_opened_again_on_its_new_grid(tmp_path, seen):
    pan, _ = counts(24, 24)
    first = write_tif(tmp_path / "pan.tif", pan, pixel=0.5)
    with rasterio.open(first) as file:
        size = file.width // 4, file.height // 4
        transform, width, height = rasterio.warp.calculate_default_transform(
            file.crs, "EPSG:4326", *size, *file.bounds
        )
    ms = np.full((height, width, 3), 700, np.uint16)
    grid = {"pixel": 1, "crs": "EPSG:4326", "transform": transform}
    second = write_tif(tmp_path / "ms.tif", ms, **grid)
    rsf.fuse_scene(first, second, tmp_path / "out.tif", method="exp", quiet=True)
    assert seen == {**ONCE, ("open", "MS"): 2}
