"""Metrics against every number of the toolbox, at reduced and full resolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toolbox_values as toolbox
from cases import slow, slow_but

from rsfusion_jax import metrics

# Absolute or relative. Largest measured in float64: 3.4e-12 (one band's CC).
FLOAT64 = 1e-10
# Largest measured in float32: 1.3e-6 (D_lambda_K, whose Q2n rounds counts that the float32 filter
# moves across .5) and 6.6e-7 (one band of ssim.m) for all others. No exceptions: flat blocks are
# recognised by their values and all moments are centred.
FLOAT32 = 3e-6

# Sorted by shape, so that each worker compiles for few shapes.
PAIRS = [
    *(f"wv2_128_{kind}" for kind in ("exp", "noisy", "self", "black_both", "black_ref")),
    *(f"wv2_128_{kind}" for kind in ("black_fused", "const_ref", "const_both", "3band", "1band")),
    "ge1_128_exp",
    "ik_128_outofrange",
    *("ik_256_exp", "ik_256_noisy", "ik_256_self"),
    *("hs31_64_01", "hs31_64_counts"),
    *("wv3_32_exp", "ik_pan400_1band"),
]
OTHER_SHAPES = ["wv2_100x77_exp", "ik_200x150_exp"]
"""Every metric compiles anew for each shape."""


def compare(found, expected, tolerance, label):
    found, expected = (np.asarray(value, dtype=float) for value in (found, expected))
    assert found.shape == expected.shape, label
    np.testing.assert_allclose(
        found, expected, rtol=tolerance, atol=tolerance, equal_nan=False, err_msg=str(label)
    )


def test_no_number_is_forgotten(shared):
    """Whatever the toolbox printed is compared below, or left out for a reason."""
    folder = shared / "metrics"
    table = toolbox.load(folder)
    compared = set(toolbox.full_paths(table["fr_metrics"]))
    for name, entry in table["rr_metrics"].items():
        compared |= {value.path for value in toolbox.reduced(name, entry, folder)}
    for name, entry in table["methods"].items():
        compared |= {value.path for value in toolbox.methods(name, entry, folder)}
    forgotten = set(toolbox.leaves(table)) - compared
    without_reason = [path for path in forgotten if not {*path} & {*toolbox.LEFT_OUT}]
    assert not without_reason, sorted(without_reason)[:10]
    unused = {key for key in toolbox.LEFT_OUT if not any(key in path for path in forgotten)}
    assert not unused
    assert len(compared) > 1000


@pytest.mark.parametrize("name", [*PAIRS, *map(slow, OTHER_SHAPES)])
def test_reduced_resolution(shared, name):
    folder = shared / "metrics"
    table = toolbox.load(folder)["rr_metrics"]
    assert set(table) == {*PAIRS, *OTHER_SHAPES}
    for path, call, expected in toolbox.reduced(name, table[name], folder):
        compare(call("float64"), expected, FLOAT64, path)
        if not ("Q_avg" in path and "cut1" in path[-2]):  # compiles long, with nothing new in it
            compare(call("float32"), expected, FLOAT32, path)


@pytest.mark.parametrize("name", ["wv2_96", "ik_128"])
def test_metrics_of_the_methods_outputs(shared, name):
    folder = shared / "metrics"
    for path, call, expected in toolbox.methods(
        name, toolbox.load(folder)["methods"][name], folder
    ):
        compare(call("float64"), expected, FLOAT64, path)


@pytest.mark.parametrize("name", slow_but("wv3", toolbox.SCENES))
def test_full_resolution(shared, name):
    folder = shared / "metrics"
    table = toolbox.load(folder)["fr_metrics"]
    assert set(table) == set(toolbox.SCENES)
    arrays = np.load(folder / f"fr_{name}.npz")
    ms, pan, lms = arrays["MS"], arrays["PAN"][..., None], arrays["EXP"]
    results = {k: v["toolbox"] for k, v in table[name].items() if "toolbox" in v}
    assert {"EXP", "GSA"} <= set(results)
    sensor = toolbox.SCENES[name]
    compiled = jax.jit(lambda *images: {k: f(*images, sensor) for k, f in toolbox.FULL.items()})
    for method, expected in results.items():
        fused = arrays[method]
        single = compiled(fused, ms, pan, lms)
        with jax.enable_x64(True):  # what precision="float64" does, compiled once for all keys
            images = [jnp.asarray(image, jnp.float64) for image in (fused, ms, pan, lms)]
            double = jax.device_get(compiled(*images))
        assert set(expected) <= set(double) and double["HQNR"].dtype == np.float64
        for key, value in expected.items():
            compare(double[key], value, FLOAT64, (method, key))
            compare(single[key], value, FLOAT32, (method, key))
    if name == "wv3":  # the keyword itself, once
        options = {"sensor": "wv3", "ratio": 4, "lms": lms, "wrap": True}
        value = metrics.hqnr(fused, ms, pan, precision="float64", **options)
        compare(value, expected["HQNR"], FLOAT64, (method, "HQNR by precision="))


def test_reprojection_ranks_real_images(shared):
    arrays = np.load(shared / "metrics" / "fr_ge1.npz")
    pan, optics = arrays["PAN"][..., None], {"sensor": "ge1", "ratio": 4}
    rho, reprojected = {}, {}
    for method in ("EXP", "GSA", "BT_H", "MTF_GLP_FS"):
        rho[method] = metrics.d_rho(arrays[method], pan, ratio=4)
        reprojected[method] = metrics.r_ergas(arrays[method], arrays["MS"], **optics)
    # EXP shows no detail at all; detail of the right band consistent with the sensor's MTF is what
    # GLP injects; BT-H follows PAN closest.
    assert max(rho, key=rho.get) == "EXP" and min(rho, key=rho.get) == "BT_H"
    assert min(reprojected, key=reprojected.get) == "MTF_GLP_FS"
