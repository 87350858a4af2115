"""What every test of parity does: run a network on the authors' inputs, compare with their numbers.

A case is a folder of ../shared/parity: `case.json`, `io.npz` and a state dict.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
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
        outputs: key in `io` -> how to find it in what our network returns; the first is the one
            that `loss` is taken of unless that is a function.
        loss: "l1" or "mse", or (outputs, io as NHWC arrays) -> scalar: what the authors' gradients
            belong to.
    """

    record: dict
    io: dict
    state_dict: dict
    inputs: Mapping[str, str]
    outputs: Mapping[str, Callable]
    loss: str | Callable

    def output64(self, key):
        long = f"out64/{key}"
        return self.io[long if long in self.io else "out64"]


def read_case(folder: Path, inputs: Mapping[str, str], loss: str | Callable, outputs="out") -> Case:
    """Reads a golden; its weights are the file that `case.json` names, else the only one there.

    `outputs` may be the one key in `io` of what our network calls "fused".
    """
    pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    from rsfusion_jax.porting.torch_file import read_state_dict

    record = json.loads((folder / "case.json").read_text())
    weights = record["state_dict_file"]
    (path,) = [folder / weights] if weights else folder.glob("*.pth")
    io = dict(np.load(folder / "io.npz"))
    if isinstance(outputs, str):
        outputs = {outputs: lambda returned: returned["fused"]}
    state_dict = {key: value.astype(np.float32) for key, value in read_state_dict(path).items()}
    return Case(record, io, state_dict, inputs, outputs, loss)


def assert_parity_float32(
    model, case: Case, undetermined: Mapping[str, float] = {}, call: Callable | None = None
) -> None:
    """Outputs, loss, parameter and input gradients within what float32 allows.

    `undetermined` gives the error allowed to gradients of parameters whose names start so: those
    next to a ReLU whose input is zero but for rounding. Float64 must tell the same of them.
    `call` is (params, images by name) -> what the network returns, where that is not
    `model.apply` of `pan`, `ms` and `lms`.
    """
    _assert_float32(Network(model, case, call), case, undetermined)


def assert_parity_float64(model, case: Case, call: Callable | None = None) -> None:
    """The strict check: nothing but the order of summation may differ."""
    _assert_float64(Network(model, case, call), case)


def assert_block_parity(block, tensors, folder: Path, inputs=("x",)) -> None:
    """Both checks for one block, a module of the arrays `inputs` whose tensors are listed."""
    case = read_case(folder, {x: x for x in inputs}, "l1", {"out": lambda returned: returned})
    subject = _Block(block, list(tensors), case)
    assert {t.name for t in subject.table} == set(case.state_dict)
    _assert_float32(subject, case)
    _assert_float64(subject, case)


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
    """(B, C, H, W) -> (B, H, W, C); a vector (B, E) stays."""
    return jnp.asarray(np.moveaxis(image, 1, -1), dtype)


def nchw(image) -> np.ndarray:
    """(B, H, W, C) -> (B, C, H, W); a vector (B, E) stays."""
    return np.moveaxis(np.asarray(image), -1, 1)


class Network:
    """A network with the authors' parameters."""

    def __init__(self, model, case, call=None):
        self._model, self._call = model, call
        self.table = porting_table(model)
        self.params = from_torch(model, case.state_dict)["params"]

    def __call__(self, params, images):
        if self._call:
            return self._call(params, images)
        pan, ms, lms = (images.get(name) for name in ("pan", "ms", "lms"))
        return self._model.apply({"params": params}, pan, ms, lms)


class _Block:
    def __init__(self, block, table, case):
        self._block, self.table, self._inputs = block, table, list(case.inputs)
        live = [tensor for tensor in table if isinstance(tensor, Live)]
        flat = {tensor.path: tensor.to_flax(case.state_dict[tensor.name]) for tensor in live}
        self.params = flax.traverse_util.unflatten_dict(flat)

    def __call__(self, params, images):
        return self._block.apply({"params": params}, *(images[name] for name in self._inputs))


