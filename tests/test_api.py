"""The public API: what is there, and what importing it costs."""

import subprocess
import sys

import numpy as np
import pytest

import rsfusion_jax as rsf


def test_names():
    assert "u2net" in rsf.list_models() == sorted(rsf.list_models())
    satellites = {"ge1", "gf2", "ikonos", "qb", "wv2", "wv3", "wv4"}
    others = {"cave", "chikusei", "harvard", "pavia", "sen12ms_cr"}
    assert rsf.list_sensors() == tuple(sorted(satellites | others))
    for name in rsf.__all__:
        assert getattr(rsf, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = rsf.nothing


def test_importing_is_light():
    code = (
        "import sys, rsfusion_jax, rsfusion_jax.cli.main\n"
        "heavy = {'orbax', 'grain', 'rasterio', 'matplotlib', 'tensorboardX', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rsf.create_model("unet", num_bands=4), "'unet' is unknown; choose"),
        (lambda: rsf.create_model("u2net", num_bands=4, width=3), "no field 'width'"),
        (lambda: rsf.create_model("u2net", num_bands=0), "num_bands must be a positive integer"),
        (lambda: rsf.get_sensor("wv9"), "'wv9' is unknown; choose one of"),
        (lambda: rsf.get_sensor({"bands": ["a"], "mtf": [0.3]}), "field 'mtf' is unknown"),
        (lambda: rsf.get_sensor({"bands": ["a"], "mtf_ms": [0.3, 0.3]}), "2 MTF gains for 1 bands"),
        (lambda: rsf.get_sensor({"bands": ["a"], "mtf_ms": [1.3]}), "between 0 and 1"),
        (lambda: rsf.get_sensor({"bands": 2, "mtf_ms": 0.3, "full_scale": 0}), "full_scale=0 must"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(rsf.UserError, match=message):
        call()


def test_own_sensor():
    sensor = rsf.get_sensor({"bands": ["g", "r", "n"], "mtf_ms": [0.3] * 3, "bit_depth": 12})
    assert (sensor.max_value, sensor.num_bands, sensor.ratio) == (4095, 3, 4)
    assert np.isclose(rsf.get_sensor("gf2").max_value, 1023)
    unit = rsf.get_sensor({"bands": 191, "mtf_ms": 0.3, "full_scale": 1.0, "bit_depth": 16})
    assert (unit.num_bands, unit.max_value, unit.levels) == (191, 1.0, 65535.0)
