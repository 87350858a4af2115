"""Fusers from files: run folders, checkpoints, the authors' `.pth`; and back to `.pth`."""

from collections.abc import Mapping
from pathlib import Path

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.porting.convert import from_torch, published_max_value, to_torch
from rsfusion_jax.sensors import Sensor, get_sensor


def load_torch(
    name: str,
    path: str | Path,
    *,
    num_bands: int,
    guide_bands: int = 1,
    ratio: int = 4,
    sensor: str | Mapping | Sensor | None = None,
    max_value: float | None = None,
    ms_phase: float | None = None,
    diffusion: Mapping | None = None,
    **overrides,
) -> Fuser:
    """Loads the authors' weights, strictly: every tensor must be known and fit.

    Args:
        name: network, one of `list_models()`.
        path: `.pth` file: a state dict, plain or wrapped by a training program.
        num_bands: C.
        guide_bands: G.
        ratio: r.
        sensor: whose pixels the weights were trained on; sets the scale.
        max_value: divisor of the training data, where it is not the published one.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2.
        diffusion: of a diffusion network: fields of `inference.draw.Diffusion` that are not DDIF's.
            Published numbers of DDIF were made with {"timestep_index": "respaced"}.
        **overrides: fields of the network's module, as the weights were trained with.

    Raises:
        UserError: unreadable file, weights of another network or configuration.
    """
    from rsfusion_jax.porting.torch_file import read_state_dict

    model = create_model(
        name, num_bands=num_bands, guide_bands=guide_bands, ratio=ratio, **overrides
    )
    variables = from_torch(model, read_state_dict(path))
    if max_value is None and sensor is not None:
        max_value = published_max_value(model, get_sensor(sensor).name)
    return Fuser(
        model,
        variables,
        sensor=sensor,
        max_value=max_value,
        ms_phase=ms_phase,
        diffusion=diffusion,
    )


def save_torch(fuser: Fuser, path: str | Path) -> None:
    """Writes a Fuser's weights as a state dict that the authors' class loads strictly.

    Live tensors keep their bits, constant buffers are regenerated, dead parameters are zeros.
    """
    from rsfusion_jax.porting.torch_file import write_state_dict

    write_state_dict(path, to_torch(fuser.model, fuser.variables))


def load(path: str | Path) -> Fuser:
    """Loads what training or `rsfusion port` saved.

    Args:
        path: a run folder (its best checkpoint, else its latest) or one checkpoint in it.

    Raises:
        UserError: no checkpoint there, or a damaged one.
    """
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card, restore_weights

    checkpoint = find_checkpoint(path)
    card = read_card(checkpoint)
    model = create_model(**card["network"])
    params = restore_weights(checkpoint, abstract_params(model))
    # Networks that fuse in one pass, and what was saved before there were others, have no process.
    return Fuser(model, {"params": params}, **card["scale"], diffusion=card.get("diffusion"))