def _assert_float32(subject, case: Case, undetermined: Mapping[str, float] = {}) -> None:
    loss, outputs, grads, input_grads = _run(subject, case, jnp.float32)
    for key, output in outputs.items():
        tolerance = max(20 * case.record["f32_f64_max_abs"][key], 1e-5)
        assert np.abs(output - case.io[key]).max() <= tolerance, key
    assert abs(loss - case.record["loss"]["loss"]) <= tolerance
    tolerance = max(10 * case.record["grad_rel_err_f32_f64"]["max"], 1e-4)
    for name, error in _gradient_errors(subject, grads, case, "grad").items():
        allowed = [e for start, e in undetermined.items() if name.startswith(start)]
        assert error <= max([tolerance, *allowed]), name
    theirs = {key.removeprefix("gin/"): g for key, g in case.io.items() if key.startswith("gin/")}
    for name, grad in input_grads.items():
        # What the authors' network does not take must not matter to ours.
        key = case.inputs[name]
        golden = theirs.pop(key, np.zeros_like(grad))
        # The authors' own float32 gradients can be further from float64 than the tolerance is.
        gap = case.record.get("gin_f32_f64_max_abs", {}).get(key, 0.0)
        exact = np.abs(grad - golden).max() <= 20 * gap
        assert exact or np.linalg.norm(grad - golden) <= tolerance * np.linalg.norm(golden)
    assert not theirs, f"inputs whose gradients were not compared: {list(theirs)}"


def _assert_float64(subject, case: Case) -> None:
    with jax.enable_x64(True):
        loss, outputs, grads, _ = _run(subject, case, jnp.float64)
    for key, output in outputs.items():
        golden = case.output64(key)
        assert output.dtype == np.float64
        assert np.abs(output - golden).max() <= 1e-10 * np.abs(golden).max(), key
    assert abs(loss - case.record["loss64"]["loss"]) <= 1e-10
    assert max(_gradient_errors(subject, grads, case, "grad64").values()) <= 1e-6


@jax.default_matmul_precision("highest")
def _run(subject, case: Case, dtype):
    """Loss, outputs, gradients of the parameters and of the inputs; images in NCHW."""
    params = jax.tree.map(lambda p: jnp.asarray(p, dtype), subject.params)
    images = {name: nhwc(case.io[key], dtype) for name, key in case.inputs.items()}
    goldens = {
        key: nhwc(value, dtype)
        for key, value in case.io.items()
        if (value.ndim == 4 and not key.startswith(("out", "g"))) or key.startswith("gt")
    }

    def loss_fn(params, images):
        returned = subject(params, images)
        outputs = {key: find(returned) for key, find in case.outputs.items()}
        if callable(case.loss):
            return case.loss(returned, goldens), outputs
        first = next(iter(outputs.values()))
        return _DISTANCES[case.loss](first, goldens["target"]), outputs

    grad_fn = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1), has_aux=True))
    (loss, outputs), (grads, input_grads) = grad_fn(params, images)
    return (
        float(loss),
        {key: nchw(output) for key, output in outputs.items()},
        grads,
        {key: nchw(grad) for key, grad in input_grads.items()},
    )


def _gradient_errors(subject, grads, case: Case, prefix: str) -> dict[str, float]:
    """Relative L2 errors of (sum, norm, first eight values) of the live parameters, by name.

    Gradients that are zero in exact arithmetic are compared with the median norm instead.
    """
    flat = flax.traverse_util.flatten_dict(grads)
    zero = set(case.record["numerically_zero_grad_parameters"])
    # A layer registered under two names has its gradient under one of them.
    found = {
        tensor: np.asarray(case.io[f"{prefix}/{tensor.name}"], np.float64)
        for tensor in subject.table
        if isinstance(tensor, Live) and f"{prefix}/{tensor.name}" in case.io
    }
    usual = np.median([np.linalg.norm(theirs) for theirs in found.values()])
    errors = {}
    for tensor, theirs in found.items():
        grad = np.asarray(tensor.to_torch(np.asarray(flat[tensor.path], np.float64)))
        first = np.resize(grad, 8) if grad.size >= 8 else np.pad(grad.ravel(), (0, 8 - grad.size))
        mine = np.array([grad.sum(), np.linalg.norm(grad), *first])
        scale = usual if tensor.name in zero else np.linalg.norm(theirs)
        errors[tensor.name] = np.linalg.norm(mine - theirs) / scale
    assert {tensor.path for tensor in found} == set(flat), "parameters without a golden gradient"
    return errors
