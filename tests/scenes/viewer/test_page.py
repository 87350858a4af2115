"""Pages of fused scenes: what they carry is what the files hold, in its place."""

import json
import re

import numpy as np
import pytest
import rasterio
from scene_files import read, without_georeference, write_tif
from view_scenes import carried, described, write_scene

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run


@pytest.mark.parametrize("dtype", "uint8 int16 uint32 int64 float64".split())
def test_values_are_those_of_the_files(tmp_path, dtype):
    files = write_scene(tmp_path, dtype=dtype, bands=2, size=(80, 261))
    html = rsf.view(*files).read_text()
    assert [layer["role"] for layer in described(html)["layers"]] == ["fused", "PAN", "MS"]
    for index, path in enumerate(files):
        image = read(path)[0]
        for band in range(image.shape[-1]):
            values, valid = carried(html, index, 0, band)
            assert valid.all() and values.dtype == image.dtype
            np.testing.assert_array_equal(values, image[..., band])


def test_every_bit_of_a_float_arrives(tmp_path):
    image = np.random.default_rng(3).integers(0, 2**32, (64, 60, 2), np.uint32).view(np.float32)
    html = rsf.view(write_tif(tmp_path / "a.tif", image, pixel=1.0)).read_text()
    for band in range(2):
        values, valid = carried(html, 0, 0, band)
        np.testing.assert_array_equal(values.view(np.uint32), image[..., band].view(np.uint32))
        np.testing.assert_array_equal(valid, np.isfinite(image[..., band]))


def test_layers_lie_where_their_geotransforms_say(tmp_path):
    scene = described(rsf.view(*write_scene(tmp_path)).read_text())
    fused, pan, ms = scene["layers"]
    assert (fused["scale"], fused["offset"]) == ([1, 1], [0, 0])
    np.testing.assert_allclose([*pan["scale"], *pan["offset"]], [1, 1, -8, -4], atol=1e-6)
    np.testing.assert_allclose([*ms["scale"], *ms["offset"]], [4, 4, 1, 2], atol=1e-6)
    assert scene["metresPerPixel"] == 0.5 and scene["system"] == "EPSG:32642"


def test_levels_are_means_of_valid_pixels(tmp_path):
    image = np.random.default_rng(0).random((512, 512, 1)).astype(np.float32) + 1
    image[:256, :256] = 0
    path = write_tif(tmp_path / "a.tif", image, pixel=1.0, nodata=0)
    html = rsf.view(path, limit=0.9).read_text()
    (layer,) = described(html)["layers"]
    assert (layer["finest"], layer["levels"]) == (1, 2)
    values, valid = carried(html, 0, 1, 0)
    means = image[..., 0].reshape(256, 2, 256, 2).mean((1, 3))
    np.testing.assert_allclose(values[valid], means[valid], rtol=1e-6)
    assert not valid[:128, :128].any() and valid[128:].all()
    assert "tile/0/0/" not in html


def test_a_mask_and_an_alpha_band_say_what_is_valid(tmp_path):
    image = np.full((40, 50, 2), 7, np.uint8)
    mask = np.ones((40, 50), bool)
    mask[:10] = False
    plain = write_tif(tmp_path / "masked.tif", image, pixel=1.0)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(plain, "r+") as file:
        file.write_mask(mask)
    image[..., 1] = 255 * mask
    alpha = write_tif(tmp_path / "alpha.tif", image, pixel=1.0, alpha="yes")
    html = rsf.view(plain, alpha).read_text()
    assert [len(layer["names"]) for layer in described(html)["layers"]] == [2, 1]
    for index in (0, 1):
        np.testing.assert_array_equal(carried(html, index, 0, 0)[1], mask)


def test_files_without_georeference_lie_by_their_sizes(tmp_path):
    files = write_scene(tmp_path, crs=None, transform=rasterio.Affine.identity())
    with without_georeference():
        scene = described(rsf.view(*files).read_text())
    assert scene["transform"] is scene["metresPerPixel"] is scene["system"] is None
    assert scene["layers"][2]["scale"] == [4.0, 270 / 67]
    assert any("ms.tif: placed by its size" in notice for notice in scene["notices"])


def test_another_coordinate_system_is_brought_to_the_scenes_grid(tmp_path):
    out = write_tif(tmp_path / "out.tif", np.ones((60, 60, 1), np.uint16), pixel=10.0)
    with rasterio.open(out) as file:
        bounds = rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    image = np.arange(1, 1601, dtype=np.uint16).reshape(40, 40, 1)
    grid = rasterio.transform.from_bounds(*bounds, 40, 40)
    other = write_tif(tmp_path / "ll.tif", image, pixel=1, crs="EPSG:4326", transform=grid)
    html = rsf.view(out, other).read_text()
    assert any("nearest neighbours" in notice for notice in described(html)["notices"])
    values, valid = carried(html, 1, 0, 0)
    assert valid.mean() > 0.9 and {*values[valid]} <= {*image.ravel()}


