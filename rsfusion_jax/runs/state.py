"""The training state: what one step passes to the next."""

import flax
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """Everything that later steps depend on; a checkpoint holds this and the position in the data.

    Attributes:
        step: int32 scalar, number of optimiser steps taken.
        params: the network's parameters, float32.
        opt_state: the optimiser's state.
        ema: moving average of `params`, or None.
        key: PRNG key; step k uses fold_in(key, k).
        teacher: weights of the teacher of a distillation, or None.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    ema: dict | None
    key: jax.Array
    teacher: dict | None = None

    @property
    def eval_params(self) -> dict:
        """Weights for evaluation: the moving average where there is one, else `params`."""
        return self.params if self.ema is None else self.ema


def create_state(
    params: dict, optimizer: optax.GradientTransformation, key, ema: bool, teacher: bool = False
):
    """Create the state at step 0.

    Args:
        params: initial parameters of the network.
        optimizer: the optimiser whose state is created.
        key: PRNG key of the run.
        ema: whether to keep a moving average; it begins as a copy of `params`.
        teacher: whether there is a teacher; it is a copy of `params`.
    """
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        # A copy, because one buffer must not be donated under two names.
        ema=jax.tree.map(jnp.copy, params) if ema else None,
        key=key,
        teacher=jax.tree.map(jnp.copy, params) if teacher else None,
    )
