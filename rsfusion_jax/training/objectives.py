"""What training minimises: functions (model, params, batch, key) -> (loss, scalars)."""

from collections.abc import Callable

import jax.numpy as jnp

from rsfusion_jax.errors import UserError

_PIXEL_LOSSES = {
    "l1": lambda error: jnp.abs(error).mean(),
    "mse": lambda error: jnp.square(error).mean(),
}


def supervised(loss: str) -> Callable:
    """Distance between the fused image and the truth, averaged over pixels and bands.

    Args:
        loss: "l1" or "mse".
    """
    if loss not in _PIXEL_LOSSES:
        raise UserError(f"train.loss={loss!r} is unknown; choose one of {', '.join(_PIXEL_LOSSES)}")
    distance = _PIXEL_LOSSES[loss]

    def objective(model, params, batch, key):
        fused = model.apply(
            {"params": params},
            batch["pan"],
            batch["ms"],
            batch["lms"],
            train=True,
            rngs={"dropout": key},
        )["fused"]
        # At least float32: bfloat16 networks must not round the loss, nor float64 ones lose it.
        error = fused.astype(jnp.promote_types(fused.dtype, jnp.float32)) - batch["gt"]
        return distance(error), {}

    return objective


_OBJECTIVES = {"supervised": supervised}


def make_objective(name: str, loss: str) -> Callable:
    """Objective by name, as `config.train` gives it."""
    if name not in _OBJECTIVES:
        raise UserError(
            f"train.objective={name!r} is unknown; choose one of {', '.join(_OBJECTIVES)}"
        )
    return _OBJECTIVES[name](loss)
