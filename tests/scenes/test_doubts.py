"""What is told of a finished scene, and georeferences of other kinds."""

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from scene_files import counts, without_georeference, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.product.quality import doubts

QUICK = {"shift": "none", "quiet": True, "overwrite": True}


def test_the_closing_line_shows_detail_and_doubts(tmp_path, capsys):
    pair = write_pair(tmp_path, *counts(40, 40, bands=3, ratio=2, seed=4), ratio=2)
    out = str(tmp_path / "o.tif")
    run(["fuse", *map(str, pair), out, "--method=exp"])
    printed = capsys.readouterr()
    assert "R-ERGAS" in printed.out and "D_rho" in printed.out
    assert "hardly any detail of PAN was added" in printed.err
    result = rsf.fuse_scene(*pair, out, method="gsa", **QUICK)
    assert result.figures["d_rho"] < 0.9 * result.figures["d_rho_exp"]
    assert not any("detail" in notice for notice in result.notices)


def test_doubts():
    good = {"clipped": 0.02, "mean": [90.0, 105.0], "mean_drift": [0.3, -5.0]}
    assert doubts(good) == ()
    bad = {"clipped": 0.6, "mean": [80.0, 105.0], "mean_drift": [-20.0, 1.0]}
    assert [word in text for text, word in zip(doubts(bad), ("60%", "band 1"), strict=True)]


def with_gcps(path, moved=0.0):
    """The same image with its corners as ground control points in place of a geotransform."""
    with rasterio.open(path) as file:
        image, profile, crs = file.read(), file.profile, file.crs
        points = [
            GroundControlPoint(row, column, *np.add(file.transform @ (column, row), moved), 3.0)
            for row in (0, file.height) for column in (0, file.width)
        ]  # fmt: skip
    del profile["transform"], profile["crs"]
    with without_georeference(), rasterio.open(path, "w", **profile, gcps=points, crs=crs) as file:
        file.write(image)


def test_ground_control_points_are_carried(tmp_path):
    pair = write_pair(tmp_path, *counts(16, 20, bands=3, ratio=4, seed=6))
    for path in pair:
        with_gcps(path)
    rsf.fuse_scene(*pair, tmp_path / "o.tif", method="gsa", samples=0, **QUICK)
    with without_georeference():
        with rasterio.open(pair[0]) as file:
            expected, system = file.gcps
        with rasterio.open(tmp_path / "o.tif") as file:
            found, crs = file.gcps
    assert crs == system and len(found) == 4
    assert [(p.row, p.col, p.x, p.y) for p in found] == [(p.row, p.col, p.x, p.y) for p in expected]


def test_ground_control_points_that_disagree_are_refused(tmp_path):
    pair = write_pair(tmp_path, *counts(16, 20, bands=3, ratio=4, seed=6))
    with_gcps(pair[0])
    with_gcps(pair[1], moved=5.0)
    with pytest.raises(UserError, match="control points do not put their corners in one place"):
        rsf.fuse_scene(*pair, tmp_path / "o.tif", method="gsa", samples=0, **QUICK)
