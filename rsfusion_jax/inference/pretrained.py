"""Weights as a folder that other programs understand too, as on the Hugging Face Hub.

The folder holds `config.json` (how to build the network, and the scale of its data),
`model.safetensors` (the parameters, named by their paths in the network) and `README.md` (the model
card, for people).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

from rsfusion_jax import __version__
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.new_files import new_folder
from rsfusion_jax.porting.safetensors_file import read_safetensors, write_safetensors
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.digest import digest_of_arrays
from rsfusion_jax.runs.integrity import check_scale
from rsfusion_jax.runs.stored_json import BadJSONError, check_entries, read_object

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
HUB = "hf://"
"""Begins the address of weights on the Hugging Face Hub: hf://owner/name or hf://owner/name@tag."""


def save_pretrained(
    fuser: Fuser, folder: str | Path, *, about: str = "", origin: Mapping | None = None
) -> None:
    """Write a Fuser's weights as a new folder that `rsf.load` reads and that can be published.

    Args:
        fuser: the Fuser.
        folder: the new folder.
        about: text of the model card, Markdown: what the weights are for, what they were trained
            on, their scores, their licence.
        origin: entries of `config.json` that say how the weights were made.

    Raises:
        UserError: the folder exists already or cannot be written.
    """
    params = jax.device_get(fuser.variables["params"])
    card = network_card(
        fuser.model,
        _fields(fuser.model),
        sensor=fuser.sensor,
        max_value=fuser.max_value,
        pan_value=None if fuser.pan_value == fuser.max_value else fuser.pan_value,
        ms_phase=fuser.ms_phase,
        diffusion=fuser.diffusion,
    )
    with new_folder(Path(folder)) as unfinished:
        write_folder(unfinished, params, {**card, **(origin or {})}, about or _plain_card(fuser))


def write_folder(folder: Path, params: Mapping, config: Mapping, about: str) -> None:
    """Write the three files into an existing folder.

    Args:
        folder: an empty folder.
        params: tree of arrays.
        config: entries of `config.json`, of which "network" is needed.
        about: text of the model card.
    """
    config = {**config, "version": __version__, "digest": digest_of_arrays(params)}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    write_safetensors(folder / WEIGHTS, flax.traverse_util.flatten_dict(params, sep="/"))
    (folder / CARD).write_text(about.rstrip() + "\n")


def is_pretrained(path: Path) -> bool:
    """Whether a path is such a folder, or the file of weights in one."""
    folder = folder_of(path)
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def folder_of(path: Path) -> Path:
    """The folder of weights, which may be named by the file of weights in it."""
    return path.parent if path.name == WEIGHTS else path


def read_config(folder: Path) -> dict:
    """Read `config.json`.

    Raises:
        UserError: it is damaged, or not of this package.
    """
    path = folder / CONFIG
    try:
        config = read_object(path.read_bytes(), {"network": dict, "digest": str})
        check_entries(config["network"], {"name": str})
        check_entries(config, {"diffusion": (dict, type(None))}, optional=("diffusion",))
        if "num_bands" in config["network"]:  # weights for any bands have the scale of their images
            check_entries(config, {"scale": dict})
            check_scale(config["scale"])
        return config
    except (OSError, BadJSONError) as error:
        raise UserError(
            f"{path} does not describe weights of rsfusion_jax ({error}); save or download the "
            "folder again"
        ) from error


def read_params(folder: Path, digest: str) -> dict:
    """Read the parameters, as a tree of NumPy arrays.

    Args:
        folder: the folder.
        digest: of the arrays, from `config.json`.

    Raises:
        UserError: the file is damaged or belongs to another `config.json`.
    """
    flat = read_safetensors(folder / WEIGHTS)
    params = flax.traverse_util.unflatten_dict(flat, sep="/")
    if digest_of_arrays(params) != digest:
        raise UserError(
            f"{folder / WEIGHTS} is damaged or belongs to another {CONFIG}; save or download the "
            "folder again"
        )
    return params


def load_pretrained(path: Path) -> Fuser:
    """Load weights from such a folder, or by the file of weights in it.

    Raises:
        UserError: the files are damaged, or the weights fit any number of bands, which must be
            given to `load_default`.
    """
    folder = folder_of(path)
    config = read_config(folder)
    network = config["network"]
    if "num_bands" not in network:
        raise UserError(f"the weights in {folder} fit any number of bands; use rsf.load_default")
    model = create_model(**network)
    params = read_params(folder, config["digest"])
    wanted = jax.tree.map(lambda leaf: leaf.shape, abstract_params(model))
    if jax.tree.map(np.shape, params) != wanted:
        raise UserError(
            f"{folder / WEIGHTS} does not hold the parameters of the network in its {CONFIG}; "
            "save or download the folder again"
        )
    return Fuser(model, {"params": params}, **config["scale"], diffusion=config.get("diffusion"))


def download(address: str) -> Path:
    """Fetch a folder of weights from the Hugging Face Hub, or take it from its cache.

    Args:
        address: `hf://owner/name`, with `@revision` for another than the newest one.

    Raises:
        UserError: the package huggingface_hub is missing, or the weights cannot be had.
    """
    name, _, revision = address.removeprefix(HUB).partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise UserError(f"{address} is no address on the hub; write {HUB}owner/name")
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            f"{address} needs the package huggingface_hub; run pip install huggingface_hub, or "
            "download the folder and name it"
        ) from error
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS, CARD]
        )
    except (OSError, ValueError) as error:  # what its errors are derived from
        raise UserError(
            f"{address} cannot be downloaded ({' '.join(str(error).split())[:300]}); check the "
            "name and the network"
        ) from error
    return Path(folder)


def _fields(model) -> dict:
    """Name of a network's file, and the fields of its module that differ from their defaults."""
    given = ("num_bands", "guide_bands", "ratio", "dtype", "parent", "name")
    fields = {"name": model.title.lower()}
    for field in dataclasses.fields(model):
        if field.name not in given and getattr(model, field.name) != field.default:
            fields[field.name] = getattr(model, field.name)
    return fields


def _plain_card(fuser: Fuser) -> str:
    model = fuser.model
    return "\n".join(
        [
            "---",
            "library_name: rsfusion_jax",
            "tags: [pansharpening, image-fusion, remote-sensing, jax]",
            "---",
            f"# {model.title}",
            "",
            f"Weights of {model.title} for {model.num_bands} bands guided by {model.guide_bands}, "
            f"ratio {model.ratio}, saved by rsfusion_jax {__version__}.",
            "",
            "```python",
            "import rsfusion_jax as rsf",
            "",
            'fuser = rsf.load("this folder")',
            "fused = fuser(pan, ms)",
            "```",
        ]
    )
