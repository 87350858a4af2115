"""Find methods by name: classical methods, run folders, checkpoints and PyTorch weights."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp

from rsfusion_jax import classical
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.per_image import per_image
from rsfusion_jax.evaluation.score import FuseUnit
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.load import load, load_torch
from rsfusion_jax.models import list_models


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of a leaderboard.

    Attributes:
        label: name in tables.
        fuse: function that fuses a batch.
        parameters: number of trained parameters; 0 for classical methods.
    """

    label: str
    fuse: FuseUnit
    parameters: int = 0


def classical_method(name: str, info: SetInfo) -> Method:
    """Make a classical method for batches, clipped to [0, 1]; EXP returns `lms` unchanged."""
    label = name.upper().replace("_", "-")
    if name == "exp":
        return Method(label, lambda pan, ms, lms: lms)

    @jax.jit
    def fuse(pan, ms, lms):
        one = functools.partial(classical.fuse, name, sensor=info.sensor, ratio=info.ratio)
        return jnp.clip(per_image(lambda p, m, u: one(p, m, lms=u), pan, ms, lms), 0, 1)

    return Method(label, fuse)


def network_method(fuser: Fuser, label: str) -> Method:
    """Make a method from a network with its weights."""
    count = sum(leaf.size for leaf in jax.tree.leaves(fuser.variables))
    return Method(label, fuser.fuse_unit, count)


def find_method(spec: str, info: SetInfo) -> Method:
    """Find the method that an entry of `--methods` names.

    Args:
        spec: `exp` or another classical method, a run folder or checkpoint, or `network:file.pth`.
        info: description of the data set that the method will be scored on.

    Raises:
        UserError: the method or file does not exist, or the weights do not fit the data set.
    """
    if spec in classical.list_methods():
        return classical_method(spec, info)
    network, colon, path = spec.partition(":")
    if colon and network in list_models():
        fuser = load_torch(
            network,
            path,
            num_bands=info.num_bands,
            guide_bands=info.guide_bands,
            ratio=info.ratio,
            max_value=info.max_value,
        )
        return network_method(fuser, fuser.model.title)
    if not Path(spec).exists():
        raise UserError(
            f"method {spec!r} is neither a classical method ({', '.join(classical.list_methods())})"
            f", an existing run folder, nor network:file.pth with one of {', '.join(list_models())}"
        )
    fuser = load(spec)
    check_fits(fuser, info, spec)
    return network_method(fuser, f"{fuser.model.title} ({Path(spec).name})")


def check_fits(fuser: Fuser, info: SetInfo, label: str) -> None:
    """Raise `UserError` unless bands, guide, ratio, scale and registration fit the data set."""
    model = fuser.model
    pairs = {
        "bands": (model.num_bands, info.num_bands),
        "guide bands": (model.guide_bands, info.guide_bands),
        "ratio": (model.ratio, info.ratio),
        "max_value": (fuser.max_value, info.max_value),
        "ms_phase": (fuser.ms_phase, info.ms_phase),
    }
    for name, (weights, data) in pairs.items():
        if weights != data:
            raise UserError(
                f"{label} was trained with {name} {weights:g}, {info.name} has {data:g}; score it "
                "on a set of its own kind"
            )
