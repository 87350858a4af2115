"""`rsfusion port`: the authors' file to a checkpoint folder, and back."""

import ast
from collections.abc import Sequence
from pathlib import Path

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.load import load, load_torch, save_torch
from rsfusion_jax.runs.card import network_card


def checkpoint_from_torch(
    source: str,
    target: str,
    *,
    model: str | None,
    num_bands: int | None,
    guide_bands: int,
    ratio: int,
    sensor: str | None,
    max_value: float | None,
    assignments: Sequence[str],
) -> None:
    """Writes a `.pth` file's weights as a run folder that `load`, `init_from` and evaluation take.

    Raises:
        UserError: missing arguments, weights that do not fit, a target that exists.
    """
    if model is None or num_bands is None:
        raise UserError("porting from PyTorch needs --model and --num-bands")
    if Path(target).exists():
        raise UserError(f"{target} exists already; choose another folder or delete it")
    fields = dict(_assignment(text) for text in assignments)
    fuser = load_torch(
        model,
        source,
        num_bands=num_bands,
        guide_bands=guide_bands,
        ratio=ratio,
        sensor=sensor,
        max_value=max_value,
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
    checkpoints = Checkpoints(Path(target))
    checkpoints.save_best(0, fuser.variables["params"], {**card, "version": __version__}, {})
    checkpoints.close()
    print(f"{source} -> {target} ({model}, {num_bands} bands, divided by {fuser.max_value:g})")


def torch_from_checkpoint(source: str, target: str) -> None:
    """Writes a run folder's weights as a state dict that the authors' class loads strictly."""
    save_torch(load(source), target)
    print(f"{source} -> {target}")


def _assignment(text: str) -> tuple[str, object]:
    field, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write FIELD=VALUE, as in --set dim=16")
    try:
        return field, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return field, value
