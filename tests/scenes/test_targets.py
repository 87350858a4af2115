"""Outputs never name an input, each other or, unasked, a file that exists."""

import pytest
import rasterio.shutil
from scene_files import counts, left_behind, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run

OPTIONS = {"method": "brovey", "samples": 0, "shift": "none", "quiet": True}


@pytest.mark.parametrize("extra", ["quicklook", "report"])
@pytest.mark.parametrize("name", ["pan.tif", "ms.tif", "out.tif", "link", "there"])
def test_an_extra_output_destroys_nothing(tmp_path, extra, name):
    pair = write_pair(tmp_path, *counts(12, 20))
    (tmp_path / "there").write_text("precious")
    (tmp_path / "link").symlink_to("nowhere")
    before = {path.name: path.read_bytes() for path in pair}
    options = OPTIONS | {extra: tmp_path / name}
    with pytest.raises(rsf.UserError, match=r"one of the inputs|two outputs|exists already"):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", **options)
    assert {path.name: path.read_bytes() for path in pair} == before
    assert (tmp_path / "there").read_text() == "precious"
    assert sorted(left_behind(tmp_path)) == ["link", "ms.tif", "pan.tif", "there"]


def test_an_output_is_no_part_of_a_virtual_input(tmp_path):
    pan, ms = write_pair(tmp_path, *counts(12, 20))
    for source, name in ((pan, "a.vrt"), (tmp_path / "a.vrt", "b.vrt")):
        rasterio.shutil.copy(source, tmp_path / name, driver="VRT")
    before = pan.read_bytes()
    with pytest.raises(rsf.UserError, match=r"pan\.tif is one of the inputs"):
        rsf.fuse_scene(tmp_path / "b.vrt", ms, pan, overwrite=True, **OPTIONS)
    assert pan.read_bytes() == before


def test_one_file_under_two_names(tmp_path):
    pair = write_pair(tmp_path, *counts(12, 20))
    (tmp_path / "here").symlink_to(".")
    for name in ("out.tif", "out.json"):
        options = OPTIONS | {"report": tmp_path / "here" / name}
        match = "named for two outputs" if name == "out.tif" else "out.json is one of the inputs"
        (tmp_path / "out.json").write_text('{"bands": 4, "mtf_ms": 0.3}')
        options |= {"sensor": str(tmp_path / "out.json"), "overwrite": True}
        with pytest.raises(rsf.UserError, match=match):
            rsf.fuse_scene(*pair, tmp_path / "out.tif", **options)
    assert (tmp_path / "out.json").read_text().startswith("{")
    with pytest.raises(rsf.UserError, match=r"out\.txt must end with \.json"):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", report=tmp_path / "out.txt", **OPTIONS)


@pytest.mark.parametrize(
    ("suffix", "content", "what"),
    [
        (".msk", b"", "mask"),
        (".ovr", b"", "overviews"),
        (".aux.xml", b"<PAMDataset><GeoTransform> 0", "georeference"),
        (".aux.xml", b"<PAMDataset><PAMRasterBand><Metadata><MDI>1", None),
    ],
)
def test_parts_of_a_former_image_are_not_taken_for_its_own(tmp_path, suffix, content, what):
    pair = write_pair(tmp_path, *counts(12, 20))
    (tmp_path / f"out.tif{suffix}").write_bytes(content)
    if what is None:
        rsf.fuse_scene(*pair, tmp_path / "out.tif", **OPTIONS)
        return
    with pytest.raises(rsf.UserError, match=rf"out\.tif\{suffix} is left of .* for the {what}"):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", **OPTIONS)
    assert sorted(left_behind(tmp_path)) == ["ms.tif", f"out.tif{suffix}", "pan.tif"]


