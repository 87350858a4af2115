"""U2Net against the authors' own outputs and gradients, and what is ours: sizes, ratios, bands."""

import json

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.models import create_model
from rsfusion_jax.porting.convert import from_torch, porting_table, to_torch
from rsfusion_jax.porting.tensors import Live

CASES = ["wv3", "wv3_48x80", "dim16_head8_32x56", "trained_wv3"]


def _case(shared, name):
    torch_file = pytest.importorskip("rsfusion_jax.porting.torch_file")
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    folder = shared / "parity" / "u2net" / name
    case = json.loads((folder / "case.json").read_text())
    io = dict(np.load(folder / "io.npz"))
    args = {k: v for k, v in case["constructor"].items() if k != "cls"}
    model = create_model("u2net", num_bands=8, precision="highest", **args)
    weights = case["state_dict_file"] or "200000_iter.pth"
    return case, io, model, torch_file.read_state_dict(folder / weights)


def _nhwc(x, dtype):
    return jnp.asarray(np.moveaxis(x, 1, -1), dtype)


def _run(model, variables, io, dtype):
    variables = jax.tree.map(lambda p: jnp.asarray(p, dtype), variables)
    pan, ms, target = (_nhwc(io[k], dtype) for k in ("pan", "ms", "target"))

    def loss_fn(params, ms, pan):
        fused = model.apply({"params": params}, pan, ms, None)["fused"]
        return jnp.abs(fused - target).mean(), fused

    grad_fn = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1, 2), has_aux=True))
    (loss, fused), grads = grad_fn(variables["params"], ms, pan)
    return float(loss), np.moveaxis(np.asarray(fused), -1, 1), grads


def _gradient_error(model, grads, io, prefix):
    """Worst relative L2 error of (sum, norm, first eight values) over the live parameters."""
    flat = flax.traverse_util.flatten_dict(grads)
    worst = 0.0
    for tensor in porting_table(model):
        if not isinstance(tensor, Live):
            continue
        grad = np.asarray(tensor.to_torch(np.asarray(flat[tensor.path], np.float64)))
        first = np.resize(grad, 8) if grad.size >= 8 else np.pad(grad.ravel(), (0, 8 - grad.size))
        mine = np.array([grad.sum(), np.linalg.norm(grad), *first])
        theirs = np.asarray(io[f"{prefix}/{tensor.name}"], np.float64)
        worst = max(worst, np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))
    return worst


@pytest.mark.parametrize("name", CASES)
def test_parity_float32(shared, name):
    case, io, model, state_dict = _case(shared, name)
    loss, fused, (grads, grad_ms, grad_pan) = _run(
        model, from_torch(model, state_dict), io, jnp.float32
    )
    tolerance = max(20 * case["f32_f64_max_abs"]["out"], 1e-5)
    assert np.abs(fused - io["out"]).max() <= tolerance
    assert abs(loss - case["loss"]["loss"]) <= tolerance
    tolerance = max(10 * case["grad_rel_err_f32_f64"]["max"], 1e-4)
    assert _gradient_error(model, grads, io, "grad") <= tolerance
    for name, grad in (("ms", grad_ms), ("pan", grad_pan)):
        theirs = np.moveaxis(io[f"gin/{name}"], 1, -1)
        assert np.linalg.norm(grad - theirs) <= tolerance * np.linalg.norm(theirs)


@pytest.mark.parametrize("name", CASES)
def test_parity_float64(shared, name):
    case, io, model, state_dict = _case(shared, name)
    with jax.enable_x64(True):
        loss, fused, (grads, _, _) = _run(model, from_torch(model, state_dict), io, jnp.float64)
    assert fused.dtype == np.float64
    assert np.abs(fused - io["out64"]).max() <= 1e-10 * np.abs(io["out64"]).max()
    assert abs(loss - case["loss64"]["loss"]) <= 1e-10
    assert _gradient_error(model, grads, io, "grad64") <= 1e-6


@pytest.mark.parametrize("name", ["wv3", "dim16_head8_32x56", "trained_wv3"])
def test_port_round_trip(shared, name):
    case, _, model, state_dict = _case(shared, name)
    back = to_torch(model, from_torch(model, state_dict))
    assert set(back) == set(state_dict)
    dead = set(case["unused_parameters"])
    for key, value in state_dict.items():
        assert back[key].shape == value.shape
        assert not back[key].any() if key in dead else np.array_equal(back[key], value)
    live = sum(v.size for k, v in state_dict.items() if k not in dead)
    assert sum(x.size for x in jax.tree.leaves(from_torch(model, state_dict))) == live
