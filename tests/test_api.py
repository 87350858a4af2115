"""The public API: what is there, and what importing it costs."""

import functools
import inspect
import subprocess
import sys

import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.cli.main import run

CALLS = {
    "list_models": ((), ()),
    "create_model": (("name",), ("num_bands", "guide_bands", "ratio")),
    "load": (("path",), ()),
    "load_torch": (("name", "path"), ("num_bands", "sensor", "max_value")),
    "save_torch": (("fuser", "path"), ()),
    "Fuser.__call__": (
        ("self", "pan", "ms"),
        ("lms", "seed", "steps", "sampler", "samples", "return_std"),
    ),
    "metrics.sam": (("gt", "fused"), ("precision",)),
    "metrics.ergas": (("gt", "fused"), ("ratio", "precision")),
    "metrics.q2n": (("gt", "fused"), ("quantise", "precision")),
    "metrics.scc": (("gt", "fused"), ("precision",)),
    "metrics.psnr": (("gt", "fused"), ("data_range", "precision")),
    "metrics.ssim": (("gt", "fused"), ("data_range", "precision")),
    "metrics.mae": (("gt", "fused"), ("precision",)),
    "metrics.hqnr": (("fused", "ms", "pan"), ("sensor", "ratio", "precision")),
    "metrics.qnr": (("fused", "ms", "pan"), ("ratio", "precision")),
    "metrics.d_s": (("fused", "ms", "pan"), ("ratio", "precision")),
    "metrics.d_lambda": (("fused", "ms"), ("ratio", "precision")),
    "metrics.d_lambda_k": (("fused", "ms"), ("sensor", "ratio", "precision")),
    "classical.fuse": (("name", "pan", "ms"), ("sensor", "lms")),
    "classical.list_methods": ((), ()),
    "fuse_scene": (("pan", "ms", "out"), ("fuser",)),
    "view": (("out",), ("page", "report", "limit", "overwrite")),
    "interval": (("pan", "ms"), ("fuser", "method", "level", "sensor", "ms_phase", "valid")),
    "data.simulate": (("pan", "ms"), ("sensor", "ratio")),
}
"""Positional arguments in their order, and keywords, of every call that programs rely on."""
METHODS = (
    "exp brovey bt_h ihs pca gs gsa c_gsa sfim hpf awlp mtf_glp mtf_glp_hpm mtf_glp_hpm_r "
    "mtf_glp_fs mtf_glp_cbd bdsd bdsd_pc pracs mf_hg"
).split()


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    function = functools.reduce(getattr, name.split("."), rsf)
    positional, keywords = CALLS[name]
    signature = inspect.signature(function)
    assert tuple(signature.parameters)[: len(positional)] == positional
    # Neither an argument that is missing nor one that must be there besides.
    bound = signature.bind(*positional, **dict.fromkeys(keywords))
    assert set(keywords) <= set(signature.parameters) & set(bound.arguments)


def test_parts_of_a_fuser():
    fuser = rsf.load_default(num_bands=4, sensor="ge1")
    assert isinstance(fuser, rsf.Fuser)
    assert fuser.variables["params"] and fuser.model.predicts == "fused"
    assert fuser.sensor.name == "ge1"
    assert repr(fuser) == (
        "<Fuser: AnySensor, 4 bands guided by 1, ratio 4, counts up to 2047, sensor 'ge1'>"
    )


def test_classical_methods():
    assert set(METHODS) <= set(rsf.classical.list_methods())
    for name in METHODS:
        method = rsf.classical.get_method(name)
        assert callable(method.fit) and callable(method.apply)


@pytest.mark.parametrize(
    "command",
    "train evaluate compare fuse view port simulate models sensors sample check convert "
    "export".split(),
)
def test_commands(command, capsys):
    with pytest.raises(SystemExit) as ended:
        run([command, "--help"])
    assert ended.value.code == 0 and f"usage: rsfusion {command}" in capsys.readouterr().out


def test_names():
    assert "u2net" in rsf.list_models() == sorted(rsf.list_models())
    satellites = {"ge1", "gf2", "ikonos", "qb", "wv2", "wv3", "wv4"}
    others = {"cave", "chikusei", "harvard", "pavia", "sen12ms_cr"}
    assert satellites | others <= {*rsf.list_sensors()}
    assert rsf.list_sensors() == tuple(sorted(rsf.list_sensors()))
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
