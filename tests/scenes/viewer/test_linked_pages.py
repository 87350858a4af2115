"""Pages that fuse and evaluate write with `--view`, and the reports that name them."""

import json

import h5py
import numpy as np
import pytest
from adaptation_scenes import scene
from scene_files import counts, left_behind, read, write_pair
from view_scenes import carried, described

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError

QUICK = {"method": "gsa", "shift": "none", "samples": 1, "quiet": True}


def test_a_fused_scene_with_its_page(tmp_path, monkeypatch):
    """PAN, MS and half widths as the files hold them, the indices, and a report that names it."""
    write_pair(tmp_path, *scene(48, 48))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "look").mkdir()
    interval = ["--interval", "70", "error.tif"]
    report = ["--report=out.json", "--view=look/out.html"]
    argv = ["fuse", "pan.tif", "ms.tif", "out.tif", "--method=gsa", "--samples=1", "--quiet"]
    run([*argv, *interval, *report])
    page = json.loads((tmp_path / "out.json").read_text())["page"]
    assert page == "look/out.html"
    html = (tmp_path / page).read_text()
    told = described(html)
    roles = [layer["role"] for layer in told["layers"]]
    assert roles == ["fused", "PAN", "MS", "half width"]
    assert told["layers"][3]["title"] == "half width: error.tif"
    for index, name in enumerate(("out.tif", "pan.tif", "ms.tif", "error.tif")):
        values, _ = carried(html, index, 0, 0)
        np.testing.assert_array_equal(values, read(name)[0][..., 0])
    means = json.loads((tmp_path / "out.json").read_text())["mean"]
    assert told["report"]["fused"]["D_rho"] == f"{means['fused']['D_rho']:.4f}"


def test_a_page_of_some_bands(tmp_path):
    """MS has the bands of the scene, in its order; without a report there are no indices."""
    pair = write_pair(tmp_path, *counts(16, 16))
    out, page = tmp_path / "out.tif", tmp_path / "out.html"
    rsf.fuse_scene(*pair, out, bands=(4, 2), view=page, **QUICK)
    html = page.read_text()
    told = described(html)
    assert [len(layer["names"]) for layer in told["layers"]] == [2, 1, 2]
    assert told["report"] == {} and told["layers"][2]["title"] == "MS: ms.tif"
    np.testing.assert_array_equal(carried(html, 2, 0, 0)[0], read(pair[1])[0][..., 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"view": "page.png"}, r"page\.png must end with \.html"),
        ({"view": "there.html"}, r"there\.html exists already"),
        ({"view": "no/page.html"}, "its folder does not exist"),
        ({"view": "same.html", "report": "same.html"}, "is named for two outputs"),
        ({"view": "ms.tif", "overwrite": True}, "is one of the inputs"),
    ],
)
def test_names_are_checked_before_the_first_pixel(tmp_path, monkeypatch, options, message):
    write_pair(tmp_path, *counts(12, 12))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(UserError, match=message):
        rsf.fuse_scene("pan.tif", "ms.tif", "out.tif", **QUICK, **options)
    assert left_behind(tmp_path) == ["ms.tif", "pan.tif", "there.html"]
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_failed_page_is_not_named(tmp_path, monkeypatch):
    """The scene and the report stay."""
    from rsfusion_jax.scenes.viewer import show

    def fails(*_):
        raise UserError("no room")

    pair = write_pair(tmp_path, *counts(16, 16))
    monkeypatch.setattr(show, "write_page", fails)
    beside = {"view": tmp_path / "o.html", "report": tmp_path / "o.json"}
    with pytest.raises(UserError, match=r"o\.tif is written, but .*o\.html is not \(no room\)"):
        rsf.fuse_scene(*pair, tmp_path / "o.tif", **QUICK, **beside)
    assert left_behind(tmp_path) == ["ms.tif", "o.json", "o.tif", "pan.tif"]
    assert "page" not in json.loads((tmp_path / "o.json").read_text())


def test_pages_of_an_evaluation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    with h5py.File("set.h5", "w") as file:
        for key, (bands, side) in dict(gt=(4, 32), ms=(4, 8), pan=(1, 32)).items():
            file[key] = draw.integers(1, 900, (2, bands, side, side)).astype(np.float32)
        truth = file["gt"][1]
    argv = ["evaluate", "--methods=gsa", "--data=set.h5", "--sensor=qb", "--view", "--out=scores"]
    run(argv)
    assert "open scores/view_0.html in a browser" in capsys.readouterr().out
    report = json.loads((tmp_path / "scores" / "report.json").read_text())
    assert report["pages"] == ["view_0.html", "view_1.html"]
    html = (tmp_path / "scores" / "view_1.html").read_text()
    told = described(html)
    assert [layer["title"] for layer in told["layers"]] == ["ground truth", "EXP", "GSA", "PAN"]
    assert told["name"] == "set.h5: image 1"
    assert told["layers"][2]["names"] == ["blue", "green", "red", "nir"]
    np.testing.assert_allclose(carried(html, 0, 0, 2)[0], truth[2], rtol=1e-6)
    rows = (tmp_path / "scores" / "report.csv").read_text().splitlines()
    header, last = rows[0].split(","), rows[-1].split(",")
    assert last[:2] == ["GSA", "1"]
    ergas = float(last[header.index("ERGAS")])
    assert float(told["report"]["GSA"]["ERGAS"]) == pytest.approx(ergas, abs=1e-4)
    (tmp_path / "scores" / "report.json").unlink()
    with pytest.raises(SystemExit):
        run(argv)
    assert "view_0.html exists already" in capsys.readouterr().err
