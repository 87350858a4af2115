"""Lazy fusion of xarray images, on threads and on a cluster, against the file-to-file program."""

import distributed
import jax
import numpy as np
import pytest
import rioxarray
from scene_files import CRS, counts, read, write_pair

import rsfusion_jax as rsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import init_params
from rsfusion_jax.scenes.xarray import fuse

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
