"""xarray images as STAC loaders and users leave them: a right image, or one sentence."""

import numpy as np
import pytest
import rioxarray
import xarray
from scene_files import CRS, counts, write_pair

from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.xarray import fuse

OPTIONS = {"method": "gsa", "chunk": 64, "block": 64}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """PAN (1, 66, 54), MS (3, 22, 18) and what they give."""
    pan, ms = counts(22, 18, bands=3, ratio=3, seed=12)
    paths = write_pair(tmp_path_factory.mktemp("a"), pan, ms, ratio=3, offset=(1, 1))
    pan, ms = (rioxarray.open_rasterio(path) for path in paths)
    return pan, ms, fuse(pan, ms, **OPTIONS).compute()


def turned(array, **dims):
    return array.isel({name: slice(None, None, -1) for name in dims})


def without_crs(array):
    return array.drop_vars("spatial_ref")


LAYOUTS = {
    "time of one": lambda p, m: (p.expand_dims(time=[0]), m.expand_dims(time=[0])),
    "both rising y": lambda p, m: (p.sortby("y"), m.sortby("y")),
    "MS rising y": lambda p, m: (p, m.sortby("y")),
    "PAN falling x": lambda p, m: (p.sortby("x", ascending=False), m),
    "band last": lambda p, m: (p.transpose("y", "x", "band"), m.transpose("x", "band", "y")),
    "no band": lambda p, m: (p.isel(band=0), m),
    "latitude": lambda p, m: (
        p.rename(y="latitude", x="longitude"),
        m.rename(y="lat", x="lon"),
    ),
    "epsg coordinate": lambda p, m: tuple(
        without_crs(a).assign_coords(epsg=int(CRS.split(":")[1])) for a in (p, m)
    ),
    "Dataset of bands": lambda p, m: (
        p.isel(band=0, drop=True).to_dataset(name="pan"),
        m.assign_coords(band=["b", "g", "r"]).to_dataset("band"),
    ),
    "dask": lambda p, m: (p.chunk(x=17, y=20).sortby("y"), m.chunk(y=5)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_image(arrays, layout):
    pan, ms, expected = arrays
    changed = LAYOUTS[layout](pan, ms)
    fused = fuse(*changed, **OPTIONS)
    names = {"latitude": "y", "longitude": "x"}
    fused = fused.rename({old: new for old, new in names.items() if old in fused.dims})
    placed = fused.sel(y=expected.y, x=expected.x, method="nearest", tolerance=0.01)
    assert np.abs(placed.values.astype(int) - expected.values).max() <= 1
    assert fused.rio.crs == expected.rio.crs
    recalculated = fused.rio.transform(recalc=True)
    assert fused.rio.transform().almost_equals(recalculated, precision=1e-6)
    if layout == "Dataset of bands":
        assert list(fused.band.values) == ["b", "g", "r"]


def test_order_is_that_of_pan(arrays):
    pan, ms, _ = arrays
    rising = fuse(pan.sortby("y"), ms, **OPTIONS)
    assert rising.y.values[0] < rising.y.values[-1]


def test_a_cropped_array_lies_where_its_coordinates_say(arrays):
    pan, ms, expected = arrays
    cropped = pan.isel(y=slice(12, 48), x=slice(6, 36))
    fused = fuse(cropped, ms, method="exp", chunk=64, block=64)
    whole = fuse(pan, ms, method="exp", chunk=64, block=64)
    assert fused.shape == (3, 36, 30)
    placed = whole.sel(y=fused.y, x=fused.x)
    # Near its edge a cropped image is enlarged without what lay beyond.
    inside = np.abs(placed.values.astype(int) - fused.values)[:, 14:-14, 12:-12]
    assert inside.max() <= 2
    assert np.allclose(fused.y, expected.y[12 - 1 : 48 - 1])


def test_several_times_and_the_accessor(arrays):
    pan, ms, expected = arrays
    series = xarray.concat([ms, ms + 7], dim=xarray.Variable("time", [3, 5]))
    fused = pan.rsfusion.fuse(series, **OPTIONS)
    assert fused.dims == ("time", "band", "y", "x") and list(fused.time.values) == [3, 5]
    assert np.array_equal(fused.isel(time=0), expected)
    difference = fused.isel(time=1).values.astype(int) - expected.values
    assert np.abs(difference - 7)[expected.values > 0].max() <= 1  # 0 is where counts end


def test_a_border_of_zeros_is_nodata(arrays):
    pan, ms, _ = arrays
    pan, ms = pan.copy(), ms.copy()
    ms[:, :, :6] = 0
    fused = fuse(pan, ms, **OPTIONS)
    assert fused.rio.nodata == 0 and (fused[:, :, :15] == 0).all() and (fused[:, :, 27:] > 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, m: (p, m.expand_dims(time=[0, 1], height=[1, 2])), "choose one with .isel"),
        (lambda p, m: (p.expand_dims(time=[0, 1]), m), "choose those that both have"),
        (lambda p, m: (p, m.isel(y=[0, 1, 3, 7, 8, 9])), "not evenly spaced"),
        (lambda p, m: (p, np.ones((3, 5, 5))), "expected a DataArray"),
        (lambda p, m: (p, m.rename(x="column")), "expected a DataArray"),
        (lambda p, m: (p, xarray.Dataset({"a": 1})), "Dataset without an image"),
        (lambda p, m: (p, m.assign_coords(y=m.y + 9000)), "no area in common"),
        (lambda p, m: (m, p), "swap"),
    ],
)
def test_what_cannot_be_right_is_refused(arrays, change, message):
    with pytest.raises(UserError, match=message):
        fuse(*change(*arrays[:2]), **OPTIONS)
