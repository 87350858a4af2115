"""Load what training starts from, `config.init_from`: weights and the scale of their residual."""

from pathlib import Path

import jax
import jax.numpy as jnp

from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.default import DEFAULT, default_params, provenance
from rsfusion_jax.inference.pretrained import (
    folder_of,
    is_pretrained,
    read_config,
    read_params,
)
from rsfusion_jax.models import abstract_params
from rsfusion_jax.porting.convert import from_torch
from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card, restore_weights
from rsfusion_jax.runs.integrity import check_network


def initial_params(path: str, model, card: dict) -> dict:
    """Load initial parameters of a network.

    Args:
        path: a run folder, a checkpoint in it, a folder of `rsf.save_pretrained`, a PyTorch file
            (`.pth`) of the network's authors, or "default" for the packaged weights.
        model: the network that will be trained.
        card: card of this run's network, from `runs.card.network_card`.

    Returns:
        The parameters of `model`; of OneSensor, with "default", those of its AnySensor alone.

    Raises:
        UserError: the path has no weights, or those of another network or configuration.
    """
    if path == DEFAULT:
        stored = provenance()["network"]
        ignored = ("num_bands", "guide_bands", "ratio")
        network = {key: value for key, value in card["network"].items() if key not in ignored}
        if network == {"name": "onesensor"}:
            return {"first": jax.tree.map(jnp.asarray, default_params())}
        if network != stored:
            raise UserError(
                f"init_from={DEFAULT!r} is for the network {stored}, this run builds {network}; "
                "make them agree or use other weights"
            )
        return jax.tree.map(jnp.asarray, default_params())
    if is_pretrained(Path(path)):
        folder = folder_of(Path(path))
        config = read_config(folder)
        check_network(folder, config["network"], card["network"])
        return jax.tree.map(jnp.asarray, read_params(folder, config["digest"]))
    if _is_torch_file(path):
        from rsfusion_jax.porting.torch_file import read_state_dict

        params = from_torch(model, read_state_dict(path))["params"]
        return jax.tree.map(jnp.asarray, params)
    checkpoint = find_checkpoint(path)
    check_network(checkpoint, read_card(checkpoint)["network"], card["network"])
    return restore_weights(checkpoint, abstract_params(model))


def initial_residual_scale(path: str) -> float | None:
    """Read the scale of the residual that a diffusion network was trained with.

    Args:
        path: as for `initial_params`.

    Returns:
        `Diffusion.residual_scale`; None where the weights do not say it.

    Raises:
        UserError: the path has no weights.
    """
    if path == DEFAULT:
        return None
    if is_pretrained(Path(path)):
        card = read_config(folder_of(Path(path)))
    elif _is_torch_file(path):
        from rsfusion_jax.porting.torch_file import read_residual_scale

        return read_residual_scale(path)
    else:
        card = read_card(find_checkpoint(path))
    return (card.get("diffusion") or {}).get("residual_scale", 1.0)


def _is_torch_file(path: str) -> bool:
    return Path(path).suffix in (".pth", ".pt", ".safetensors") or Path(path).is_file()
