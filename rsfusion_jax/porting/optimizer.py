"""PyTorch's Adam -> optax: fine-tuning that goes on where the authors' training stopped."""

from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from rsfusion_jax.errors import UserError
from rsfusion_jax.porting.convert import porting_table
from rsfusion_jax.porting.tensors import Constant, Live
from rsfusion_jax.porting.torch_file import read_adam_moments, read_state_dict


def with_adam_moments(opt_state, model: nn.Module, path: str | Path):
    """Puts the moments and the step count of a `.pth` checkpoint into an optimiser's state.

    The learning rate's schedule is left where it is.

    Args:
        opt_state: of `training.optimizer.make_optimizer` with Adam.
        model: the network.
        path: the checkpoint of the authors' training program.

    Returns:
        `opt_state` with its `optax.ScaleByAdamState` replaced.

    Raises:
        UserError: no state of Adam in the file, one of another network, or another optimiser here.
    """
    steps, moments = read_adam_moments(path)
    table = {tensor.name: tensor for tensor in porting_table(model)}
    # PyTorch numbers parameters as they stand in the state dict, which lists buffers too.
    names = [name for name in read_state_dict(path) if name in table]
    learnt = [table[name] for name in names if not isinstance(table[name], Constant)]
    if len(learnt) != len(moments):
        raise UserError(
            f"{path} holds Adam's state for {len(moments)} parameters, {model.title} has "
            f"{len(learnt)}; name a checkpoint of this network"
        )
    trees = {"exp_avg": {}, "exp_avg_sq": {}}
    for tensor, state in zip(learnt, moments, strict=True):
        if isinstance(tensor, Live):
            for key, tree in trees.items():
                tree[tensor.path] = jnp.asarray(tensor.to_flax(state[key]))
    mu, nu = (flax.traverse_util.unflatten_dict(tree) for tree in trees.values())
    found = []

    def replace(state):
        if not isinstance(state, optax.ScaleByAdamState):
            return state
        found.append(state)
        return optax.ScaleByAdamState(jnp.asarray(steps, state.count.dtype), mu, nu)

    opt_state = jax.tree.map(
        replace, opt_state, is_leaf=lambda state: isinstance(state, optax.ScaleByAdamState)
    )
    if not found:
        raise UserError("init_optimizer needs optim.name to be adam or adamw")
    return opt_state
