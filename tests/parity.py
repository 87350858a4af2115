"""What every test of parity does: run a network on the authors' inputs, compare with their numbers.

A case is a folder of ../shared/parity: `case.json`, `io.npz` and a state dict.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rsfusion_jax.porting.convert import from_torch, porting_table, to_torch
from rsfusion_jax.porting.tensors import Live

_DISTANCES = {
    "l1": lambda fused, target: jnp.abs(fused - target).mean(),
    "mse": lambda fused, target: jnp.square(fused - target).mean(),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One golden.

    Attributes:
        record: the content of `case.json`.
        io: the authors' inputs, outputs and gradients, NCHW.
        state_dict: their weights.
        inputs: argument of our network -> its key in `io`; arguments left out get None.
        loss: "l1" or "mse": what the authors' gradients belong to.
        output: key in `io` of what our network calls "fused".
    """

    record: dict
    io: dict
    state_dict: dict
    inputs: Mapping[str, str]
    loss: str
    output: str

    @property
    def output64(self):
        key = f"out64/{self.output}"
        return self.io[key if key in self.io else "out64"]


def read_case(folder: Path, inputs: Mapping[str, str], loss: str, output: str = "out") -> Case:
    """Reads a golden; its weights are the file that `case.json` names, else the only one there."""
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    from rsfusion_jax.porting.torch_file import read_state_dict

    record = json.loads((folder / "case.json").read_text())
    weights = record["state_dict_file"]
    (path,) = [folder / weights] if weights else folder.glob("*.pth")
    io = dict(np.load(folder / "io.npz"))
    return Case(record, io, read_state_dict(path), inputs, loss, output)


def assert_parity_float32(model, case: Case) -> None:
    """Outputs, loss, parameter and input gradients within what float32 allows."""
    loss, fused, grads, input_grads = _run(model, case, jnp.float32)
    tolerance = max(20 * case.record["f32_f64_max_abs"][case.output], 1e-5)
    assert np.abs(fused - case.io[case.output]).max() <= tolerance
    assert abs(loss - case.record["loss"]["loss"]) <= tolerance
    tolerance = max(10 * case.record["grad_rel_err_f32_f64"]["max"], 1e-4)
    assert _gradient_error(model, grads, case, "grad") <= tolerance
    theirs = {key.removeprefix("gin/"): g for key, g in case.io.items() if key.startswith("gin/")}
    for name, grad in input_grads.items():
        # What the authors' network does not take must not matter to ours.
        golden = theirs.pop(case.inputs[name], np.zeros_like(grad))
        assert np.linalg.norm(grad - golden) <= tolerance * np.linalg.norm(golden)
    assert not theirs, f"inputs whose gradients were not compared: {list(theirs)}"


def assert_parity_float64(model, case: Case) -> None:
    """The strict check: nothing but the order of summation may differ."""
    with jax.enable_x64(True):
        loss, fused, grads, _ = _run(model, case, jnp.float64)
    assert fused.dtype == np.float64
    assert np.abs(fused - case.output64).max() <= 1e-10 * np.abs(case.output64).max()
    assert abs(loss - case.record["loss64"]["loss"]) <= 1e-10
    assert _gradient_error(model, grads, case, "grad64") <= 1e-6


def assert_round_trip(model, case: Case) -> None:
    """Live tensors come back bit by bit, dead ones as zeros, and nothing else exists."""
    params = from_torch(model, case.state_dict)
    back = to_torch(model, params)
    assert set(back) == set(case.state_dict)
    dead = set(case.record["unused_parameters"])
    for key, value in case.state_dict.items():
        assert back[key].shape == value.shape
        assert not back[key].any() if key in dead else np.array_equal(back[key], value)
    count = sum(x.size for x in jax.tree.leaves(params))
    assert count == case.record["params_total"] - case.record["params_unused"]


def nhwc(image, dtype=None):
    """(B, C, H, W) -> (B, H, W, C)."""
    return jnp.asarray(np.moveaxis(image, 1, -1), dtype)


def nchw(image) -> np.ndarray:
    """(B, H, W, C) -> (B, C, H, W)."""
    return np.moveaxis(np.asarray(image), -1, 1)


def _run(model, case: Case, dtype):
    """Loss, fused image, gradients of the parameters and of the inputs; images in NCHW."""
    params = from_torch(model, case.state_dict)["params"]
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), params)
    images = {name: nhwc(case.io[key], dtype) for name, key in case.inputs.items()}
    target = nhwc(case.io["target"], dtype)

    def loss_fn(params, images):
        pan, ms, lms = (images.get(name) for name in ("pan", "ms", "lms"))
        fused = model.apply({"params": params}, pan, ms, lms)["fused"]
        return _DISTANCES[case.loss](fused, target), fused

    grad_fn = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True))
    (loss, fused), (grads, input_grads) = grad_fn(params, images)
    return float(loss), nchw(fused), grads, {k: nchw(v) for k, v in input_grads.items()}


def _gradient_error(model, grads, case, prefix) -> float:
    """Worst relative L2 error of (sum, norm, first eight values) over the live parameters.

    Gradients that are zero in exact arithmetic are compared with the median norm instead.
    """
    flat = flax.traverse_util.flatten_dict(grads)
    zero = set(case.record["numerically_zero_grad_parameters"])
    # A layer registered under two names has its gradient under one of them.
    found = {
        tensor: np.asarray(case.io[f"{prefix}/{tensor.name}"], np.float64)
        for tensor in porting_table(model)
        if isinstance(tensor, Live) and f"{prefix}/{tensor.name}" in case.io
    }
    usual = np.median([np.linalg.norm(theirs) for theirs in found.values()])
    worst = 0.0
    for tensor, theirs in found.items():
        grad = np.asarray(tensor.to_torch(np.asarray(flat[tensor.path], np.float64)))
        first = np.resize(grad, 8) if grad.size >= 8 else np.pad(grad.ravel(), (0, 8 - grad.size))
        mine = np.array([grad.sum(), np.linalg.norm(grad), *first])
        scale = usual if tensor.name in zero else np.linalg.norm(theirs)
        worst = max(worst, np.linalg.norm(mine - theirs) / scale)
    assert {tensor.path for tensor in found} == set(flat), "parameters without a golden gradient"
    return worst
