"""Find methods by name: classical methods, run folders, checkpoints and PyTorch weights."""

import dataclasses
import functools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp

from rsfusion_jax import classical
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.per_image import per_image
from rsfusion_jax.evaluation.score import FuseUnit
from rsfusion_jax.evaluation.specs import Spec, parse_spec
from rsfusion_jax.inference.default import DEFAULT, load_default
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load, load_torch
from rsfusion_jax.inference.pretrained import is_pretrained
from rsfusion_jax.models import list_models


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of a leaderboard.

    Attributes:
        label: name in tables.
        fuse: function that fuses a batch.
        parameters: number of trained parameters; 0 for classical methods.
        path: where its weights were read from; empty for classical methods.
        base: label of all runs of this method, such as the name of its network.
        family: equal for runs of one method, which differ in the seed alone; empty for methods
            without runs.
        fuser: the network with its weights; None for classical methods.
    """

    label: str
    fuse: FuseUnit
    parameters: int = 0
    path: str = ""
    base: str = ""
    family: str = ""
    fuser: Fuser | None = None


def classical_method(name: str, info: SetInfo, *, wrap: bool = False) -> Method:
    """Make a classical method for batches, clipped to [0, 1]; EXP returns `lms` unchanged.

    Args:
        name: name of the method.
        info: description of the data set.
        wrap: whether the method enlarges with periodic borders; see `classical.fuse`.
    """
    label = name.upper().replace("_", "-")
    if name == "exp":
        return Method(label, lambda pan, ms, lms: lms)

    @jax.jit
    def fuse(pan, ms, lms):
        one = functools.partial(
            classical.fuse, name, sensor=info.sensor, ratio=info.ratio, wrap=wrap
        )
        return jnp.clip(per_image(lambda p, m, u: one(p, m, lms=u), pan, ms, lms), 0, 1)

    return Method(label, fuse)


def network_method(
    fuser: Fuser, label: str, *, path: str | Path = "", base: str = "", family: str = ""
) -> Method:
    """Make a method from a network with its weights; the other arguments are those of `Method`."""
    count = sum(leaf.size for leaf in jax.tree.leaves(fuser.variables))
    return Method(label, fuser.fuse_unit, count, str(path), base, family, fuser)


def find_method(text: str, info: SetInfo, *, wrap: bool = False, key: str | None = None) -> Method:
    """Find the method that an entry of `--methods` names.

    Args:
        text: `exp` or another classical method, `default` for the packaged weights, a run folder,
            checkpoint or folder of `save_pretrained`, or `network:file.pth`; in front of it a
            label, as `mine=runs/a`.
        info: description of the data set that the method will be scored on.
        wrap: whether classical methods enlarge with periodic borders.
        key: entry of a `file.pth` that holds the weights; see `load_torch`.

    Raises:
        UserError: the method or file does not exist, or the weights do not fit the data set.
    """
    spec = parse_spec(text)
    if not spec.network and spec.name in classical.list_methods():
        method = classical_method(spec.name, info, wrap=wrap)
    elif spec.network:
        method = _torch_method(spec, info, key)
    elif spec.name == DEFAULT:
        method = _default_method(info)
    elif os.path.exists(spec.path):
        method = _run_method(spec, info)
    else:
        raise UserError(
            f"method {spec.name!r} is neither a classical method "
            f"({', '.join(classical.list_methods())}), {DEFAULT}, an existing run folder, nor "
            f"network:file.pth with one of {', '.join(list_models())}"
        )
    if not spec.label:
        return method
    # Methods to which the user gave one label are runs of one method.
    return dataclasses.replace(
        method, label=spec.label, base=spec.label, family=f"label {spec.label}"
    )


def _torch_method(spec: Spec, info: SetInfo, key: str | None) -> Method:
    fuser = load_torch(
        spec.network,
        spec.path,
        num_bands=info.num_bands,
        guide_bands=info.guide_bands,
        ratio=info.ratio,
        max_value=info.max_value,
        key=key,
    )
    title = fuser.model.title
    return network_method(fuser, title, path=spec.path, base=title, family=f"weights {title}")


def _default_method(info: SetInfo) -> Method:
    fuser = load_default(
        info.num_bands,
        guide_bands=info.guide_bands,
        ratio=info.ratio,
        max_value=info.max_value,
        ms_phase=info.ms_phase,
    )
    label = f"{fuser.model.title} (default weights)"
    return network_method(fuser, label, path=DEFAULT, base=label)


def _run_method(spec: Spec, info: SetInfo) -> Method:
    from rsfusion_jax.runs.checkpoint import find_checkpoint, read_card

    fuser = load(spec.path)
    check_fits(fuser, info, spec.name)
    if is_pretrained(spec.path):
        return network_method(fuser, fuser.model.title, path=spec.path, base=fuser.model.title)
    card = read_card(find_checkpoint(spec.path))
    config = {k: v for k, v in card.get("config", {}).items() if k not in ("seed", "name")}
    family = json.dumps([card["network"], config], sort_keys=True, default=str)
    title = fuser.model.title
    label = f"{title} ({spec.path.absolute().name})"
    return network_method(fuser, label, path=spec.path, base=title, family=f"run {family}")


def check_fits(fuser: Fuser, info: SetInfo, label: str) -> None:
    """Raise `UserError` unless bands, guide, ratio, scale and registration fit the data set."""
    model = fuser.model
    pairs = {
        "bands": (model.num_bands, info.num_bands),
        "guide bands": (model.guide_bands, info.guide_bands),
        "ratio": (model.ratio, info.ratio),
        "max_value": (fuser.max_value, info.max_value),
        "pan_value": (fuser.pan_value, info.pan_value or info.max_value),
        "ms_phase": (fuser.ms_phase, info.ms_phase),
    }
    for name, (weights, data) in pairs.items():
        if weights != data:
            raise UserError(
                f"{label} was trained with {name} {weights:g}, {info.name} has {data:g}; score it "
                "on a set of its own kind"
            )
