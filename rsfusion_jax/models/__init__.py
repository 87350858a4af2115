"""The networks: one paper, one file. `create_model` finds a network by the name of its file.

Networks of users' own are registered by `register_model`, or declared by an installed package as
entry points of the group `rsfusion_jax.models`.
"""

import functools
import importlib
import pkgutil

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import Var

from rsfusion_jax.errors import UserError
from rsfusion_jax.models.network import Network
from rsfusion_jax.plugins import Registry

_NOT_NETWORKS = ("catalogue", "cost", "ddif_condition", "layers", "network")
_MOST = 2**16 - 1
"""Bands that a GeoTIFF can have, which no ratio exceeds either."""


@functools.cache
def _packaged() -> frozenset[str]:
    """The names of the package's own networks."""
    names = {module.name for module in pkgutil.iter_modules(__path__)}
    return frozenset(names.difference(_NOT_NETWORKS))


def _accept(name: str, network: object) -> type[Network]:
    if not (isinstance(network, type) and issubclass(network, Network)):
        raise UserError(
            f"network {name!r} must be a subclass of rsfusion_jax.models.network.Network, found "
            f"{network!r}"
        )
    title = getattr(network, "title", None)
    if not isinstance(title, str) or not title.isidentifier() or title.lower() != name:
        raise UserError(
            f"network {name!r} must have its name as its title, in any case, such as "
            f"title = {name.upper()!r}; found {title!r}"
        )
    return network


own_models = Registry("rsfusion_jax.models", "network", _packaged, _accept)
"""Networks that users added."""


def list_models() -> list[str]:
    """Lists the names of the networks, those that users added among them, sorted."""
    return sorted(_packaged() | own_models.names())


def register_model(name: str, network: type[Network]) -> None:
    """Adds a network of the user's own, for this process.

    A package that declares it as an entry point needs no such call, and its network is known to
    the commands too:

        [project.entry-points."rsfusion_jax.models"]
        mynet = "mypackage.networks:MyNet"

    Args:
        name: its name in configs, commands and checkpoints; the class's `title` in lower case.
        network: the class, a subclass of `models.network.Network`, which documents its call.

    Raises:
        UserError: the name is taken, or the class is no such network.
    """
    own_models.add(name, network)


def create_model(
    name: str, *, num_bands: int, guide_bands: int = 1, ratio: int = 4, **overrides
) -> nn.Module:
    """Builds a network.

    Args:
        name: one of `list_models()`.
        num_bands: C, bands of the low-resolution image.
        guide_bands: G, bands of the guide.
        ratio: r, guide pixels per low-resolution pixel along one axis.
        **overrides: fields of the module, under the authors' argument names, and `dtype`.

    Returns:
        A linen module, see `models.network.Network`;
        `module.apply(variables, pan, ms, lms, train=False)` returns a dict with "fused".

    Raises:
        UserError: unknown network, one of a broken package, unknown field, or a field out of range.
    """
    network = _find(name)
    fields = {
        field
        for field, spec in network.__dataclass_fields__.items()
        if spec.init and field not in ("parent", "name")
    }
    unknown = sorted(set(overrides) - fields)
    if unknown:
        raise UserError(
            f"{name} has no field {unknown[0]!r}; its fields are {', '.join(sorted(fields))}"
        )
    for field, value in (("num_bands", num_bands), ("guide_bands", guide_bands), ("ratio", ratio)):
        if not isinstance(value, int) or not 1 <= value <= _MOST:
            raise UserError(
                f"{name}: {field} must be a positive integer up to {_MOST}, found {value!r}"
            )
    # Stored configurations come back with lists, and a module with a list cannot be hashed.
    overrides = {k: tuple(v) if isinstance(v, list) else v for k, v in overrides.items()}
    return network(num_bands=num_bands, guide_bands=guide_bands, ratio=ratio, **overrides)


def _find(name: str) -> type[Network]:
    if name in _packaged():
        return importlib.import_module(f"{__name__}.{name}").Model
    network = own_models.find(name)
    if network is None:
        raise UserError(
            f"network {name!r} is unknown; choose one of {', '.join(list_models())}, or install "
            "the package that has it"
        )
    return network


def input_shapes(model: nn.Module, height: int, width: int, batch: int = 1) -> tuple:
    """Computes the shapes and dtypes of a network's inputs.

    Args:
        model: the network.
        height: h, rows of the low-resolution image.
        width: w, its columns.
        batch: B, number of images.

    Returns:
        One `jax.ShapeDtypeStruct` each for (pan, ms, lms), or for (x_t, t, pan, lms) where the
        network is the denoiser of a diffusion.
    """
    low, full = (batch, height, width), (batch, height * model.ratio, width * model.ratio)
    pan, ms, lms = (
        jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in ((*full, model.guide_bands), (*low, model.num_bands), (*full, model.num_bands))
    )
    if model.predicts == "fused":
        return pan, ms, lms
    return lms, jax.ShapeDtypeStruct((batch,), jnp.int32), pan, lms


def init_params(model: nn.Module, key: jax.Array) -> dict:
    """Draws a network's parameters as its authors do, without running it.

    Each array is drawn by a program of its own: one program that draws all of them takes up to ten
    times as long to compile.
    """
    traced, shapes = jax.make_jaxpr(_initialize(model), return_shape=True)(key)
    leaves = jax.core.eval_jaxpr(_without_dead_code(traced.jaxpr), traced.consts, key)
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def abstract_params(model: nn.Module) -> dict:
    """Determines the shapes and dtypes of a network's parameters without computing anything."""
    return jax.eval_shape(_initialize(model), jax.random.key(0))


def _initialize(model):
    def initialize(key):
        images = [jnp.zeros(image.shape, image.dtype) for image in input_shapes(model, 8, 8)]
        return model.init(key, *images)["params"]

    return initialize


def _without_dead_code(jaxpr):
    """Removes the equations that no output depends on: of a network, all but the draws."""
    needed = {var for var in jaxpr.outvars if isinstance(var, Var)}
    equations = []
    for equation in reversed(jaxpr.eqns):
        if not needed.isdisjoint(equation.outvars):
            equations.append(equation)
            needed.update(var for var in equation.invars if isinstance(var, Var))
    return jaxpr.replace(eqns=equations[::-1])
