"""Read and write `.pth` files. Only the functions of this module import torch, when called."""

import errno
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.new_files import new_files

_WRAPPERS = ("net", "state_dict", "model")
"""Keys of the state dict in training checkpoints (`net` in the RSMIF collection)."""


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict as NumPy arrays, without running any code from the file.

    The state dict may be in an entry "net", "state_dict" or "model" of the file. The prefix
    `module.` of DataParallel is removed, the device of the tensors is ignored, and half precision
    is converted to float32.

    Args:
        path: the `.pth` file.

    Returns:
        Arrays by name.

    Raises:
        UserError: torch is not installed, or the file is missing, truncated, contains anything but
            tensors, or is no state dict.
    """
    torch, content = _import_torch(), _load(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UserError(
            f"{path} holds a {type(content).__name__}, not a state dict of named tensors; save the "
            "network's state_dict()"
        )
    tensors = {}
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"{path}: entry {name!r} is a {type(value).__name__}, not a tensor; save the "
                "network's state_dict() alone"
            )
        value = value.float() if value.is_floating_point() and value.itemsize < 4 else value
        tensors[name.removeprefix("module.")] = value.numpy()
    return tensors


def read_adam_moments(path: str | Path) -> tuple[int, list[dict[str, np.ndarray]]]:
    """Read the state of Adam from a checkpoint of a training program.

    Args:
        path: the `.pth` file.

    Returns:
        The number of steps taken, and a dict of "exp_avg" and "exp_avg_sq" for each parameter, in
        the order of the state dict; it is empty for a parameter that never had a gradient.

    Raises:
        UserError: the file cannot be read (see `read_state_dict`), or has no state of Adam.
    """
    content = _load(path)
    optimizer = content.get("optimizer") if isinstance(content, Mapping) else None
    try:
        order = [index for group in optimizer["param_groups"] for index in group["params"]]
        states = [optimizer["state"].get(index, {}) for index in order]
        (steps,) = {int(state["step"]) for state in states if state}
        moments = [
            {key: state[key].numpy() for key in ("exp_avg", "exp_avg_sq")} if state else {}
            for state in states
        ]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} holds no state of Adam under 'optimizer'; unset init_optimizer or name a "
            "checkpoint that was saved with its optimiser"
        ) from error
    return steps, moments


def write_state_dict(path: str | Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays as a PyTorch state dict; an existing file is replaced only at the end."""
    torch = _import_torch()
    path = Path(path)
    state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    with new_files([path], overwrite=True) as unfinished:
        try:
            torch.save(state, unfinished[path])
        except RuntimeError as error:  # what PyTorch makes of a disk that is full or broken
            raise OSError(errno.EIO, str(error).splitlines()[0]) from error


def _load(path: str | Path):
    torch = _import_torch()
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist; check the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds Python objects besides tensors and loading them could run code from the "
            "file; save the network's state_dict() alone and load that"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as a PyTorch file (truncated or of another format); download "
            "or save it again"
        ) from error


def _import_torch():
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "reading and writing .pth files needs PyTorch, which is not installed; run "
            "pip install 'rsfusion-jax[torch]'"
        ) from error
    return torch