def test_the_page_tells_of_the_run(tmp_path):
    out, pan, ms = write_scene(tmp_path)
    figures = {"r_ergas": 1.5, "d_rho": 0.2, "d_rho_exp": 0.5, "valid": 0.75, "clipped": 0.9}
    figures |= {"mean": [100.0, None], "mean_drift": [50.0, None]}
    with rasterio.open(out, "r+") as file:
        file.update_tags(RSFUSION_METHOD="gsa</script>", RSFUSION_FIGURES=json.dumps(figures))
        file.update_tags(RSFUSION_INPUTS=json.dumps({"PAN": "pan.tif", "MS": "ms.tif"}))
    report = tmp_path / "r.json"
    report.write_text(json.dumps({"mean": {"fused": {"HQNR": 0.9}, "EXP": {"HQNR": 0.8}}}))
    html = rsf.view(out, ms, pan, report=report).read_text()
    scene = described(html)
    assert [layer["role"] for layer in scene["layers"]] == ["fused", "MS", "PAN"]
    facts = dict(scene["facts"])
    assert facts["method"] == "gsa</script>" and facts["R-ERGAS"] == "1.5"
    assert facts["valid pixels"] == "75.00%" and facts["mean drift per band"] == "50, none"
    assert "90% of the values lie beyond" in scene["notices"][0]
    assert "the mean of band 1 moved by +50" in scene["notices"][1]
    assert scene["report"]["EXP"] == {"HQNR": "0.8000"}


def test_half_widths_and_deviations_are_known_by_their_tags(tmp_path):
    out, pan, ms = write_scene(tmp_path, size=(40, 40))
    beside = []
    for name, tag in {"a": "RSFUSION_INTERVAL", "b": "RSFUSION_DRAWS", "c": "OTHER"}.items():
        image = np.ones((40, 40, 4), np.float32)
        beside.append(write_tif(tmp_path / f"{name}.tif", image, pixel=0.5))
        with rasterio.open(beside[-1], "r+") as file:
            file.update_tags(**{tag: "90"})
    scene = described(rsf.view(out, pan, ms, *beside).read_text())
    titles = [layer["title"] for layer in scene["layers"][3:]]
    assert titles == ["half width: a.tif", "deviation: b.tif", "c.tif"]


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_scene(tmp_path)
    run(["view", "out.tif", "-o", "page.html", "pan.tif", "ms.tif"])
    assert "page.html: open it in a browser" in capsys.readouterr().out
    html = (tmp_path / "page.html").read_text()
    assert "Leaflet 1.9.4" in html and "BSD 2-Clause License" in html
    assert not [word for word in ('src="', "<link", "@import") if word in html]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.tif", "no.tif"], r"no.tif does not exist"),
        (["out.tif", "far.tif"], r"far.tif lies elsewhere than .*out.tif"),
        (["out.tif", "complex.tif"], r"complex64"),
        (["out.tif", "-o", "page.png"], r"page.png must end with .html"),
        (["out.tif", "-o", "no/page.html"], r"its folder does not exist"),
        (["out.tif", "-o", "there.html"], r"there.html exists already"),
        (["out.tif", "--limit=0"], r"--limit=0 must lie between"),
        (["out.tif", "--limit=0.00001"], r"give a larger --limit, or --serve"),
        (["out.tif", "--report=no.json"], r"no.json does not exist"),
        (["out.tif", "--report=there.html"], r"there.html is no report"),
        (["out.tif", "--port=1"], r"--port is of --serve"),
        (["out.tif", "--serve", "--limit=3"], r"of a page, not --serve"),
        (["out.tif", "--serve", "--port=99999"], r"--port=99999 cannot be used"),
        (["cut.tif"], r"cut.tif cannot be read as an image"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    out, *_ = write_scene(tmp_path)
    image = np.ones((20, 20, 1), np.uint16)
    write_tif(tmp_path / "far.tif", image, pixel=0.5, origin=(5000, 0))
    write_tif(tmp_path / "complex.tif", image.astype(np.complex64), pixel=0.5)
    (tmp_path / "cut.tif").write_bytes(out.read_bytes()[:4000])
    (tmp_path / "there.html").write_text("a page")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as ended:
        run(["view", *arguments])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert re.search(message, said)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.html").read_text() == "a page"
