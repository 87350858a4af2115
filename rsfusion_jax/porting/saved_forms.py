"""Find the weights in what a training program saved, and give them the network's own names.

Training programs wrap the state dict of a network in dictionaries, put the names of their own
modules before those of the network, and add counters.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.errors import UserError

_AVERAGES = (
    "ema",
    "params_ema",
    "ema_model",
    "model_ema",
    "net_ema",
    "state_dict_ema",
    "ema_state_dict",
)
"""Entries that hold a moving average of the weights, which their programs evaluate."""

_WRAPPERS = ("net", "state_dict", "model_state_dict", "model", "network", "params", "module")
"""Entries that hold the weights as they are trained."""

_PREFIXES = (
    "module.",  # DataParallel, and the averaged models of PyTorch and timm
    "_orig_mod.",  # torch.compile
    "net.",  # Lightning: the attribute that holds the network
    "model.",
    "network.",
    "ema_model.",  # ema-pytorch
)
_COUNTERS = ("total_ops", "total_params", "n_averaged")
"""Last parts of the names of counters: two of thop, one of PyTorch's averaged models."""


def find_state_dict(content: object, path: str | Path, key: str | None, is_tensor) -> dict:
    """Return the state dict in the content of a file, under the names of the network alone.

    Args:
        content: what the file holds: nested mappings of tensors and other values.
        path: path of the file, for messages.
        key: entry of the file that holds the weights, with dots between nested ones, such as
            "state_dict.net"; its last parts may be a prefix of names of tensors. None takes the
            only entry that holds weights, else a moving average of them, which is told.
        is_tensor: function that tells whether a value is a tensor.

    Returns:
        Tensors by name.

    Raises:
        UserError: there is no state dict, no entry `key`, or a value that is no tensor.

    Warns:
        UserWarning: the file has several entries with weights and no `key` chose one.
    """
    if key is not None:
        return _plain_names(_checked(_entry(content, key, path, is_tensor), path, is_tensor))
    found = _weights(content, is_tensor)
    if len(found) > 1:
        names = list(found)
        taken = next((name for name in names if _is_average(name)), names[0])
        kind = "the moving average, " if _is_average(taken) else ""
        warnings.warn(
            f"{path} holds several sets of weights: {', '.join(names)}; {kind}{taken!r} is read, "
            "choose another by key= (rsfusion port --key)",
            stacklevel=3,
        )
        found = {taken: found[taken]}
    content = next(iter(found.values()), content)
    return _plain_names(_checked(content, path, is_tensor))


def _weights(content: object, is_tensor, at: str = "") -> dict[str, Mapping]:
    """Return every mapping of tensors that stands in the usual entries, by its key."""
    if not isinstance(content, Mapping):
        return {}
    found = {}
    for name in (*_AVERAGES, *_WRAPPERS):
        if isinstance(content.get(name), Mapping):
            found |= _weights(content[name], is_tensor, f"{at}{name}.")
    if not found and at and any(is_tensor(value) for value in content.values()):
        # ema-pytorch saves the average and the network that it follows in one state dict.
        averaged = _under(content, "ema_model.")
        found = {f"{at}ema_model": averaged} if averaged else {at[:-1]: content}
    return found


def _is_average(key: str) -> bool:
    return any(part in _AVERAGES for part in key.split("."))


def _entry(content: object, key: str, path: str | Path, is_tensor) -> Mapping:
    """Return the entry of a file that a dotted key names."""
    entry, rest = content, key
    while rest and isinstance(entry, Mapping):
        name, _, after = rest.partition(".")
        if isinstance(entry.get(name), Mapping):
            entry, rest = entry[name], after
            continue
        chosen = _under(entry, rest + ".")
        if chosen:
            return chosen
        break
    if rest:
        known = sorted(_weights(content, is_tensor)) or sorted(_first_parts(content))
        raise UserError(
            f"{path} has no weights under the key {key!r}; it has {', '.join(known) or 'none'}"
        )
    return entry


def _under(tensors: Mapping, prefix: str) -> dict:
    """Return the entries whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if isinstance(name, str) and name.startswith(prefix)
    }


def _first_parts(content: object) -> set[str]:
    names = content if isinstance(content, Mapping) else ()
    return {name.partition(".")[0] for name in names if isinstance(name, str)}


def _checked(content: object, path: str | Path, is_tensor) -> Mapping:
    if not isinstance(content, Mapping) or not content:
        raise UserError(
            f"{path} holds a {type(content).__name__}, not a state dict of named tensors; save the "
            "network's state_dict()"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not is_tensor(value):
            raise UserError(
                f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor; save the "
                "network's state_dict() alone, or name the entry that holds it by key= "
                "(rsfusion port --key)"
            )
    return content


def _plain_names(tensors: Mapping) -> dict:
    """Remove counters, and prefixes that all names share."""
    tensors = {
        name.replace("._orig_mod.", "."): value  # a compiled part of a network
        for name, value in tensors.items()
        if name.rpartition(".")[2] not in _COUNTERS
    }
    while True:
        shared = [p for p in _PREFIXES if tensors and all(name.startswith(p) for name in tensors)]
        if not shared:
            return tensors
        tensors = _under(tensors, shared[0])
