"""`rsfusion fuse PRODUCT OUT`: products in the layouts of their providers."""

import shutil

import numpy as np
import pytest
import rasterio
from deliveries import (
    UTM,
    write,
    write_airbus,
    write_landsat,
    write_maxar,
    write_prisma,
    write_sentinel2,
)
from scene_files import read

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import get_sensor, select_bands

QUICK = {"samples": 0, "shift": "none", "quiet": True, "overwrite": True}
FLAGS = ["--samples=0", "--shift=none", "--quiet", "--overwrite"]


def prepared(folder, pan, ms, pixels, **options):
    """What the pair gives when a user has prepared it."""
    files = [
        write(folder / name, image, pixel, left=options.pop(f"left_{name[:2]}", 600000.0),
              top=options.pop(f"top_{name[:2]}", 6400020.0), nodata=0)
        for name, image, pixel in zip(("pa.tif", "ms.tif"), (pan, ms), pixels, strict=True)
    ]  # fmt: skip
    rsf.fuse_scene(*files, folder / "prepared.tif", **options, **QUICK)
    return read(folder / "prepared.tif")[0]


@pytest.mark.parametrize("given", ["folder", "txt", "json", "tar"])
def test_landsat(tmp_path, given):
    root, ms, pan = write_landsat(tmp_path)
    out = tmp_path / "out.tif"
    product = {"folder": root}.get(given, root / f"{root.name}_MTL.{given}")
    if given == "tar":
        product = shutil.make_archive(str(tmp_path / root.name), "tar", root)
    run(["fuse", str(product), str(out), "--method=gsa", *FLAGS])
    image, known = read(out)
    place = {"left_ms": 600007.5, "top_ms": 6400012.5}
    expected = prepared(tmp_path, pan, ms[[1, 2, 3]], (15, 30), method="gsa", **place)
    assert np.array_equal(image, expected)
    assert known.descriptions == ("B2", "B3", "B4") and known.nodata == 0
    assert known.tags["RSFUSION_SENSOR"] == "landsat_oli"
    rsf.fuse_scene(product, None, out, method="gsa", bands=(5, 4, 3), **QUICK)
    assert read(out)[1].descriptions == ("B5", "B4", "B3")


@pytest.mark.parametrize(("level", "zipped"), [("2A", False), ("2A", True), ("1C", True)])
def test_sentinel2(tmp_path, level, zipped):
    product, images = write_sentinel2(tmp_path, level=level, zipped=zipped)
    out = tmp_path / "out.tif"
    run(["fuse", str(product), str(out), *FLAGS])
    for path, resolution, names in (
        (out, 20, ("B5", "B6", "B7", "B8A", "B11", "B12")),
        (tmp_path / "out_60m.tif", 60, ("B1", "B9", "B10")[: 2 + (level == "1C")]),
    ):
        image, known = read(path)
        assert known.descriptions == names and image.shape[:2] == (96, 96) and known.nodata == 0
        method = {20: "anysensor", 60: "hyper_glp"}[resolution]
        assert known.tags["RSFUSION_METHOD"] == method
        sensor = select_bands(get_sensor("sentinel2"), names)
        expected = prepared(
            tmp_path, images[10], images[resolution], (10, resolution), sensor=sensor
        )
        if method == "anysensor":  # the default of the command
            pair = [str(tmp_path / name) for name in ("pa.tif", "ms.tif", "prepared.tif")]
            run(["fuse", *pair, *FLAGS])
            expected = read(pair[2])[0]
        assert np.array_equal(image, expected)
        with rasterio.open(path) as file:
            assert float(file.tags(1)["WAVELENGTH"]) == {20: 705, 60: 443}[resolution]


