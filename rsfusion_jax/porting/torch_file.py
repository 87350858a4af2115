"""Read and write PyTorch weights. Only functions of this module import torch, when called."""

import errno
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsfusion_jax.archives import check_archive
from rsfusion_jax.errors import UserError, not_a_file
from rsfusion_jax.new_files import new_files
from rsfusion_jax.porting.safetensors_file import (
    SUFFIX,
    read_notes,
    read_safetensors,
    write_safetensors,
)
from rsfusion_jax.porting.saved_forms import find_state_dict

_SCALE, _NOTES = "residual_scale", "rsfusion_jax"
"""Name of the scale in a file, and of our entry in the notes that PyTorch keeps with a state dict:
it passes over entries that are of none of its modules."""


def read_state_dict(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict as NumPy arrays, without running any code from the file.

    The state dict may be wrapped in the ways of the usual training programs
    (`porting.saved_forms`). The device of the tensors is ignored, and half precision is converted
    to float32.

    Args:
        path: the `.pth` or `.safetensors` file.
        key: entry of the file that holds the weights; see `saved_forms.find_state_dict`.

    Returns:
        Arrays by name.

    Raises:
        UserError: torch is not installed, or the file is missing, damaged, contains anything but
            tensors, or is no state dict.

    Warns:
        UserWarning: the file has several sets of weights and no `key` chose one.
    """
    path = Path(path)
    if path.suffix.lower() == SUFFIX:
        if not path.is_file():
            raise UserError(f"weights file {not_a_file(path)}; check the path")
        arrays = read_safetensors(path)
        state = find_state_dict(arrays, path, key, lambda value: isinstance(value, np.ndarray))
        return {name: _single(value) for name, value in state.items()}
    torch, content = _import_torch(), _load(path)
    state = find_state_dict(content, path, key, lambda value: isinstance(value, torch.Tensor))
    return {
        name: (value.float() if value.is_floating_point() and value.itemsize < 4 else value).numpy()
        for name, value in state.items()
    }


def _single(array: np.ndarray) -> np.ndarray:
    """Convert half precision to float32; bfloat16 is no float of NumPy's own."""
    half = array.dtype.itemsize < 4 and array.dtype.name.startswith(("float", "bfloat"))
    return array.astype(np.float32) if half else array


def read_residual_scale(path: str | Path) -> float | None:
    """Read the scale of the residual that `write_state_dict` noted.

    Returns:
        The scale; None where the file has no such note, as those of other programs.

    Raises:
        UserError: the file cannot be read (see `read_state_dict`).
    """
    path = Path(path)
    if path.suffix.lower() == SUFFIX:
        notes = read_notes(path)
    else:
        notes = getattr(_load(path), "_metadata", None)
        notes = notes.get(_NOTES) if isinstance(notes, Mapping) else None
    if not isinstance(notes, Mapping) or _SCALE not in notes:
        return None
    try:
        return float(notes[_SCALE])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path} notes the residual scale {notes[_SCALE]!r}, which is no number; save it again"
        ) from error


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


def write_state_dict(
    path: str | Path, tensors: Mapping[str, np.ndarray], *, residual_scale: float = 1.0
) -> None:
    """Write arrays as a PyTorch state dict; an existing file is replaced only at the end.

    Args:
        path: path of the `.pth` file, or of a `.safetensors` file.
        tensors: arrays by name.
        residual_scale: scale of a diffusion network's residual. It is noted in the file where it is
            not 1; PyTorch loads the state dict as it does without the note.

    Raises:
        UserError: the folder does not exist, or the package that writes the file is missing.
    """
    path = Path(path)
    with new_files([path], overwrite=True) as unfinished:
        if path.suffix.lower() == SUFFIX:
            notes = {} if residual_scale == 1 else {_SCALE: str(residual_scale)}
            write_safetensors(unfinished[path], tensors, notes)
            return
        torch = _import_torch()
        state = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        if residual_scale != 1:
            state = OrderedDict(state)
            state._metadata = OrderedDict({_NOTES: {_SCALE: residual_scale}})
        try:
            torch.save(state, unfinished[path])
        except RuntimeError as error:  # what PyTorch makes of a disk that is full or broken
            raise OSError(errno.EIO, str(error).splitlines()[0]) from error


def _load(path: str | Path):
    torch = _import_torch()
    path = Path(path)
    if not path.is_file():
        raise UserError(f"weights file {not_a_file(path)}; check the path")
    check_archive(path)
    _check_crc(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds Python objects besides tensors and loading them could run code from the "
            "file; save the network's state_dict() alone and load that"
        ) from error
    except Exception as error:  # PyTorch raises a dozen types on damaged files
        raise UserError(
            f"{path} cannot be read as a PyTorch file (truncated or of another format); download "
            "or save it again"
        ) from error


def _check_crc(path: Path) -> None:
    """Compare the checksums of a file, which PyTorch writes but does not look at.

    Files from before PyTorch 1.6 are no zip archives and have none, as have those that were saved
    with `torch.serialization.set_crc32_options(False)`, whose checksums are all 0.

    Raises:
        UserError: the file is damaged.
    """
    damaged = f"weights file {path} is damaged, its checksum is wrong; download or save it again"
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(member.CRC for member in archive.infolist()):
                return
            bad = archive.testzip()
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,  # a compression or encryption that PyTorch never writes
    ) as error:
        raise UserError(damaged) from error
    if bad is not None:
        raise UserError(damaged)


def _import_torch():
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "reading and writing .pth files needs PyTorch, which is not installed; run "
            "pip install 'rsfusion-jax[torch]'"
        ) from error
    return torch