def test_overwriting_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    pair = write_pair(tmp_path, *counts(12, 20))
    (tmp_path / "there").write_text("precious")
    (tmp_path / "report.json").symlink_to("there")
    report = tmp_path / "report.json"
    rsf.fuse_scene(*pair, tmp_path / "out.tif", overwrite=True, report=report, **OPTIONS)
    assert (tmp_path / "there").read_text() == "precious"
    assert not report.is_symlink() and report.read_text().startswith("{")


@pytest.mark.parametrize(
    "option", [{"max_value": 500.0}, {"tile": 64}, {"overlap": 16}, {"rgb": (1, 2, 3)}]
)
def test_options_that_would_be_ignored_are_refused(tmp_path, option):
    pair = write_pair(tmp_path, *counts(12, 20))
    (name,) = option
    with pytest.raises(rsf.UserError, match=f"--{name.replace('_', '-')}="):
        rsf.fuse_scene(*pair, tmp_path / "out.tif", **OPTIONS, **option)
    assert sorted(left_behind(tmp_path)) == ["ms.tif", "pan.tif"]


@pytest.mark.parametrize("name", ["n" * 230 + ".tif", "\udcfe\udcff.tif"])
def test_names_that_cannot_be(tmp_path, name):
    pair = write_pair(tmp_path, *counts(12, 20))
    with pytest.raises(rsf.UserError, match=r"bytes; choose one|is not UTF-8; rename"):
        rsf.fuse_scene(*pair, tmp_path / name, **OPTIONS)
    with pytest.raises(rsf.UserError, match=r"File name too long|does not exist|is not UTF-8"):
        rsf.fuse_scene(tmp_path / name, pair[1], tmp_path / "out.tif", **OPTIONS)
    assert sorted(left_behind(tmp_path)) == ["ms.tif", "pan.tif"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"samples": -1}, "--samples=-1 must be at least 0"),
        ({"method": ""}, "--method= is empty"),
        ({"sensor": ""}, "--sensor= is empty"),
        ({"quicklook": "q.jpg"}, "must end with .png"),
    ],
)
def test_values_that_mean_nothing(tmp_path, monkeypatch, option, words):
    monkeypatch.chdir(tmp_path)
    pair = write_pair(tmp_path, *counts(12, 20))
    with pytest.raises(rsf.UserError, match=words):
        rsf.fuse_scene(*pair, "out.tif", **OPTIONS | option)
    with pytest.raises(rsf.UserError, match="as PAN and as MS"):
        rsf.fuse_scene(pair[0], pair[0], "out.tif", **OPTIONS)
    assert sorted(left_behind(tmp_path)) == ["ms.tif", "pan.tif"]


def test_a_pan_within_one_ms_pixel(tmp_path):
    pan, ms = counts(6, 6)
    _, coarse = write_pair(tmp_path, pan, ms)
    fine = write_tif(tmp_path / "dot.tif", pan[:1, :1], pixel=0.5)
    with pytest.raises(rsf.UserError, match="no whole MS pixel in common"):
        rsf.fuse_scene(fine, coarse, tmp_path / "out.tif", **OPTIONS | {"method": "gsa"})
    assert sorted(left_behind(tmp_path)) == ["dot.tif", "ms.tif", "pan.tif"]


def test_an_output_is_no_file_of_the_weights(tmp_path, capsys):
    pair = write_pair(tmp_path, *counts(12, 20))
    weights = tmp_path / "weights"
    rsf.save_pretrained(rsf.load_default(4), weights)
    (weights / "old.json").write_text("{}")
    before = {path.name: path.read_bytes() for path in weights.iterdir()}
    out = tmp_path / "out.tif"
    asked = ["fuse", *map(str, (*pair, out)), f"--weights={weights}", "--overwrite"]
    for name in ("config.json", "old.json"):
        with pytest.raises(SystemExit) as ended:
            run([*asked, f"--report={weights / name}"])
        assert ended.value.code == 2
        assert f"{name} belongs to the weights" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in weights.iterdir()} == before
    assert not out.exists()
