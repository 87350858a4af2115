"""The optimiser and its learning-rate schedule, from `config.optim`."""

import optax

from rsfusion_jax.errors import UserError

_OPTIMIZERS = {
    "adam": lambda rate, decay: optax.adam(rate),
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay),
    "sgd": lambda rate, decay: optax.sgd(rate, momentum=0.9),
}


def make_schedule(optim, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """Learning rate as a function of the step.

    Args:
        optim: `config.optim`.
        steps: length of the run.
        steps_per_epoch: optimiser steps in one pass over the training set.
    """
    warmup = optim.warmup_steps
    if not 0 <= warmup < steps:
        raise UserError(f"optim.warmup_steps={warmup} must lie below the run's {steps} steps")
    match optim.schedule:
        case "constant":
            main = optax.constant_schedule(optim.learning_rate)
        case "cosine":
            main = optax.cosine_decay_schedule(optim.learning_rate, steps - warmup)
        case "step":
            # optax counts from the start of this piece, PyTorch's StepLR from the start of the run.
            main = optax.exponential_decay(
                optim.learning_rate,
                optim.step_epochs * steps_per_epoch,
                optim.gamma,
                staircase=True,
            )
        case other:
            raise UserError(f"optim.schedule={other!r} is unknown; choose constant, cosine or step")
    if not warmup:
        return main
    rise = optax.linear_schedule(0.0, optim.learning_rate, warmup)
    return optax.join_schedules([rise, main], [warmup])


def make_optimizer(optim, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Optimiser with optional clipping of the global gradient norm."""
    if optim.name not in _OPTIMIZERS:
        raise UserError(
            f"optim.name={optim.name!r} is unknown; choose one of {', '.join(_OPTIMIZERS)}"
        )
    optimizer = _OPTIMIZERS[optim.name](schedule, optim.weight_decay)
    if optim.clip_norm > 0:
        return optax.chain(optax.clip_by_global_norm(optim.clip_norm), optimizer)
    return optimizer
