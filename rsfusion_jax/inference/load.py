"""Load Fusers from run folders, checkpoints and PyTorch files, and save them as PyTorch files."""

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
    key: str | None = None,
    **overrides,
) -> Fuser:
    """Load weights from a PyTorch file of a network's authors; every tensor must be known and fit.

    Args:
        name: name of the network, one of `list_models()`.
        path: `.pth` or `.safetensors` file with a state dict, plain or inside a training program's
            checkpoint.
        num_bands: number of MS bands, C.
        guide_bands: number of bands of the guide image, G.
        ratio: PAN pixels per MS pixel, r.
        sensor: sensor of the training data, which sets the full scale.
        max_value: divisor of the training data, in place of the published one.
        ms_phase: PAN index of the centre of MS pixel 0; default r // 2.
        diffusion: for diffusion networks: fields of `inference.draw.Diffusion` that differ from
            those of DDIF. The published scores of DDIF used {"timestep_index": "respaced"}. Files
            that `save_torch` wrote say their `residual_scale` themselves.
        key: entry of the file that holds the weights, such as "model" where the file also has
            "ema"; None takes the only one, else a moving average, with a warning.
        **overrides: fields of the network's module that the weights were trained with.

    Raises:
        UserError: the file cannot be read, or its weights are of another network or configuration.
    """
    from rsfusion_jax.porting.torch_file import read_residual_scale, read_state_dict

    model = create_model(
        name, num_bands=num_bands, guide_bands=guide_bands, ratio=ratio, **overrides
    )
    variables = from_torch(model, read_state_dict(path, key))
    if max_value is None and sensor is not None:
        max_value = published_max_value(model, get_sensor(sensor).name)
    if model.predicts != "fused":
        scale = read_residual_scale(path)
        diffusion = {**({} if scale is None else {"residual_scale": scale}), **(diffusion or {})}
    return Fuser(
        model,
        variables,
        sensor=sensor,
        max_value=max_value,
        ms_phase=ms_phase,
        diffusion=diffusion,
    )


def save_torch(fuser: Fuser, path: str | Path) -> None:
    """Write a Fuser's weights as a PyTorch state dict that the authors' class loads strictly.

    Parameters are written bit by bit, constant buffers are computed again, and parameters that the
    authors' network has but never uses are zeros. A scale of a diffusion network's residual other
    than 1, which the authors' program does not know, is noted in the file for `load_torch`.

    Args:
        fuser: the Fuser.
        path: path of the `.pth` file, or of a `.safetensors` file.
    """
    from rsfusion_jax.porting.torch_file import write_state_dict

    scale = 1.0 if fuser.diffusion is None else fuser.diffusion.residual_scale
    write_state_dict(path, to_torch(fuser.model, fuser.variables), residual_scale=scale)


def load(path: str | Path) -> Fuser:
    """Load the weights that training, `rsfusion port` or `rsf.save_pretrained` saved.

    Args:
        path: a run folder (its best checkpoint is loaded, else its latest) or one checkpoint in it;
            a folder of `save_pretrained` or its `.safetensors` file; or `hf://owner/name`, such a
            folder on the Hugging Face Hub.

    Raises:
        UserError: there are no weights, or they are damaged.
    """
    from rsfusion_jax.inference.pretrained import HUB, download, is_pretrained, load_pretrained

    if str(path).startswith(HUB):
        path = download(str(path))
    if is_pretrained(Path(path)):
        return load_pretrained(Path(path))
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card, restore_weights

    checkpoint = find_checkpoint(path)
    card = read_card(checkpoint)
    model = create_model(**card["network"])
    params = restore_weights(checkpoint, abstract_params(model))
    # Cards of networks that fuse in one pass, and cards from before diffusion networks were added,
    # have no diffusion process.
    return Fuser(model, {"params": params}, **card["scale"], diffusion=card.get("diffusion"))
