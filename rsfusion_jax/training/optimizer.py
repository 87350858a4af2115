"""The optimiser and its learning-rate schedule, from `config.optim`."""

import jax.numpy as jnp
import optax

from rsfusion_jax.errors import UserError

_OPTIMIZERS = {
    # Weight decay as in PyTorch: part of the gradient, except in AdamW.
    "adam": lambda rate, decay: _after_decay(decay, optax.adam(rate)),
    "adamw": lambda rate, decay: optax.adamw(rate, weight_decay=decay),
    "sgd": lambda rate, decay: _after_decay(decay, optax.sgd(rate, momentum=0.9)),
}
_SCHEDULES = ("constant", "cosine", "cosine_periodic", "step", "milestones")


def make_schedule(optim, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """Make the learning rate as a function of the step.

    Args:
        optim: `config.optim`.
        steps: number of steps of the run.
        steps_per_epoch: optimiser steps in one pass over the training set.

    Raises:
        UserError: the schedule is unknown or contradictory.
    """
    warmup = optim.warmup_steps
    if not 0 <= warmup < steps:
        raise UserError(f"optim.warmup_steps={warmup} must lie below the run's {steps} steps")
    main = _main_schedule(optim, steps - warmup, steps_per_epoch)
    if not warmup:
        return main
    rise = optax.linear_schedule(0.0, optim.learning_rate, warmup)
    return optax.join_schedules([rise, main], [warmup])


def make_optimizer(optim, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Make the optimiser, with clipping of the global gradient norm if `optim.clip_norm` > 0.

    Args:
        optim: `config.optim`.
        schedule: from `make_schedule`.

    Raises:
        UserError: the optimiser is unknown.
    """
    if optim.name not in _OPTIMIZERS:
        raise UserError(
            f"optim.name={optim.name!r} is unknown; choose one of {', '.join(_OPTIMIZERS)}"
        )
    optimizer = _OPTIMIZERS[optim.name](schedule, optim.weight_decay)
    if optim.clip_norm > 0:
        return optax.chain(optax.clip_by_global_norm(optim.clip_norm), optimizer)
    return optimizer


def _main_schedule(optim, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """Make the schedule after the warm-up; its step 0 is the end of the warm-up."""
    rate, final = optim.learning_rate, optim.final_rate
    match optim.schedule:
        case "constant":
            return optax.constant_schedule(rate)
        case "cosine":
            cosine = optax.cosine_decay_schedule(1.0, steps)
            return lambda step: final + (rate - final) * cosine(step)
        case "cosine_periodic":
            # As PyTorch's CosineAnnealingLR: constant within an epoch, falling and rising
            # periodically.
            def periodic(step):
                epoch = step // steps_per_epoch
                wave = 1 + jnp.cos(jnp.pi * epoch / optim.period_epochs)
                return final + (rate - final) * wave / 2

            return periodic
        case "step":
            return optax.exponential_decay(
                rate, optim.step_epochs * steps_per_epoch, optim.gamma, staircase=True
            )
        case "milestones":
            at = [epoch * steps_per_epoch for epoch in optim.milestones]
            at += optim.milestone_steps
            if not at:
                raise UserError(
                    "optim.schedule='milestones' needs optim.milestones (epochs) or "
                    "optim.milestone_steps; both are empty"
                )
            return optax.piecewise_constant_schedule(rate, dict.fromkeys(at, optim.gamma))
        case other:
            raise UserError(
                f"optim.schedule={other!r} is unknown; choose one of {', '.join(_SCHEDULES)}"
            )


def _after_decay(decay: float, optimizer: optax.GradientTransformation):
    return optax.chain(optax.add_decayed_weights(decay), optimizer) if decay else optimizer
