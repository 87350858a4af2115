"""One optimiser step: a pure function of state and batch."""

import contextlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rsfusion_jax.runs.state import TrainState
from rsfusion_jax.training.remat import rematerialised_blocks
from rsfusion_jax.training.sharding import mean_over_devices


def make_train_step(
    model: nn.Module,
    objective: Callable,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    ema_decay: Callable | None = None,
    remat: bool = False,
) -> Callable:
    """Build the function `(state, batch) -> (state, metrics)`, which the caller compiles.

    Args:
        model: the network.
        objective: `(model, params, batch, key) -> (loss, dict of scalars)`, all of them means over
            the images of the batch: each device computes them for its own rows, and these are
            averaged. It also takes the keyword `teacher` where the state has a teacher.
        optimizer: the optimiser of `state.opt_state`.
        accumulate: number of micro-batches per step, whose gradients are averaged; divides the
            batch size.
        ema_decay: decay of `state.ema` as a function of the step; needed where the state has one.
        remat: whether to compute the activations inside blocks again for the gradient, which saves
            memory.
    """

    def gradient(params, batch, key, extra_inputs):
        def loss_fn(params):
            with rematerialised_blocks() if remat else contextlib.nullcontext():
                return objective(model, params, batch, key, **extra_inputs)

        (loss, scalars), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        return grads, {"loss": loss, **scalars}

    def accumulated_gradient(params, batch, key, extra_inputs):
        if accumulate == 1:
            return gradient(params, batch, key, extra_inputs)

        # Neighbours go to different micro-batches: these are the same on any number of devices.
        def split(x):
            return jnp.moveaxis(x.reshape(-1, accumulate, *x.shape[1:]), 1, 0)

        def add(total, step):
            index, part = step
            new = gradient(params, part, jax.random.fold_in(key, index), extra_inputs)
            return jax.tree.map(jnp.add, total, new), None

        parts = (jnp.arange(accumulate), jax.tree.map(split, batch))
        first = jax.tree.map(lambda x: x[0], parts[1])
        shapes = jax.eval_shape(gradient, params, first, key, extra_inputs)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, parts)
        return jax.tree.map(lambda x: x / accumulate, total)

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(state.key, state.step)
        extra_inputs = {} if state.teacher is None else {"teacher": state.teacher}

        def of_rows(shared, rows):
            params, key, extra_inputs = shared
            return accumulated_gradient(params, rows, key, extra_inputs)

        grads, metrics = mean_over_devices(of_rows, (state.params, key, extra_inputs), batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update(params, ema, 1 - ema_decay(state.step))
        metrics["grad_norm"] = optax.tree.norm(grads)
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, ema=ema)
        return state, metrics

    return train_step


def make_ema_decay(decay: float, start: int, warmup: bool) -> Callable:
    """Make the function that gives the moving average's decay at a step (from 0).

    Args:
        decay: final decay, 0 to 1.
        start: step before which the decay is 0: the average is a copy of the weights.
        warmup: whether the decay rises to `decay` as 1 - (1 + step)^(-2/3), so that the first
            weights do not dominate the average of a short run.
    """

    def at(step):
        current = jnp.minimum(decay, 1 - (1 + step) ** (-2 / 3)) if warmup else decay
        return jnp.where(step < start, 0.0, current)

    return at
