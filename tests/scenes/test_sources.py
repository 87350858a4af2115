"""Images as they come: one file per band, archives, subdatasets, the web, virtual datasets."""

import zipfile

import h5py
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from range_server import serve
from scene_files import counts, read, write_pair, write_tif

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.source import find_source

QUICK = {"samples": 0, "shift": "none", "quiet": True, "overwrite": True}


@pytest.fixture
def pair(tmp_path):
    """PAN of 72 x 60 and MS of three bands, related by their geotransforms at ratio 3."""
    pan, ms = counts(24, 20, bands=3, ratio=3, seed=5)
    return write_pair(tmp_path, pan, ms, ratio=3, offset=(1, 1))


@pytest.fixture
def expected(pair, tmp_path):
    rsf.fuse_scene(*pair, tmp_path / "expected.tif", method="gsa", **QUICK)
    return read(tmp_path / "expected.tif")[0]


def one_per_band(folder, ms, names, **profile):
    image, known = read(ms)
    options = {"pixel": 1, "transform": known.transform, **profile}
    return [
        write_tif(folder / name, image[..., [band]], **options) for band, name in enumerate(names)
    ]


def test_one_file_per_band(pair, expected, tmp_path):
    names = ("X_20300101_B7.TIF", "X_20300101_B5.TIF", "X_20300101_B2.TIF")
    files = one_per_band(tmp_path, pair[1], names)
    out = tmp_path / "o.tif"
    run(["fuse", str(pair[0]), *map(str, files), str(out), "--method=gsa", "--quiet", "--samples=0",
         "--shift=none"])  # fmt: skip
    image, known = read(out)
    assert np.array_equal(image, expected) and known.descriptions == ("B7", "B5", "B2")
    rsf.fuse_scene(pair[0], [files[2], files[0]], out, method="gsa", **QUICK)
    assert read(out)[1].descriptions == ("B2", "B7")


def test_types_are_widened_and_nodata_is_each_files_own(tmp_path, pair):
    first, second = one_per_band(tmp_path, pair[1], ("a.tif", "b.tif"), nodata=7)
    image, known = read(second)
    image = image.astype(np.float32)
    image[4, 5] = -9
    write_tif(second, image, pixel=1, transform=known.transform, nodata=-9)
    rsf.fuse_scene(pair[0], [first, second], tmp_path / "o.tif", method="exp", **QUICK)
    fused, known = read(tmp_path / "o.tif")
    assert known.dtypes == ("float32", "float32") and known.nodata == 7
    assert (fused == 7).all(axis=-1).sum() > 4 and (fused != 7).all(axis=-1).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (23, 20)}, "need one grid"),
        ({"shift": 2.0}, "lies elsewhere"),
        ({"crs": "EPSG:32643"}, "lies elsewhere"),
        ({"mask": True}, "gdalbuildvrt -separate"),
        ({"twice": True}, "is given twice"),
    ],
)
def test_files_of_different_grids_are_refused(tmp_path, pair, change, message):
    first, second = one_per_band(tmp_path, pair[1], ("a.tif", "b.tif"))
    image, known = read(second)
    if "size" in change:
        image = image[: change["size"][0]]
    transform = rasterio.Affine.translation(change.get("shift", 0), 0) @ known.transform
    crs = change.get("crs", known.crs)
    write_tif(second, image, pixel=1, transform=transform, crs=crs)
    if "mask" in change:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(second, "r+") as file:
            file.write_mask(np.ones(image.shape[:2], bool))
    files = [first, first if "twice" in change else second]
    with pytest.raises(UserError, match=message):
        rsf.fuse_scene(pair[0], files, tmp_path / "o.tif", method="gsa", **QUICK)
    assert not (tmp_path / "o.tif").exists()


