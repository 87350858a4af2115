"""Lazy fusion of xarray images, on threads and on a cluster, against the file-to-file program."""

import dask
import distributed
import jax
import numpy as np
import pytest
import rasterio
import rioxarray
from adaptation_scenes import scene
from scene_files import CRS, counts, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import init_params
from rsfusion_jax.scenes.xarray import fuse, interval

QUICK = {"quiet": True, "shift": "none", "overviews": False}


@pytest.fixture
def pair(tmp_path):
    pan, ms = counts(40, 36)
    ms[:3, :5] = 0
    return write_pair(tmp_path, pan, ms, offset=(1, 2), nodata=0)


def _open(pair, **options):
    return [rioxarray.open_rasterio(path, **options) for path in pair]


@pytest.mark.parametrize("extent", ["intersection", "union"])
def test_equals_the_program(tmp_path, pair, extent):
    """Chunks, blocks and batches of other sizes change nothing."""
    out = tmp_path / "out.tif"
    rsf.fuse_scene(*pair, out, method="gsa", extent=extent, block=64, **QUICK)
    options = {"method": "gsa", "extent": extent, "chunk": 100, "block": 48, "batch": 3}
    fused = fuse(*_open(pair, chunks={"x": 30, "y": 30}), **options)
    assert fused.chunks is not None
    assert fused.dtype == np.uint16
    image, known = read(out)
    difference = np.abs(np.moveaxis(fused.values, 0, -1).astype(int) - image)
    assert difference.max() <= 1  # the statistics are summed in another order
    assert (difference > 0).mean() < 1e-3
    assert fused.rio.transform().almost_equals(known.transform)
    assert fused.rio.crs == known.crs == CRS
    assert fused.rio.nodata == known.nodata


def _show_devices(count: int):
    jax.config.update("jax_num_cpu_devices", count)


def test_on_a_cluster(pair):
    """Two processes and their scheduler on loopback compute what threads compute."""
    model = rsf.create_model("pannet", num_bands=4)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    fused = fuse(*_open(pair), fuser=fuser, chunk=64, block=32, batch=2)
    here = fused.values
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(host="127.0.0.1", **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        # Bits depend on how many threads a convolution has, and those on the devices.
        client.run(_show_devices, jax.device_count())
        there = fused.values
    assert np.array_equal(here, there)
    assert (here > 0).mean() > 0.8


def test_masked_and_written(tmp_path, pair):
    fused = fuse(*_open(pair, masked=True), method="brovey", chunk=64)
    assert fused.isnull().any() and not fused.isnull().all()
    fused.rio.to_raster(tmp_path / "out.tif")
    image, known = read(tmp_path / "out.tif")
    np.testing.assert_array_equal(np.moveaxis(image, -1, 0), fused.values)
    assert known.crs == CRS


@pytest.fixture(scope="module")
def related(tmp_path_factory):
    """A pair on which intervals can be calibrated, in other units than its files say."""
    pan, ms = scene(40, 48)
    ms[:4, :6] = 0
    files = write_pair(tmp_path_factory.mktemp("related"), pan, ms, nodata=0)
    with rasterio.open(files[1], "r+") as file:
        file.scales, file.offsets = (0.5,) * 3, (-7.0,) * 3
        file.descriptions = ("green", "red", "nir")
    return files


def test_intervals_equal_the_program(related, tmp_path):
    out, error = tmp_path / "out.tif", tmp_path / "error.tif"
    options = {"method": "gsa", "sensor": None, "dtype": "float32"}
    rsf.fuse_scene(*related, out, interval=(80, error), samples=0, **options, **QUICK)
    lazy = {**options, "level": 80, "chunk": 80, "block": 48, "batch": 3}
    fused, half, calibration = interval(*_open(related), **lazy)
    assert fused.chunks is not None and half.chunks is not None and calibration.level == 80
    fused, half = dask.compute(fused, half)
    np.testing.assert_allclose(np.moveaxis(fused.values, 0, -1), read(out)[0], rtol=1e-4)
    image, known = read(error)
    np.testing.assert_allclose(np.moveaxis(half.values, 0, -1), image, rtol=2e-3)
    assert 0.005 < half.isnull().mean() < 0.2
    for name in ("x", "y", "band"):
        np.testing.assert_array_equal(half[name], fused[name])
    assert half.rio.crs == CRS and half.rio.transform().almost_equals(known.transform)
    half.rio.to_raster(tmp_path / "half.tif")
    written = read(tmp_path / "half.tif")[1]
    for name in ("scales", "offsets", "descriptions"):
        assert getattr(written, name) == getattr(known, name), name
    assert np.isnan(written.nodata)


def test_intervals_of_an_array_that_lies_the_other_way(related):
    """`rsf.interval` takes xarray images; a mask of what may calibrate lies as they do."""
    pan, ms = _open(related)
    options = {"method": "brovey", "level": 60}
    valid = np.ones(ms.shape[1:], bool)
    valid[:6, 20:] = False
    one = rsf.interval(pan, ms, valid=valid, **options)
    turned = [image.isel(y=slice(None, None, -1)) for image in (pan, ms)]
    other = rsf.interval(*turned, valid=valid[::-1], **options)
    half = other.half_width.isel(y=slice(None, None, -1))
    np.testing.assert_array_equal(half.values, one.half_width.values)
    assert other.half_width.y[0] == turned[0].y[0] and other.half_width.dtype == np.float32
    # Pixels that may not calibrate are fused all the same.
    whole = rsf.interval(pan, ms, **options)
    assert whole.calibration.pixels > one.calibration.pixels
    np.testing.assert_array_equal(whole.fused.values, one.fused.values)
    for wrong, words in (
        ({"ms_phase": 1.5}, "xarray images lie as they say"),
        ({"level": 100}, "no share"),
        ({"valid": np.ones((3, 3), bool)}, "expected that of ms"),
    ):
        with pytest.raises(UserError, match=words):
            rsf.interval(pan, ms, **{"method": "brovey", **wrong})


def test_refusals(pair):
    pan, ms = _open(pair)
    for arguments, options, words in (
        ((pan, ms), {}, "either fuser= or method="),
        ((pan.values, ms), {"method": "gsa"}, "pan is ndarray"),
        ((ms, pan), {"method": "gsa"}, "swap them"),
        ((pan, ms.rio.write_crs("EPSG:4326")), {"method": "gsa"}, "EPSG:4326"),
        ((pan, ms), {"method": "gsa", "extent": "all"}, "extent"),
    ):
        with pytest.raises(UserError, match=words):
            fuse(*arguments, **options)
