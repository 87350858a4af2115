"""Remote-sensing image fusion in JAX: networks, training, metrics, classical methods.

The public API. Names are looked up when they are first used, so that importing the package costs
nothing and loads neither orbax, grain, rasterio, matplotlib nor tensorboardX.
"""

import importlib

__version__ = "0.2.0"

_WHERE = {
    "Fuser": "rsfusion_jax.inference.fuser",
    "UserError": "rsfusion_jax.errors",
    "adapt": "rsfusion_jax.adaptation.adapt",
    "create_model": "rsfusion_jax.models",
    "fuse_scene": "rsfusion_jax.scenes",
    "get_sensor": "rsfusion_jax.sensors",
    "interval": "rsfusion_jax.scenes.interval",
    "list_models": "rsfusion_jax.models",
    "list_sensors": "rsfusion_jax.sensors",
    "load": "rsfusion_jax.inference.load",
    "load_default": "rsfusion_jax.inference.default",
    "load_torch": "rsfusion_jax.inference.load",
    "register_model": "rsfusion_jax.models",
    "register_sensor": "rsfusion_jax.sensors",
    "save_pretrained": "rsfusion_jax.inference.pretrained",
    "save_torch": "rsfusion_jax.inference.load",
    "view": "rsfusion_jax.scenes.viewer",
}
_SUBPACKAGES = ("classical", "data", "metrics")

__all__ = [*_WHERE, *_SUBPACKAGES, "__version__"]


def __getattr__(name: str):
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