def test_archives_subdatasets_and_virtual_datasets(pair, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("both.zip", "w") as archive:
        for path in pair:
            archive.write(path, f"in/{path.name}")
    image = read(pair[1])[0]
    with h5py.File("cube.h5", "w") as file:
        file["a/ms"] = np.moveaxis(image, -1, 0)
    for driver, name in (("ENVI", "ms.img"), ("VRT", "ms.vrt"), ("NetCDF", "ms.nc")):
        rasterio.shutil.copy(pair[1], name, driver=driver)
    profile = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"}
    rasterio.shutil.copy(pair[1], "ms.jp2", **profile)
    for pan, ms in (
        ("/vsizip/both.zip/in/pan.tif", "zip://both.zip!in/ms.tif"),
        (pair[0], "ms.img"),
        (pair[0], "ms.vrt"),
        (pair[0], "ms.jp2"),
    ):
        rsf.fuse_scene(pan, ms, "o.tif", method="gsa", **QUICK)
        assert np.array_equal(read("o.tif")[0], expected)
    bare, nowhere = tmp_path / "bare.tif", rasterio.Affine.identity()
    write_tif(bare, read(pair[0])[0], pixel=1, transform=nowhere, crs=None)
    rsf.fuse_scene(bare, "HDF5:cube.h5://a/ms", "o.tif", method="gsa", grid=(1, 1), **QUICK)
    assert np.abs(read("o.tif")[0].astype(float) - expected).mean() < 1
    with pytest.raises(UserError, match=r"subdatasets; give one of them as MS, such as netcdf:"):
        rsf.fuse_scene(pair[0], "ms.nc", "o.tif", method="gsa", **QUICK)


def test_the_web_sends_what_is_needed(pair, tmp_path):
    rng = np.random.default_rng(0)
    large = rng.integers(0, 250, (2048, 2048, 1), dtype=np.uint8)
    write_tif(tmp_path / "plain.tif", large, pixel=1.0)
    rasterio.shutil.copy(tmp_path / "plain.tif", tmp_path / "large.tif", driver="COG")
    size = (tmp_path / "large.tif").stat().st_size
    ms = rng.integers(100, 900, (16, 16, 2), dtype=np.uint16)
    write_tif(tmp_path / "few.tif", ms, pixel=4.0, origin=(400, 300))
    with serve(tmp_path) as (address, sent):
        names = f"{address}/large.tif", f"/vsicurl/{address}/few.tif"
        rsf.fuse_scene(*names, tmp_path / "o.tif", method="gsa", **QUICK)
        assert read(tmp_path / "o.tif")[0].shape == (64, 64, 2)
        assert 0 < sent("/large.tif") < 0.7 * size
        with pytest.raises(UserError, match=r"none\.tif cannot be read .* can be reached"):
            rsf.fuse_scene(f"{address}/none.tif", pair[1], tmp_path / "p.tif", **QUICK)


def test_an_input_is_found_behind_any_name(pair, tmp_path):
    """So that no output overwrites it, and a changed one is not taken for the same."""
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive:
        archive.write(pair[1], "ms.tif")
    for name in (f"/vsizip/{tmp_path}/both.zip/ms.tif", f"zip://{tmp_path}/both.zip!ms.tif"):
        assert find_source(name, "MS").on_disk == [tmp_path / "both.zip"]
    source = find_source(pair[1], "MS")
    assert source.on_disk == [pair[1]] and source.marks[0] == "ms.tif"
    assert find_source("https://example.org/a.tif", "MS").on_disk == []
    with pytest.raises(UserError, match="one of the inputs"):
        rsf.fuse_scene(*pair, pair[1], method="gsa", **QUICK)


def test_tags_of_bands_follow_them(pair, tmp_path):
    with rasterio.open(pair[1], "r+") as file:
        for band, centre in enumerate((0.49, 0.56, 0.665), start=1):
            file.update_tags(band, wavelength=str(centre), wavelength_units="micrometers")
            file.update_tags(band, STATISTICS_MEAN="1")
    rsf.fuse_scene(*pair, tmp_path / "o.tif", method="gsa", bands=(3, 1), **QUICK)
    with rasterio.open(tmp_path / "o.tif") as file:
        assert [file.tags(band)["wavelength"] for band in (1, 2)] == ["0.665", "0.49"]
        assert "STATISTICS_MEAN" not in file.tags(1)


def test_an_enlarged_ms_is_brought_back(pair, expected, tmp_path):
    image, known = read(pair[1])
    large = np.repeat(np.repeat(image, 3, 0), 3, 1)
    transform = known.transform @ rasterio.Affine.scale(1 / 3)
    enlarged = write_tif(tmp_path / "large.tif", large, pixel=1, transform=transform)
    result = rsf.fuse_scene(pair[0], enlarged, tmp_path / "o.tif", method="gsa", ratio=3, **QUICK)
    assert np.array_equal(read(tmp_path / "o.tif")[0], expected)
    assert not any("--ratio" in notice for notice in result.notices)
    with pytest.raises(UserError, match="was enlarged by 3 before; give --ratio=3"):
        rsf.fuse_scene(pair[0], enlarged, tmp_path / "o.tif", method="gsa", **QUICK)
    large[: large.shape[0] // 2] = 0
    write_tif(enlarged, large, pixel=1, transform=transform, nodata=0)
    rsf.fuse_scene(pair[0], enlarged, tmp_path / "o.tif", method="exp", ratio=3, **QUICK)
    half = read(tmp_path / "o.tif")[0]
    assert (half[:30] == 0).all() and (half[45:] > 0).all()
    for ratio, message in ((1, "at least 2"), (500, "smaller than 500x500")):
        with pytest.raises(UserError, match=message):
            rsf.fuse_scene(pair[0], enlarged, tmp_path / "o.tif", ratio=ratio, **QUICK)
