"""What a training step carries from one call to the next."""

import flax
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """All that decides how training goes on; a checkpoint holds exactly this and the data position.

    Attributes:
        step: int32 scalar, optimiser steps taken.
        params: the network's parameters, float32.
        opt_state: the optimiser's state.
        ema: moving average of `params`, or None.
        key: PRNG key; step k uses fold_in(key, k).
        teacher: weights that distillation learns from, or None.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    ema: dict | None
    key: jax.Array
    teacher: dict | None = None

    @property
    def eval_params(self) -> dict:
        """What evaluation uses: the moving average where there is one."""
        return self.params if self.ema is None else self.ema


def create_state(
    params: dict, optimizer: optax.GradientTransformation, key, ema: bool, teacher: bool = False
):
    """State at step 0; `ema` and `teacher` begin as `params`."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        # A copy: donating one buffer under two names is an error.
        ema=jax.tree.map(jnp.copy, params) if ema else None,
        key=key,
        teacher=jax.tree.map(jnp.copy, params) if teacher else None,
    )