def test_prisma(tmp_path):
    product, centres, cube, pan = write_prisma(tmp_path)
    out = tmp_path / "out.tif"
    run(["fuse", str(product), str(out), "--method=gsa", *FLAGS])
    image, known = read(out)
    assert image.shape == (120, 120, len(centres)) and known.crs.to_string() == UTM
    assert np.array_equal(image, prepared(tmp_path, pan, cube, (5, 30), method="gsa"))
    with rasterio.open(out) as file:
        tags = [file.tags(band) for band in file.indexes]
    assert np.allclose([float(tag["wavelength"]) for tag in tags], centres, rtol=1e-4)
    assert known.scales[0] == pytest.approx(0.64 / 65535) and known.offsets[0] == 0.01
    assert known.scales[-1] == pytest.approx(0.89 / 65535)
    assert known.tags["RSFUSION_SENSOR"] == "prisma"


@pytest.mark.parametrize("zipped", [False, True])
def test_maxar(tmp_path, zipped):
    product, ms, pan = write_maxar(tmp_path / "delivery", groups=("C", "B", "R", "N"))
    if zipped:
        product = shutil.make_archive(str(tmp_path / "delivery"), "zip", product)
    out = tmp_path / "out.tif"
    run(["fuse", str(product), str(out), "--method=mtf_glp", *FLAGS])
    image, known = read(out)
    assert known.descriptions == ("coastal", "blue", "red", "nir1")
    gains = {"bands": 4, "mtf_ms": [0.325, 0.355, 0.365, 0.335]}
    expected = prepared(tmp_path, pan, ms, (0.5, 2), method="mtf_glp", sensor=gains)
    assert np.array_equal(image, expected)


def test_airbus(tmp_path):
    product, ms, pan = write_airbus(tmp_path / "delivery")
    out = tmp_path / "out.tif"
    run(["fuse", str(product), str(out), "--method=gsa", *FLAGS])
    image, known = read(out)
    assert known.descriptions == ("red", "green", "blue", "nir")
    assert known.tags["RSFUSION_SENSOR"] == "pleiades"
    assert np.array_equal(image, prepared(tmp_path, pan, ms, (0.5, 2), method="gsa"))


def damaged(folder, pattern):
    """The folder, in which files end in the middle."""
    for path in folder.rglob(pattern):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 9])
    return folder


@pytest.mark.parametrize(
    ("product", "message"),
    [
        (lambda at: write_landsat(at, level="L2SP")[0], r"has no PAN band \(B8\)"),
        (lambda at: write_landsat(at, spacecraft="LANDSAT_7")[0], "expected LANDSAT_8"),
        (lambda at: write_landsat(at, missing=(8,))[0], "lacks band files"),
        (lambda at: [write_landsat(at, level=f"L1T{n}") for n in "PQ"] and at,
         "holds 4 Landsat products|holds 2 Landsat"),
        (lambda at: write_airbus(at, kind="PMS-N")[0], "sharpened already"),
        (lambda at: write_maxar(at)[0] / "30JUN15_P001_MUL", "0 PAN, 1 MS images of Maxar"),
        (lambda at: damaged(write_airbus(at)[0], "DIM_*_MS.XML"), "damaged or incomplete"),
        (lambda at: damaged(write_landsat(at)[0], "*_MTL.*"), "unnamed satellite|damaged"),
        (lambda at: damaged(write_sentinel2(at)[0], "MTD_MSI*.xml"), "cannot be read"),
        (lambda at: at / "no", "does not exist"),
        (lambda at: at, "no product that is known"),
        (lambda at: write(at / "a.tif", np.ones((1, 9, 9), np.uint16), 1), "no product that is"),
        (lambda at: (at / "PRS_L2D_x.he5").write_bytes(b"no") and at, "no complete PRISMA"),
    ],
)  # fmt: skip
def test_products_that_cannot_be_fused(tmp_path, product, message):
    delivery, results = tmp_path / "delivery", tmp_path / "results"
    delivery.mkdir()
    results.mkdir()
    with pytest.raises(UserError, match=message):
        rsf.fuse_scene(product(delivery), None, results / "out.tif", **QUICK)
    assert not list(results.iterdir())
