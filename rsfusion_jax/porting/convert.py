"""Convert PyTorch state dicts to Flax variables and back, accounting for every tensor."""

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
    """Return every tensor of the authors' state dict for `model`: live, constant or dead."""
    return tuple(_rules(model).tensors(model))


def published_max_value(model: nn.Module, sensor: str) -> float | None:
    """Return the divisor of a sensor's data in the authors' training; None if it is unknown."""
    return _rules(model).MAX_VALUE.get(sensor)


def from_torch(model: nn.Module, state_dict: Mapping[str, np.ndarray]) -> dict:
    """Convert a state dict of the authors' network to Flax variables.

    Args:
        model: the network, built with the configuration that the weights were trained with.
        state_dict: arrays by the authors' names.

    Returns:
        {"params": nested dict of float arrays}, with the dtypes of `state_dict`.

    Raises:
        UserError: a tensor is missing, unexpected, or of another shape; the message lists them.
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
        expected_shape = _torch_shape(tensor, shapes)
        if value.shape != expected_shape:
            reshaped.append(f"{tensor.name}: {value.shape}, expected {expected_shape}")
        elif isinstance(tensor, Live):
            value = tensor.to_flax(value)
            # Some authors registered one layer under two names, which must then have equal tensors.
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
    """Convert Flax variables to a state dict that the authors' class loads strictly.

    Parameters are copied bit by bit, constant buffers are computed again, and dead parameters are
    zeros.

    Args:
        model: the network.
        variables: {"params": nested dict of arrays}.
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
        if error.name != rules:  # the rules exist, but one of their imports does not
            raise
        raise UserError(
            f"{name} has no published weights in PyTorch to convert from or to; use a run folder"
        ) from None


def _parameter_shapes(model: nn.Module) -> dict[tuple[str, ...], tuple[int, ...]]:
    flat = flax.traverse_util.flatten_dict(abstract_params(model))
    return {path: leaf.shape for path, leaf in flat.items()}


def _torch_shape(tensor: Tensor, shapes: Mapping) -> tuple[int, ...]:
    match tensor:
        case Live():
            # Only the shape is needed, so the array is a broadcast view, which takes no memory.
            return tensor.to_torch(np.broadcast_to(np.float32(0), shapes[tensor.path])).shape
        case Constant():
            return tensor.value.shape
        case Dead():
            return tensor.shape


def _list(kind: str, entries: Sequence[str]) -> str:
    """List the first entries of one kind of difference, one per line."""
    lines = [f"  {kind:<11} {entry}\n" for entry in entries[:_MOST_SHOWN]]
    if len(entries) > _MOST_SHOWN:
        lines.append(f"  {kind:<11} ... and {len(entries) - _MOST_SHOWN} more\n")
    return "".join(lines)
