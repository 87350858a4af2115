"""Convert PyTorch weights to a run folder, and back."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import jax

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load, load_torch, save_torch
from rsfusion_jax.new_files import check_room, new_folder
from rsfusion_jax.runs.card import network_card

_MARGIN = 2**18
"""Bytes that a checkpoint takes besides its arrays."""

_NO_FIELDS = {"name", "num_bands", "guide_bands", "ratio", "sensor", "max_value", "key", "dtype"}
"""What is given by other arguments, or not stored."""


def checkpoint_from_torch(
    source: str | Path,
    target: str | Path,
    *,
    model: str,
    num_bands: int,
    guide_bands: int = 1,
    ratio: int = 4,
    sensor: str | None = None,
    max_value: float | None = None,
    key: str | None = None,
    fields: Mapping[str, object] | None = None,
) -> Fuser:
    """Write the weights of a PyTorch file to a run folder, for `load`, `init_from` and evaluation.

    Args:
        source: the `.pth` or `.safetensors` file.
        target: the new folder.
        model: name of the network.
        num_bands: number of bands of the low-resolution image, C.
        guide_bands: number of bands of the guide image, G.
        ratio: guide pixels per low-resolution pixel.
        sensor: sensor that the weights were trained on; sets the scale.
        max_value: divisor of the training data, in place of the sensor's.
        key: entry of the file that holds the weights; see `load_torch`.
        fields: other fields of the network that the weights were trained with.

    Returns:
        The network with these weights.

    Raises:
        UserError: the weights do not fit, or the target exists.
    """
    if Path(target).exists():
        raise UserError(f"{target} exists already; choose another folder or delete it")
    fields = dict(fields or {})
    if others := sorted(fields.keys() & _NO_FIELDS):
        raise UserError(
            f"--set {others[0]} is no field that a network was trained with; give what its data "
            "were as --num-bands, --guide-bands, --ratio, --sensor and --max-value"
        )
    fuser = load_torch(
        model,
        source,
        num_bands=num_bands,
        guide_bands=guide_bands,
        ratio=ratio,
        sensor=sensor,
        max_value=max_value,
        key=key,
        **fields,
    )
    from rsfusion_jax.runs.checkpoint import Checkpoints

    card = network_card(
        fuser.model,
        {"name": model, **fields},
        sensor=fuser.sensor,
        max_value=fuser.max_value,
        ms_phase=fuser.ms_phase,
        diffusion=fuser.diffusion,
    )
    params = fuser.variables["params"]
    with new_folder(Path(target)) as unfinished:
        check_room(unfinished, _MARGIN + sum(leaf.nbytes for leaf in jax.tree.leaves(params)))
        with contextlib.closing(Checkpoints(unfinished)) as run:
            run.save_best(0, params, {**card, "version": __version__}, {})
    return fuser


def torch_from_checkpoint(source: str | Path, target: str | Path) -> None:
    """Write a run folder's weights as a state dict that the authors' class loads strictly.

    Raises:
        UserError: there is no checkpoint, or the target exists.
    """
    if Path(target).exists() or Path(target).is_symlink():
        raise UserError(f"{target} exists already; choose another name or delete it")
    save_torch(load(source), target)
