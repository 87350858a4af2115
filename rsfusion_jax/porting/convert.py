"""State dict <-> Flax variables, strictly: every tensor of both sides is accounted for."""

import importlib
from collections.abc import Mapping, Sequence

import flax.traverse_util
import numpy as np
from flax import linen as nn

from rsfusion_jax.errors import UserError
from rsfusion_jax.models import abstract_params
from rsfusion_jax.porting.tensors import Constant, Dead, Live, Tensor

_MOST_SHOWN = 6


def porting_table(model: nn.Module) -> tuple[Tensor, ...]:
    """Every tensor of the authors' state dict for `model`: live, constant or dead."""
    return tuple(_rules(model).tensors(model))


def published_max_value(model: nn.Module, sensor: str) -> float | None:
    """Divisor that the authors' training used for a sensor's data; None where nothing is known."""
    return _rules(model).MAX_VALUE.get(sensor)


def from_torch(model: nn.Module, state_dict: Mapping[str, np.ndarray]) -> dict:
    """Turns a state dict of the authors' network into Flax variables.

    Args:
        model: the network, built with the configuration that the weights were trained with.
        state_dict: arrays under the authors' names.

    Returns:
        {"params": nested dict of float arrays}, dtype as in the file.

    Raises:
        UserError: a tensor is missing, left over, or of another shape; the message lists them.
    """
    table = porting_table(model)
    shapes = _parameter_shapes(model)
    expected = {tensor.name for tensor in table}
    missing = sorted(expected - set(state_dict))
    unexpected = sorted(set(state_dict) - expected)
    reshaped, conflicting, params = [], [], {}
    for tensor in table:
        if tensor.name not in state_dict:
            continue
        value = np.asarray(state_dict[tensor.name])
        wanted = _torch_shape(tensor, shapes)
        if value.shape != wanted:
            reshaped.append(f"{tensor.name}: {value.shape}, expected {wanted}")
        elif isinstance(tensor, Live):
            value = tensor.to_flax(value)
            # Some authors registered one layer twice: both names must then hold one tensor.
            if not np.array_equal(params.setdefault(tensor.path, value), value, equal_nan=True):
                conflicting.append(f"{tensor.name}: not the tensor of its other name")
    differing = len(missing) + len(unexpected) + len(reshaped) + len(conflicting)
    if differing:
        name = model.title
        raise UserError(
            f"these weights are not those of {name} with num_bands={model.num_bands}, "
            f"guide_bands={model.guide_bands}, ratio={model.ratio} ({differing} of "
            f"{len(expected | set(state_dict))} tensors differ); name the network and the "
            f"configuration they were trained with:\n"
            + _list("unexpected", unexpected)
            + _list("missing", missing)
            + _list("shape", reshaped)
            + _list("two values", conflicting)
        )
    unfilled = sorted(set(shapes) - set(params))
    assert not unfilled, f"porting table of {model.title} misses {unfilled}"
    return {"params": flax.traverse_util.unflatten_dict(params)}


def to_torch(model: nn.Module, variables: Mapping) -> dict[str, np.ndarray]:
    """Turns Flax variables into a state dict that the authors' class loads strictly.

    Live tensors keep their bits, constant buffers are regenerated, dead parameters are zeros.
    """
    params = flax.traverse_util.flatten_dict(variables["params"])
    state_dict = {}
    for tensor in porting_table(model):
        match tensor:
            case Live():
                state_dict[tensor.name] = tensor.to_torch(np.asarray(params[tensor.path]))
            case Constant():
                state_dict[tensor.name] = tensor.value
            case Dead():
                state_dict[tensor.name] = np.zeros(tensor.shape, np.float32)
    return state_dict


def _rules(model: nn.Module):
    name = model.title.lower()
    rules = f"rsfusion_jax.porting.{name}"
    try:
        return importlib.import_module(rules)
    except ModuleNotFoundError as error:
        if error.name != rules:  # something that the rules import
            raise
        raise UserError(
            f"{name} has no published weights: there is nothing in PyTorch to exchange with; use a "
            "run folder"
        ) from None


def _parameter_shapes(model: nn.Module) -> dict[tuple[str, ...], tuple[int, ...]]:
    flat = flax.traverse_util.flatten_dict(abstract_params(model))
    return {path: leaf.shape for path, leaf in flat.items()}


def _torch_shape(tensor: Tensor, shapes: Mapping) -> tuple[int, ...]:
    match tensor:
        case Live():
            # A view without memory behind it: only the axis order matters.
            return tensor.to_torch(np.broadcast_to(np.float32(0), shapes[tensor.path])).shape
        case Constant():
            return tensor.value.shape
        case Dead():
            return tensor.shape


def _list(kind: str, entries: Sequence[str]) -> str:
    """A few lines of the difference between two sets of tensors."""
    lines = [f"  {kind:<11} {entry}\n" for entry in entries[:_MOST_SHOWN]]
    if len(entries) > _MOST_SHOWN:
        lines.append(f"  {kind:<11} ... and {len(entries) - _MOST_SHOWN} more\n")
    return "".join(lines)
