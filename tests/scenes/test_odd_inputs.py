"""Bad and odd inputs as deliveries and hands leave them: a right image, or one sentence each."""

import functools
import shutil

import numpy as np
import pytest
import rasterio
from rasterio import CRS, Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS as System
from rasterio.rpc import RPC
from scene_files import CORNER, counts, left_behind, read, without_georeference, write_tif

from rsfusion_jax.cli.main import run

FLAGS = ["--method=exp", "--shift=none", "--samples=0", "--quiet"]
UTM = "EPSG:32642"
HEIGHTS = "EPSG:32642+5773"
PAN_GRID = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])
MS_GRID = Affine(2, 0, CORNER[0], 0, -2, CORNER[1])


@functools.cache
def images():
    """PAN (96, 96, 1) and MS (24, 24, 3), uint16."""
    return counts(24, 24, bands=3)


def pair(folder, pan=None, ms=None, *, of_pan=None, of_ms=None, **both):
    """Two files; `of_pan` and `of_ms` are more of rasterio's profile."""
    images_of = [
        image if other is None else other for image, other in zip(images(), (pan, ms), strict=True)
    ]
    return [
        write_tif(folder / f"{name}.tif", image, pixel=pixel, **both | (more or {}))
        for name, image, pixel, more in zip(
            ("pan", "ms"), images_of, (0.5, 2), (of_pan, of_ms), strict=True
        )
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the plain pair becomes: (96, 96, 3)."""
    folder = tmp_path_factory.mktemp("plain")
    run(["fuse", *map(str, pair(folder)), str(folder / "o.tif"), *FLAGS])
    return read(folder / "o.tif")[0]


def same(image, known, plain):
    np.testing.assert_array_equal(image, plain)


def changed(path, change):
    with without_georeference(), rasterio.open(path, "r+") as file:
        change(file)


def compound(folder, of_pan, of_ms):
    return pair(folder, of_pan={"crs": of_pan}, of_ms={"crs": of_ms})


def has_heights(image, known, plain):
    same(image, known, plain)
    assert System.from_wkt(known.profile["crs"].to_wkt()) == System.from_user_input(HEIGHTS)


def south_up(folder):
    grids = (PAN_GRID @ Affine.scale(1, -1), MS_GRID @ Affine.scale(1, -1))
    return pair(
        folder,
        *(image[::-1] for image in images()),
        of_pan={"transform": grids[0]},
        of_ms={"transform": grids[1]},
    )


def is_south_up(image, known, plain):
    np.testing.assert_allclose(image[::-1].astype(float), plain, atol=1)
    assert known.transform.e > 0


def turned(folder):
    turn = Affine.rotation(30)
    return pair(folder, of_pan={"transform": turn @ PAN_GRID}, of_ms={"transform": turn @ MS_GRID})


RPCS = RPC(
    err_bias=1.0, err_rand=1.0, height_off=10.0, height_scale=500.0, lat_off=38.0, lat_scale=0.1,
    line_den_coeff=[1.0] + 19 * [0.0], line_num_coeff=[0.0, 0.0, -1.0] + 17 * [0.0],
    line_off=48.0, line_scale=48.0, long_off=69.0, long_scale=0.1,
    samp_den_coeff=[1.0] + 19 * [0.0], samp_num_coeff=[0.0, 1.0] + 18 * [0.0],
    samp_off=48.0, samp_scale=48.0,
)  # fmt: skip


def with_rpcs(folder, grids=True):
    more = {} if grids else {"transform": Affine.identity(), "crs": None}
    files = pair(folder, **more)
    for path in files:
        changed(path, lambda file: setattr(file, "rpcs", RPCS))
    return files


def has_rpcs(image, known, plain):
    same(image, known, plain)
    assert known.rpcs.line_off == RPCS.line_off and known.transform == PAN_GRID


def gcps_beside_grid(folder):
    files = pair(folder, of_pan={"transform": Affine.identity(), "crs": None})
    points = [
        GroundControlPoint(row, column, CORNER[0] + column / 2, CORNER[1] - row / 2)
        for row in (0, 96)
        for column in (0, 96)
    ]
    with without_georeference(), rasterio.open(files[0], "r+") as file:
        file.gcps = points, CRS.from_string(UTM)
    return files


def with_colour_table(folder):
    files = pair(folder, ms=(images()[1][..., :1] % 7).astype(np.uint8))
    changed(files[1], lambda file: file.write_colormap(1, {i: (i, i, i, 255) for i in range(7)}))
    return files


def as_pictures(folder):
    files = []
    for name, image in zip(("pan", "ms"), images(), strict=True):
        image = (image // 8).astype(np.uint8)
        files.append(
            write_tif(folder / f"{name}.png", image, pixel=1, driver="PNG", crs=None,
                      transform=Affine.identity())
        )  # fmt: skip
    return files


def is_picture(image, known, plain):
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image * 8.0, plain, atol=20)


def with_mask(folder):
    files = pair(folder)
    mask = np.full((24, 24), 255, np.uint8)
    mask[:6] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        changed(files[1], lambda file: file.write_mask(mask))
    return files


def has_mask(image, known, plain):
    assert known.nodata is None and (image[:20] == 0).all()
    np.testing.assert_array_equal(image[60:], plain[60:])


def scaled(folder):
    files = pair(folder, of_ms={"nodata": 0})

    def state(file):
        file.scales, file.offsets = [1e-4] * 3, [-0.1] * 3

    changed(files[1], state)
    return files


def is_scaled(image, known, plain):
    same(image, known, plain)
    assert known.scales == (1e-4,) * 3 and known.offsets == (-0.1,) * 3 and known.nodata == 0


def sparse(folder):
    """PAN of which whole tiles were never written."""
    pan = images()[0].copy()
    pan[:32, :32] = 0
    return pair(folder, pan, of_pan={"nodata": 0, "tiled": True, "blockxsize": 32,
                                     "blockysize": 32, "SPARSE_OK": True})  # fmt: skip


def has_hole(image, known, plain):
    assert (image[:32, :32] == 0).all()
    np.testing.assert_array_equal(image[32:], plain[32:])


def of_type(dtype, factor=1):
    return lambda folder: pair(folder, ms=images()[1].astype(dtype) * dtype(factor))


def as_type(dtype, factor=1):
    def check(image, known, plain):
        assert image.dtype == dtype
        np.testing.assert_allclose(image / factor, plain, atol=1)

    return check


def odd_names(folder):
    files = pair(folder)
    return [
        shutil.move(path, folder / name)
        for path, name in zip(files, ("Überblick pan 1.tif", "été, (2) ms.TIFF"), strict=True)
    ]


def degrees(folder):
    grids = Affine(1e-5, 0, 70, 0, -1e-5, 38), Affine(4e-5, 0, 70, 0, -4e-5, 38)
    return pair(
        folder, crs="EPSG:4326", of_pan={"transform": grids[0]}, of_ms={"transform": grids[1]}
    )


def impossible_nodata(folder):
    files = pair(folder)
    with rasterio.open(files[1]) as file:
        rasterio.shutil.copy(file, folder / "ms.vrt", driver="VRT")
    text = (folder / "ms.vrt").read_text()
    text = text.replace("<ColorInterp>", "<NoDataValue>-9999</NoDataValue><ColorInterp>")
    (folder / "ms.vrt").write_text(text)
    return [files[0], folder / "ms.vrt"]


def unequal_sides(folder):
    """MS pixels of 4 x 2 PAN pixels: every other row of an MS of ratio 2."""
    return pair(folder, ms=np.repeat(images()[1], 2, axis=1),
                of_ms={"transform": MS_GRID @ Affine.scale(0.5, 1)})  # fmt: skip


def is_like(image, known, plain):
    assert image.shape == plain.shape and known.transform == PAN_GRID
    assert np.corrcoef(image.ravel(), plain.ravel())[0, 1] > 0.9


def constant(folder):
    return pair(folder, ms=np.full_like(images()[1], 700))


def is_constant(image, known, plain):
    assert (image == 700).all()


def file_of(text):
    def make(folder):
        files = pair(folder)
        files[1].write_text(text)
        return files

    return make


def folder_without_product(folder):
    (folder / "empty").mkdir()
    return [folder / "empty"]


def infinite(folder):
    ms = images()[1].astype(np.float32)
    ms[3:5, 3:5] = np.inf
    return pair(folder, ms=ms)


def has_no_infinity(image, known, plain):
    assert np.isnan(image[14:18, 14:18]).all()
    np.testing.assert_allclose(image[60:], plain[60:], atol=0.51)


def lowest_float(folder):
    low = float(np.finfo(np.float32).min)
    ms = images()[1].astype(np.float32)
    ms[:6] = low
    return pair(folder, ms=ms, of_ms={"nodata": low})


def has_lowest(image, known, plain):
    assert known.nodata == pytest.approx(-3.4028235e38) and (image[:20] < -1e38).all()
    np.testing.assert_allclose(image[60:], plain[60:], atol=0.51)


def enlarged(folder):
    return pair(folder, ms=images()[1].repeat(4, axis=0).repeat(4, axis=1),
                of_ms={"transform": PAN_GRID})  # fmt: skip


CASES = {
    # name: (make the files, a part of the message or a check of the image, further flags)
    "heights in both": (lambda f: compound(f, HEIGHTS, HEIGHTS), has_heights),
    "heights in PAN alone": (lambda f: compound(f, HEIGHTS, UTM), has_heights),
    "heights in MS alone": (lambda f: compound(f, UTM, HEIGHTS), same),
    "heights and another zone": (lambda f: compound(f, HEIGHTS, "EPSG:32618+5773"), "in common"),
    "one system in two dialects": (
        lambda f: compound(f, UTM, CRS.from_string(UTM).to_wkt(version="WKT1_ESRI")),
        same,
    ),
    "no system in one": (lambda f: compound(f, UTM, None), "--grid=ROW,COLUMN"),
    "no system in one, related": (lambda f: compound(f, UTM, None), same, "--grid=0,0"),
    "south up": (south_up, is_south_up),
    "turned grids": (turned, same),
    "RPCs beside grids": (with_rpcs, has_rpcs),
    "RPCs alone": (lambda f: with_rpcs(f, grids=False), "RPCs alone do not"),
    "control points beside a grid": (gcps_beside_grid, "no coordinate system"),
    "degrees": (degrees, same),
    "colour table": (with_colour_table, "colour table"),
    "pictures": (as_pictures, is_picture),
    "mask in the file": (with_mask, has_mask),
    "scale and offset": (scaled, is_scaled),
    "sparse tiles": (sparse, has_hole),
    "uint32": (of_type(np.uint32, 1000), as_type(np.uint32, 1000)),
    "int16": (of_type(np.int16), as_type(np.int16)),
    "float64": (of_type(np.float64), as_type(np.float64)),
    "int64": (of_type(np.int64), as_type(np.int64)),
    "odd names": (odd_names, same),
    "nodata beyond the type": (impossible_nodata, same),
    "lowest float as nodata": (lowest_float, has_lowest),
    "pixels of unequal sides": (unequal_sides, is_like),
    "constant MS": (
        constant,
        lambda image, known, plain: np.testing.assert_array_equal(image, 700),
    ),
    "infinite values": (infinite, has_no_infinity),
    "text named .tif": (file_of("hello"), "ms.tif"),
    "empty file": (file_of(""), "ms.tif"),
    "folder without a product": (folder_without_product, "product"),
    "MS enlarged before": (enlarged, "give --ratio=4"),
}


@pytest.mark.parametrize("name", CASES)
def test_odd_inputs(tmp_path, capsys, plain, name):
    make, expected, *flags = CASES[name]
    files, out = make(tmp_path), tmp_path / "out.tif"
    before = left_behind(tmp_path)
    arguments = ["fuse", *map(str, files), str(out), *FLAGS, *flags]
    if callable(expected):
        run(arguments)
        expected(*read(out), plain)
        return
    with pytest.raises(SystemExit) as stop:
        run(arguments)
    message = capsys.readouterr().err.strip()
    assert stop.value.code == 2 and expected in message
    assert len(message.splitlines()) == 1 and message.startswith("error: ")
    assert left_behind(tmp_path) == before
